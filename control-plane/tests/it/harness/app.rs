//! The service of one test.

use super::client::{Client, Reply};
use super::database::{TestDatabase, setting};
use chrono::{DateTime, Utc};
use control_plane::config::{AcmeSettings, Config, DomainSettings};
use control_plane::{App, web};
use serde_json::json;
use shared::telemetry::LogFormat;
use shared::{Secret, TestClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;

/// Where every test's clock starts.
const START: &str = "2026-06-15T12:00:00Z";

/// A running service, its database and its clock. Dropping it stops and removes everything.
pub(crate) struct TestApp {
    pub(crate) app: App,
    pub(crate) clock: Arc<TestClock>,
    origin: String,
    http: reqwest::Client,
    // Dropped last: nothing may use the database after it.
    _database: TestDatabase,
}

impl TestApp {
    /// A service with the settings tests have.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with some settings changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let database = TestDatabase::create().await;
        let prefix = format!("test:{}:", shared::id::EventId::generate().uuid().simple());
        let clock = Arc::new(TestClock::at(START.parse::<DateTime<Utc>>().unwrap()));
        let listener = web::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let mut config = Config {
            database_url: database.url().into(),
            database_pooler_url: None,
            redis_url: setting("AOS_TEST_REDIS_URL").into(),
            redis_prefix: prefix,
            secret: Secret::from_bytes([42; 32]),
            allow_unsafe_database: true,
            addr: "127.0.0.1:0".parse().unwrap(),
            admin_addr: "127.0.0.1:0".parse().unwrap(),
            api_origin: origin.clone(),
            tracking_origin: "http://127.0.0.1:8080".to_owned(),
            click_shards: 2,
            db_api_connections: 8,
            db_read_connections: 4,
            db_worker_connections: 4,
            click_days: 30,
            signups_per_hour: 0,
            egress_allow: vec!["127.0.0.0/8".parse().unwrap()],
            agent_directories: Vec::new(),
            slat_generation: 1,
            trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
            stripe: None,
            x402: None,
            drain_delay_ms: 0,
            domains: DomainSettings {
                target: "edge.affiliateos.example".to_owned(),
                // It knows no name: a test that looks domains up has one of its own.
                dns_server: Some(server_of_no_name().await),
                acme: Some(AcmeSettings {
                    directory: "https://127.0.0.1:9/directory".to_owned(),
                    contact: None,
                    root_pem: None,
                }),
            },
            drain_seconds: 5,
            log: "warn".to_owned(),
            log_format: LogFormat::Text,
            tracing: None,
        };
        change(&mut config);
        shared::telemetry::init(config.log_format, &config.log).unwrap();
        let app = App::with_clock(config, clock.clone()).unwrap();
        let router = web::router::build(&app);
        app.tasks().spawn(web::server::serve(listener, router, app.tasks().clone(), Duration::from_secs(2)));
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { app, clock, origin, http, _database: database }
    }

    /// A client without a key.
    pub(crate) fn anyone(&self) -> Client {
        Client::new(self.http.clone(), self.origin.clone(), None)
    }

    /// A client that shows this text as its bearer key.
    pub(crate) fn with_key(&self, key: &str) -> Client {
        Client::new(self.http.clone(), self.origin.clone(), Some(key.to_owned()))
    }

    /// Signs an agent up and gives its client; the reply is in [`Client::me`].
    pub(crate) async fn agent(&self, name: &str) -> Client {
        let reply: Reply = self.anyone().post("/api/auth/signup", json!({"name": name})).await;
        assert_eq!(reply.status, 201, "{reply}");
        let key = reply.body["api_key"].as_str().expect("a sign-up shows its key").to_owned();
        self.with_key(&key).known_as(reply.body)
    }

    /// An agent's account number.
    pub(crate) async fn number(&self, agent: &Client) -> i32 {
        sqlx::query_scalar("SELECT number FROM agents WHERE id = $1")
            .bind(agent.agent_id())
            .fetch_one(self.app.db())
            .await
            .unwrap()
    }

    /// Puts an agent on a plan, as if it had bought it or its subscription had run out.
    pub(crate) async fn set_tier(&self, agent: &Client, tier: &str) {
        if tier == "pro" {
            agent.post("/api/subscription/pro", json!({})).await.expect(201);
            return;
        }
        sqlx::query(
            "WITH ended AS (
                 UPDATE subscriptions SET status = 'canceled', ended_at = $2 WHERE agent_id = $1 AND status = 'active')
             UPDATE agents SET tier = 'free' WHERE id = $1",
        )
        .bind(agent.agent_id())
        .bind(self.now())
        .execute(self.app.db())
        .await
        .unwrap();
    }

    /// The time the service sees.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.app.clock().now()
    }

    /// Checks every invariant of the stored rows; the rows that break one are in the panic.
    #[track_caller]
    pub(crate) fn audit(&self) -> impl Future<Output = ()> {
        self.audit_without(&[])
    }

    /// The same for a test that meters or posts by hand, so that money and usage have no row they come from.
    #[track_caller]
    pub(crate) fn audit_books(&self) -> impl Future<Output = ()> {
        self.audit_without(&["I7", "I12", "I14"])
    }

    #[track_caller]
    fn audit_without(&self, left_out: &'static [&'static str]) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let db = self.app.db_worker().clone();
        async move {
            let mut broken = control_plane::features::audit::ops::broken_in_snapshot(&db).await.unwrap();
            broken.retain(|row| !left_out.contains(&row.check));
            let lines: Vec<_> = broken.iter().map(ToString::to_string).collect();
            assert!(lines.is_empty(), "at {caller}, rows that break an invariant:\n{}", lines.join("\n"));
        }
    }

    /// Signs up an agent that is on Pro.
    pub(crate) async fn pro(&self, name: &str) -> Client {
        let agent = self.agent(name).await;
        self.set_tier(&agent, "pro").await;
        agent
    }

    /// Starts a worker that delivers webhooks.
    pub(crate) fn deliver(&self) {
        self.app.tasks().spawn(control_plane::features::webhooks::deliver::run(self.app.clone()));
    }

    /// What its clock shows.
    pub(crate) fn clock_now(&self) -> DateTime<Utc> {
        self.app.clock().now()
    }

    /// A client of another process on the same database, with the same key.
    pub(crate) fn at(&self, origin: &str, client: &Client) -> Client {
        Client::new(self.http.clone(), origin.to_owned(), Some(client.key().to_owned()))
    }

    /// The service's address.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }
}

/// A name server that answers every question with "no such name": the question itself, two bits set.
async fn server_of_no_name() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
            if let Some([_, _, flags, code, ..]) = buffer.get_mut(..len) {
                *flags |= 0x80;
                *code = 0x83;
                socket.send_to(&buffer[..len], from).await.ok();
            }
        }
    });
    addr
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.app.tasks().stop();
    }
}
