//! A Redis Cluster of our own: three masters, each with a replica, as child processes that end with this program.

use super::ground::{Lab, free_ports};
use super::servers::Redis;
use anyhow::{Context, ensure};
use redis::Value;
use redis::aio::MultiplexedConnection;
use std::path::Path;
use std::time::{Duration, Instant};

/// Masters; as many replicas.
const MASTERS: usize = 3;
/// A cluster's slots.
const SLOTS: usize = 16_384;
/// A master that says nothing for so long is voted out.
const NODE_TIMEOUT_MS: u32 = 1_500;
const AGREED_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

/// The nodes: masters first, then the replica of each, in the same order. Who is what changes with failovers.
pub(crate) struct Cluster {
    nodes: Vec<Redis>,
    /// Ports of their bus.
    buses: Vec<u16>,
}

impl Cluster {
    /// Starts the nodes and lets them agree.
    pub(crate) async fn start(lab: &Lab, folder: &Path) -> anyhow::Result<Self> {
        Self::with_users(lab, folder, "", &[]).await
    }

    /// The same with users of its own: whom to log in as (`user:password@`), and arguments that say who there is.
    pub(crate) async fn with_users(
        lab: &Lab,
        folder: &Path,
        login: &str,
        users: &[String],
    ) -> anyhow::Result<Self> {
        let mut nodes = Vec::with_capacity(2 * MASTERS);
        let mut buses = Vec::with_capacity(2 * MASTERS);
        for nth in 0..2 * MASTERS {
            let own = folder.join(format!("node-{nth}"));
            std::fs::create_dir_all(&own).context("cannot make a node's folder")?;
            lab.give(&own)?;
            // By default the bus is 10,000 ports higher, which may be above the last port.
            let [bus] = free_ports()?;
            let mut arguments = [
                "--cluster-port",
                &bus.to_string(),
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                &NODE_TIMEOUT_MS.to_string(),
                "--repl-diskless-sync-delay",
                "0",
                // What is left of a cluster goes on.
                "--cluster-require-full-coverage",
                "no",
                "--dir",
                &own.display().to_string(),
            ]
            .map(str::to_owned)
            .to_vec();
            arguments.extend_from_slice(users);
            let mut node = Redis::new(lab, &own, &arguments)?.with_login(login);
            node.start()?;
            nodes.push(node);
            buses.push(bus);
        }
        let cluster = Self { nodes, buses };
        for node in &cluster.nodes {
            node.ready().await?;
        }
        cluster.assemble().await?;
        Ok(cluster)
    }

    /// Introduces the nodes to each other, hands the slots out, and gives each master its replica.
    async fn assemble(&self) -> anyhow::Result<()> {
        let mut ids = Vec::new();
        for (nth, node) in self.nodes.iter().enumerate() {
            let mut conn = node.connect().await?;
            ids.push(ask::<String>(&mut conn, &["CLUSTER", "MYID"]).await?);
            for (other, bus) in self.nodes[..nth].iter().zip(&self.buses) {
                let (port, bus) = (other.port().to_string(), bus.to_string());
                ask::<Value>(&mut conn, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
            }
            if nth < MASTERS {
                let (first, last) = (SLOTS * nth / MASTERS, SLOTS * (nth + 1) / MASTERS - 1);
                let range = ["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()];
                ask::<Value>(&mut conn, &range).await?;
            }
        }
        for (nth, node) in self.nodes.iter().enumerate().skip(MASTERS) {
            let mut conn = node.connect().await?;
            let deadline = Instant::now() + AGREED_FOR;
            // It must have heard of its master before.
            while ask::<Value>(&mut conn, &["CLUSTER", "REPLICATE", &ids[nth - MASTERS]]).await.is_err() {
                ensure!(Instant::now() < deadline, "a replica does not hear of its master");
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.agreed(2 * MASTERS).await
    }

    /// Waits until every node that runs sees all slots served, and so many nodes in all that have their place.
    pub(crate) async fn agreed(&self, nodes: usize) -> anyhow::Result<()> {
        let deadline = Instant::now() + AGREED_FOR;
        loop {
            let mut agreed = true;
            for node in &self.nodes {
                // One that was killed has no say.
                let Ok(mut conn) = node.connect().await else { continue };
                let info: String = ask(&mut conn, &["CLUSTER", "INFO"]).await?;
                let seen: String = ask(&mut conn, &["CLUSTER", "NODES"]).await?;
                let linked =
                    seen.lines().filter(|line| line.contains(" connected") && !line.contains("fail"));
                let role: String = ask(&mut conn, &["INFO", "replication"]).await?;
                agreed &= info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384");
                agreed &= linked.count() >= nodes && !role.contains("master_link_status:down");
            }
            if agreed {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the cluster does not agree");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Its URL for our programs: two nodes are enough to find the others.
    pub(crate) fn url(&self) -> String {
        self.url_for("")
    }

    /// The same for a user: `user:password@`.
    pub(crate) fn url_for(&self, login: &str) -> String {
        let hosts = self.nodes.iter().step_by(2).map(|node| format!("127.0.0.1:{}", node.port()));
        format!("redis-cluster://{login}{}/", hosts.collect::<Vec<_>>().join(","))
    }

    /// Connections to the nodes that run.
    pub(crate) async fn connections(&self) -> Vec<MultiplexedConnection> {
        let mut all = Vec::new();
        for node in &self.nodes {
            // One that was killed has nothing to say.
            all.extend(node.connect().await.ok());
        }
        all
    }

    /// `kill -9` of the master that serves this key; gives its place among the nodes.
    pub(crate) async fn kill_master_of(&mut self, key: &str) -> anyhow::Result<usize> {
        let master = self.master_of(key).await?;
        let node = &mut self.nodes[master];
        node.kill()?;
        Ok(master)
    }

    /// Waits until another node serves this key; gives how long that took.
    pub(crate) async fn failed_over(&self, key: &str, dead: usize) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            if self.master_of(key).await.is_ok_and(|master| master != dead) {
                return Ok(started.elapsed());
            }
            ensure!(started.elapsed() < AGREED_FOR, "no replica took the dead master's place");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Starts a killed node again: empty, as a replica of whoever took its place.
    pub(crate) async fn start_again(&mut self, node: usize) -> anyhow::Result<()> {
        self.nodes[node].start()?;
        self.nodes[node].ready().await?;
        self.agreed(2 * MASTERS).await
    }

    /// Starts several killed nodes again; those that were masters last serve their slots, empty.
    pub(crate) async fn start_all_again(&mut self, nodes: &[usize]) -> anyhow::Result<()> {
        for node in nodes {
            self.nodes[*node].start()?;
        }
        for node in nodes {
            self.nodes[*node].ready().await?;
        }
        self.agreed(2 * MASTERS).await
    }

    /// The place of the node that serves this key.
    async fn master_of(&self, key: &str) -> anyhow::Result<usize> {
        for (nth, node) in self.nodes.iter().enumerate() {
            let Ok(mut conn) = node.connect().await else { continue };
            let role: Vec<Value> = ask(&mut conn, &["ROLE"]).await?;
            // A master answers for its slots; the others send the asker away.
            let is_master = matches!(role.first(), Some(Value::BulkString(role)) if role == b"master");
            if is_master && ask::<Value>(&mut conn, &["EXISTS", key]).await.is_ok() {
                return Ok(nth);
            }
        }
        anyhow::bail!("no node serves {key}")
    }
}

async fn ask<T: redis::FromRedisValue>(
    conn: &mut MultiplexedConnection,
    words: &[&str],
) -> anyhow::Result<T> {
    let answer = redis::cmd(words[0]).arg(&words[1..]).query_async(conn).await;
    answer.with_context(|| format!("{} failed", words.join(" ")))
}
