//! The control plane on a Redis Cluster: limits, links, drainer, watermarks and the sum, with keys on every node.

use crate::harness::{SHARDS, TestApp, TestSpool};
use control_plane::features::links::publish::Publisher;
use control_plane::redis::Target;
use control_plane::workers::drainer::Drainer;
use control_plane::workers::jobs::Turn;
use control_plane::workers::reconcile::{self, reports};
use redis::AsyncCommands;
use secrecy::ExposeSecret;
use shared::LinkRecord;
use shared::keys::SpoolReport;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_mins(1);

/// Three masters that share the slots; they end with the test.
struct Cluster {
    nodes: Vec<(u16, Child)>,
    _folders: Vec<TempDir>,
}

impl Cluster {
    fn start() -> Self {
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let (mut nodes, mut folders) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            // A node's bus is 10,000 ports higher.
            let port = std::iter::repeat_with(free).find(|port| *port < 55_000).unwrap();
            let folder = TempDir::new().unwrap();
            let child = Command::new("redis-server")
                .args(["--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"])
                .args(["--port", &port.to_string()])
                // What is left of a cluster goes on.
                .args(["--cluster-require-full-coverage", "no"])
                .arg("--dir")
                .arg(folder.path())
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-server is installed");
            nodes.push((port, child));
            folders.push(folder);
        }
        let cluster = Self { nodes, _folders: folders };
        cluster.wait_for("PING", "PONG");
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(cluster.hosts())
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .expect("redis-cli is installed");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        cluster.wait_for("CLUSTER INFO", "cluster_state:ok");
        cluster
    }

    fn wait_for(&self, ask: &str, answer: &str) {
        let until = Instant::now() + PATIENCE;
        for (port, _) in &self.nodes {
            let says = || {
                let asked =
                    Command::new("redis-cli").args(["-p", &port.to_string()]).args(ask.split(' ')).output();
                String::from_utf8_lossy(&asked.unwrap().stdout).contains(answer)
            };
            while !says() {
                assert!(Instant::now() < until, "no {answer} to {ask}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Which node has this key.
    fn owner_of(&self, key: &str) -> usize {
        let has = |(port, _): &(u16, Child)| {
            let asked = Command::new("redis-cli").args(["-p", &port.to_string(), "EXISTS", key]).output();
            !String::from_utf8_lossy(&asked.unwrap().stdout).contains("MOVED")
        };
        self.nodes.iter().position(has).expect("a node has it")
    }

    /// Sends a node a signal.
    fn signal(&self, node: usize, signal: &str) {
        let pid = self.nodes[node].1.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn hosts(&self) -> Vec<String> {
        self.nodes.iter().map(|(port, _)| format!("127.0.0.1:{port}")).collect()
    }

    fn url(&self) -> String {
        format!("redis-cluster://{}/", self.hosts().join(","))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, node) in &mut self.nodes {
            drop(node.kill());
            drop(node.wait());
        }
    }
}

#[tokio::test]
async fn everything_works_on_a_cluster() {
    let cluster = Cluster::start();
    let app = TestApp::start_with(|config| {
        config.redis_url = cluster.url().into();
        config.signups_per_hour = 50;
    })
    .await;
    let offer = app.offer().await;
    // Limits: a script on whatever node has the key.
    let signed_up = app.anyone().post("/api/auth/signup", serde_json::json!({"name": "One More"})).await;
    assert_eq!(signed_up.status, 201, "{signed_up}");
    // Links: their keys lie on every node.
    let mut links = vec![offer.key];
    for _ in 0..8 {
        links.push(app.offer().await.key);
    }
    let mut publisher = Publisher::new(&app.app).unwrap();
    while publisher.turn().await.unwrap() == Turn::Again {}
    let mut redis = app.app.redis().get().await.unwrap();
    for link in &links {
        let bytes: Vec<u8> = redis.get(app.app.keys().link(*link)).await.unwrap();
        assert_eq!(LinkRecord::decode(&bytes).unwrap().link, *link);
    }
    // Clicks: streams, watermarks and reports on two nodes.
    let mut spools: Vec<TestSpool> = Vec::new();
    while !SHARDS.iter().all(|shard| spools.iter().filter(|spool| spool.shard == *shard).count() >= 3) {
        spools.push(app.spool(7));
    }
    for spool in &spools {
        spool.ship(&spool.frame(0, 50)).await;
        let said = SpoolReport {
            accepted: 60,
            live: true,
            at_ms: app.now().timestamp_millis(),
            ..SpoolReport::default()
        };
        let field = (spool.id.simple().to_string(), said.to_string());
        redis.hset::<_, _, _, ()>(app.app.keys().reports(spool.shard), field.0, field.1).await.unwrap();
    }
    let mut drainer = Drainer::new(&app.app).unwrap();
    while drainer.step(SHARDS).await.unwrap().entries > 0 {}
    app.drained(50 * spools.len() as i64).await;
    assert_eq!(app.entries().await, 0, "what is committed is deleted");
    for spool in &spools {
        assert_eq!(spool.next_seq().await, Some(50));
    }
    drainer.check_cursors().await.unwrap();
    let target = Target::parse(app.app.config().redis_url.expose_secret()).unwrap();
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    let whole = Some((&target, app.app.keys(), app.app.config().click_shards));
    let report = reconcile::reconcile(&mut conn, whole, app.now()).await.unwrap();
    assert_eq!(report.spools.iter().map(|sum| (sum.on_edge, sum.off)).max(), Some((10, 0)), "{report:?}");
    reports::job(app.app.clone()).await.unwrap();
}

/// Turns until Redis says that Postgres has the spool's clicks up to here.
async fn drain_to(drainer: &mut Drainer, spool: &TestSpool, next_seq: u64) {
    let until = Instant::now() + PATIENCE;
    while spool.next_seq().await != Some(next_seq) {
        assert!(Instant::now() < until, "only up to {:?} of {next_seq}", spool.next_seq().await);
        if drainer.turn(SHARDS).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn f19_a_master_that_is_away_holds_up_its_own_streams_only() {
    let cluster = tokio::task::spawn_blocking(Cluster::start).await.unwrap();
    let app = TestApp::start_with(|config| config.redis_url = cluster.url().into()).await;
    let on = |shard: u16| std::iter::repeat_with(|| app.spool(7)).find(|spool| spool.shard == shard).unwrap();
    let (held, quiet, spared) = (on(0), on(0), on(1));
    let nodes = [&held, &spared].map(|spool| cluster.owner_of(&app.app.keys().clicks(spool.shard)));
    assert_ne!(nodes[0], nodes[1], "the streams lie on two masters");
    let mut drainer = Drainer::new(&app.app).unwrap();
    for spool in [&held, &quiet, &spared] {
        spool.ship(&spool.frame(0, 10)).await;
        drain_to(&mut drainer, spool, 10).await;
    }
    held.ship(&held.frame(10, 10)).await;
    cluster.signal(nodes[0], "-STOP");
    // The first one finds out, which takes as long as a command may; the others must not wait for anything.
    spared.ship(&spared.frame(10, 10)).await;
    drain_to(&mut drainer, &spared, 20).await;
    let started = Instant::now();
    for number in 2..42 {
        spared.ship(&spared.frame(10 * number, 10)).await;
        drain_to(&mut drainer, &spared, 10 * (number + 1)).await;
    }
    let took = started.elapsed();
    assert!(
        took < Duration::from_secs(20),
        "40 frames took {took:?}: each waits for the master that is away"
    );
    cluster.signal(nodes[0], "-CONT");
    // It may be another server now, and know less: every watermark is told again, also of spools at rest.
    quiet.set_watermark("1:0").await;
    drain_to(&mut drainer, &quiet, 10).await;
    drain_to(&mut drainer, &held, 20).await;
    held.ship(&held.frame(0, 30)).await;
    drain_to(&mut drainer, &held, 30).await;
    while drainer.turn(SHARDS).await.unwrap() > 0 {}
    assert_eq!(app.entries().await, 0, "what is committed is deleted");
    app.drained(30 + 10 + 420).await;
}
