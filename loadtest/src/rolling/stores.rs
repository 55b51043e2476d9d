//! Postgres and Redis of a fleet, with the roles and users of `deploy/`: nobody but the run itself may do more. A
//! primary and a master can be replaced while everything runs.

use crate::proxy::Proxy;
use crate::stack::cluster::Cluster;
use crate::stack::ground::{Lab, free_ports};
use crate::stack::local;
use crate::stack::servers::{Postgres, Redis};
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use shared::LinkKey;
use shared::keys::Keys;
use sqlx::{AssertSqlSafe, PgPool};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROLES: &str = include_str!("../../../deploy/postgres/roles.sql");
const USERS: &str = include_str!("../../../deploy/redis/users.acl");
/// What `deploy/README.md` adds for a cluster.
const OF_A_CLUSTER: &str = "+cluster|slots +cluster|shards +cluster|nodes +readonly +asking";
const FOLLOWS_FOR: Duration = Duration::from_secs(30);
/// What a failover manager takes to believe that a primary is dead, at least.
const DOUBTED_FOR: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(25);

/// Where clicks and money are.
pub(crate) struct Stores {
    lab: Lab,
    folder: PathBuf,
    postgres: Postgres,
    standby: Option<Postgres>,
    /// The name under which Postgres is known; it leads to whoever is the primary.
    name: Proxy,
    redis: Option<Redis>,
    cluster: Option<Cluster>,
    /// Between edges and a single Redis.
    pub(crate) edge_line: Option<Proxy>,
    passwords: [String; 2],
}

fn password() -> String {
    format!("{:016x}{:016x}", LinkKey::generate().0, LinkKey::generate().0)
}

fn script(text: &str) -> AssertSqlSafe<String> {
    let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('\\')).collect();
    AssertSqlSafe(lines.join("\n"))
}

impl Stores {
    /// Starts both; with a cluster and a standby when they are to be `replaced`.
    pub(crate) async fn start(lab: &Lab, folder: &Path, replaced: bool) -> anyhow::Result<Self> {
        let (edge, control, own) = (password(), password(), password());
        let mut users = USERS.replace("EDGE_PASSWORD", &edge).replace("CONTROL_PASSWORD", &control);
        users = users.replace("EXPORTER_PASSWORD", &password());
        if replaced {
            users = users.replace("+hello", &format!("+hello {OF_A_CLUSTER}"));
        }
        users.push_str(&format!("user loadtest on >{own} ~* &* +@all\n"));
        let file = folder.join("users.acl");
        std::fs::write(&file, users).context("cannot write the users")?;
        lab.give(folder)?;
        lab.give(&file)?;
        let mut arguments = vec!["--aclfile".to_owned(), file.display().to_string()];
        let login = format!("loadtest:{own}@");
        let (mut redis, mut cluster, mut edge_line) = (None, None, None);
        if replaced {
            // Replicas log in to their masters.
            arguments.extend(["--masteruser", "loadtest", "--masterauth", &own].map(str::to_owned));
            cluster = Some(Cluster::with_users(lab, folder, &login, &arguments).await?);
        } else {
            let mut server = Redis::new(lab, folder, &arguments)?.with_login(&login);
            server.start()?;
            server.ready().await?;
            edge_line = Some(Proxy::start(local(server.port())).await?);
            redis = Some(server);
        }
        let [port] = free_ports()?;
        let mut postgres = Postgres::new(lab, &folder.join("postgres"), port, &[]);
        postgres.init()?;
        postgres.start()?;
        postgres.ready().await?;
        let name = Proxy::start(local(port)).await?;
        let stores = Self {
            lab: lab.clone(),
            folder: folder.to_owned(),
            postgres,
            standby: None,
            name,
            redis,
            cluster,
            edge_line,
            passwords: [edge, control],
        };
        stores.run(ROLES).await.context("roles.sql failed")?;
        Ok(stores)
    }

    /// Runs a script of `deploy/postgres` as its superuser.
    pub(crate) async fn run(&self, text: &str) -> anyhow::Result<()> {
        sqlx::raw_sql(script(text)).execute(&self.database().await?).await?;
        Ok(())
    }

    /// Where a role finds its database.
    pub(crate) fn database_url(&self, role: &str) -> String {
        format!("postgres://{role}@{}/postgres", self.name.addr)
    }

    /// Where edges (or control planes) find Redis.
    pub(crate) fn redis_url(&self, edges: bool) -> String {
        let [edge, control] = &self.passwords;
        let login = if edges {
            format!("affiliateos_edge:{edge}@")
        } else {
            format!("affiliateos_control:{control}@")
        };
        match (&self.cluster, &self.redis, &self.edge_line) {
            (Some(cluster), _, _) => cluster.url_for(&login),
            (_, Some(_), Some(line)) if edges => format!("redis://{login}{}/", line.addr),
            (_, redis, _) => {
                format!("redis://{login}127.0.0.1:{}/", redis.as_ref().map_or(0, Redis::port))
            }
        }
    }

    /// Connections of the run's own.
    pub(crate) async fn database(&self) -> anyhow::Result<PgPool> {
        PgPool::connect(&self.postgres.url()).await.context("cannot reach Postgres")
    }

    /// Brings the schema to the version of these binaries, as the role that owns it; gives what it said.
    pub(crate) async fn migrate(&self, binaries: &Path, secret: &str) -> anyhow::Result<String> {
        let mut command = Command::new(binaries.join("control-plane"));
        command
            .args(["migrate", "--database-url", &self.database_url("affiliateos_owner")])
            .args(["--redis-url", "redis://127.0.0.1:1/", "--secret", secret])
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await?;
        let output = output.context("cannot run the migrations")?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        ensure!(output.status.success(), "the migrations failed:\n{said}");
        Ok(said)
    }

    /// Gives the primary a standby that has everything the primary has acknowledged.
    pub(crate) async fn follow(&mut self) -> anyhow::Result<()> {
        let data = self.folder.join("standby/data");
        std::fs::create_dir_all(self.folder.join("standby"))?;
        self.postgres.back_up(&data, &["-X", "stream"])?;
        std::fs::write(data.join("standby.signal"), "").context("cannot make it a standby")?;
        let [port] = free_ports()?;
        let source = format!(
            "primary_conninfo=host=127.0.0.1 port={} user=aos application_name=standby",
            self.postgres.port()
        );
        let mut standby = Postgres::new(&self.lab, &data, port, &[source]);
        standby.start()?;
        standby.ready().await?;
        let primary = self.database().await?;
        sqlx::raw_sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'").execute(&primary).await?;
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&primary).await?;
        let deadline = Instant::now() + FOLLOWS_FOR;
        let synchronous = "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')";
        while !sqlx::query_scalar::<_, bool>(synchronous).fetch_one(&primary).await? {
            ensure!(Instant::now() < deadline, "the standby does not follow");
            tokio::time::sleep(PAUSE).await;
        }
        self.standby = Some(standby);
        Ok(())
    }

    /// `kill -9` of the primary; the standby takes its place, under the same name.
    pub(crate) async fn replace_primary(&mut self) -> anyhow::Result<Duration> {
        let standby = self.standby.take().context("the primary has no standby")?;
        let started = Instant::now();
        self.postgres.kill()?;
        self.name.cut();
        tokio::time::sleep(DOUBTED_FOR).await;
        let promoted = PgPool::connect(&standby.url()).await.context("cannot reach the standby")?;
        sqlx::raw_sql("SELECT pg_promote()").execute(&promoted).await?;
        self.name.lead_to(local(standby.port()));
        self.postgres = standby;
        Ok(started.elapsed())
    }

    /// `kill -9` of the cluster's masters that have clicks and link changes, one after the other; each comes back as
    /// a replica.
    pub(crate) async fn replace_masters(&mut self) -> anyhow::Result<Vec<Duration>> {
        let cluster = self.cluster.as_mut().context("there is no cluster")?;
        let keys = Keys::new("");
        let mut took = Vec::new();
        for key in [keys.clicks(0), keys.changes()] {
            let dead = cluster.kill_master_of(&key).await?;
            took.push(cluster.failed_over(&key, dead).await?);
            cluster.start_again(dead).await?;
        }
        Ok(took)
    }

    async fn redis_servers(&self) -> anyhow::Result<Vec<MultiplexedConnection>> {
        match (&self.cluster, &self.redis) {
            (Some(cluster), _) => Ok(cluster.connections().await),
            (None, Some(redis)) => Ok(vec![redis.connect().await?]),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// What users of Redis and roles of Postgres were not allowed to do, a line each.
    pub(crate) async fn denied(&self) -> anyhow::Result<Vec<String>> {
        let mut denied = Vec::new();
        for mut server in self.redis_servers().await? {
            let log: Vec<Vec<redis::Value>> =
                redis::cmd("ACL").arg("LOG").arg(128).query_async(&mut server).await?;
            denied.extend(log.iter().map(|entry| format!("redis: {entry:?}")));
        }
        let mut logs = vec![self.folder.join("postgres.log"), self.folder.join("standby/data.log")];
        logs.retain(|path| path.exists());
        for path in logs {
            let text = std::fs::read(&path).context("cannot read Postgres' log")?;
            let text = String::from_utf8_lossy(&text).into_owned();
            denied.extend(text.lines().filter(|line| line.contains("permission denied")).map(str::to_owned));
        }
        Ok(denied)
    }

    /// Commands the users have that none of them used, as Redis counts commands since its start.
    pub(crate) async fn unused_commands(&self) -> anyhow::Result<Vec<String>> {
        let mut used = String::new();
        for mut server in self.redis_servers().await? {
            let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut server).await?;
            used.push_str(&stats);
        }
        let granted = USERS.lines().filter(|line| line.contains("_edge ") || line.contains("_control "));
        let mut unused: Vec<_> = granted
            .flat_map(str::split_whitespace)
            .filter_map(|word| word.strip_prefix('+'))
            .filter(|command| !used.contains(&format!("cmdstat_{command}:")))
            .map(str::to_owned)
            .collect();
        unused.sort_unstable();
        unused.dedup();
        Ok(unused)
    }
}
