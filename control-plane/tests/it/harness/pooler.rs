//! PgBouncer of Debian's packages, in transaction mode, before the tests' Postgres, with the settings of
//! `deploy/pgbouncer`: one for one test.
//! `cargo xtask test` finds or unpacks it.

use super::database::setting;
use super::providers::free_port;
use std::os::unix::fs::MetadataExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running pooler; dropping it kills it.
pub(crate) struct Pooler {
    child: Child,
    port: u16,
    files: tempfile::TempDir,
}

impl Pooler {
    /// A pooler with so many connections to Postgres for each database: the fewer, the more often transactions of
    /// different clients meet on one.
    pub(crate) async fn start(connections: u32) -> Self {
        let (files, port) = (tempfile::tempdir().unwrap(), free_port());
        let server = url::Url::parse(&setting("AOS_TEST_DATABASE_URL")).unwrap();
        let password = server.password().map(|password| format!(" password={password}")).unwrap_or_default();
        let login = format!("user={}{password}", server.username());
        let (host, at) = (server.host_str().unwrap(), server.port().unwrap_or(5432));
        let mut config = include_str!("../../../../deploy/pgbouncer/pgbouncer.ini").to_owned();
        for (theirs, ours) in [
            ("affiliateos = host=db.internal port=5432", format!("* = host={host} port={at} {login}")),
            ("listen_addr = *", "listen_addr = 127.0.0.1\nunix_socket_dir =".to_owned()),
            ("listen_port = 6432", format!("listen_port = {port}")),
            ("auth_type = scram-sha-256", "auth_type = any".to_owned()),
            ("auth_file = /etc/pgbouncer/userlist.txt\n", String::new()),
            ("default_pool_size = 40", format!("default_pool_size = {connections}")),
            // Not to be met on a busy machine.
            ("query_wait_timeout = 3", "query_wait_timeout = 30".to_owned()),
        ] {
            assert!(config.contains(theirs), "{theirs}");
            config = config.replace(theirs, &ours);
        }
        std::fs::write(files.path().join("pgbouncer.ini"), config).unwrap();
        let child = spawn(&files);
        let mut pooler = Self { child, port, files };
        pooler.listening().await;
        pooler
    }

    /// The address of this database there.
    pub(crate) fn url(&self, database_url: &str) -> String {
        let mut url = url::Url::parse(database_url).unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url.into()
    }

    /// `kill -9`.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.expect("it runs");
    }

    /// Starts it again, where it was.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(&self.files);
        self.listening().await;
    }

    async fn listening(&mut self) {
        let listening = async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                assert!(self.child.try_wait().unwrap().is_none(), "pgbouncer ended");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("pgbouncer listens");
    }
}

fn spawn(files: &tempfile::TempDir) -> Child {
    let mut command = Command::new(setting("AOS_TEST_PGBOUNCER"));
    // It refuses to run as root.
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.args(["-u", "nobody"]);
    }
    command.arg("-q").arg(files.path().join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null());
    command.kill_on_drop(true).spawn().expect("pgbouncer starts")
}
