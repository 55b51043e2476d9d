//! What every part of the process shares: pools, clock, keys, settings. Cheap to clone.
//!
//! Handlers take what they need from it; operations and queries never see it.

use crate::auth::slat::SlatKeys;
use crate::config::Config;
use crate::db::{self, Conn, PoolSettings, Requests, Tx};
use crate::error::Result;
use crate::redis;
use crate::web::egress::{Egress, Policy};
use secrecy::ExposeSecret;
use shared::click_id::ClickIdKey;
use shared::keys::Keys;
use shared::shutdown::Shutdown;
use shared::{Clock, SystemClock, TokenKey};
use sqlx::PgPool;
use std::sync::Arc;

/// The process's state.
#[derive(Clone)]
pub struct App(Arc<Inner>);

struct Inner {
    config: Config,
    db: Requests,
    db_read: Requests,
    db_worker: PgPool,
    redis: redis::Redis,
    egress: Egress,
    services: Egress,
    acme_egress: Egress,
    clock: Arc<dyn Clock>,
    keys: Keys,
    token_key: TokenKey,
    click_id_key: ClickIdKey,
    slat_keys: SlatKeys,
    shutdown: Shutdown,
}

impl App {
    /// Builds the state; nothing is connected yet.
    pub fn new(config: Config) -> anyhow::Result<Self> {
        Self::with_clock(config, Arc::new(SystemClock))
    }

    /// The same with another clock, for tests.
    pub fn with_clock(config: Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        // The one TLS provider of the process; a second installation is refused and changes nothing.
        rustls::crypto::ring::default_provider().install_default().ok();
        let url = config.database_url.expose_secret();
        let requests = |settings| match &config.database_pooler_url {
            Some(pooler) => Requests::pooled(pooler.expose_secret(), settings),
            None => Requests::direct(url, settings),
        };
        Ok(Self(Arc::new(Inner {
            db: requests(PoolSettings::api(config.db_api_connections))?,
            db_read: requests(PoolSettings::read(config.db_read_connections))?,
            db_worker: db::pool(url, PoolSettings::worker(config.db_worker_connections))?,
            redis: redis::Redis::new(config.redis_url.expose_secret())?,
            egress: Egress::new(Policy::new(config.egress_allow.clone()))?,
            acme_egress: match config.domains.acme.as_ref().and_then(|acme| acme.root_pem.as_deref()) {
                Some(root) => Egress::with_root(Policy::of_operator(), root)?,
                None => Egress::new(Policy::of_operator())?,
            },
            services: Egress::new(Policy::of_operator())?,
            clock,
            keys: Keys::new(config.redis_prefix.clone()),
            token_key: TokenKey::new(&config.secret),
            click_id_key: ClickIdKey::new(&config.secret),
            slat_keys: SlatKeys::new(&config.secret, config.slat_generation),
            shutdown: Shutdown::new(),
            config,
        })))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The bare connections of requests that write, to count them: behind a pooler they are not to be spoken on.
    pub fn db(&self) -> &PgPool {
        self.0.db.pool()
    }

    /// The same of requests that only read.
    pub fn db_read(&self) -> &PgPool {
        self.0.db_read.pool()
    }

    /// Connections for the drainer and the jobs.
    pub fn db_worker(&self) -> &PgPool {
        &self.0.db_worker
    }

    /// A transaction for a request that writes.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(self.0.db.begin().await?)
    }

    /// A connection for single statements of requests that write.
    pub async fn write(&self) -> Result<Conn, sqlx::Error> {
        self.0.db.acquire().await
    }

    /// A connection for requests that only read.
    pub async fn read(&self) -> Result<Conn, sqlx::Error> {
        self.0.db_read.acquire().await
    }

    /// Whether Postgres answers requests.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        db::ping(self.0.db_read.pool()).await
    }

    /// Redis for requests and jobs.
    pub fn redis(&self) -> &redis::Redis {
        &self.0.redis
    }

    /// Calls to URLs that customers chose.
    pub fn egress(&self) -> &Egress {
        &self.0.egress
    }

    /// Calls to services that the operator chose: payment providers.
    pub fn services(&self) -> &Egress {
        &self.0.services
    }

    /// Calls to the ACME server, which may have a certificate of the operator's own authority.
    pub fn acme_egress(&self) -> &Egress {
        &self.0.acme_egress
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Redis key names.
    pub fn keys(&self) -> &Keys {
        &self.0.keys
    }

    /// Mints and checks tokens.
    pub fn token_key(&self) -> &TokenKey {
        &self.0.token_key
    }

    /// Checks click ids.
    pub fn click_id_key(&self) -> &ClickIdKey {
        &self.0.click_id_key
    }

    /// Signs and checks attribution tokens.
    pub fn slat_keys(&self) -> &SlatKeys {
        &self.0.slat_keys
    }

    /// The stop signal and the tasks a stop waits for.
    pub fn tasks(&self) -> &Shutdown {
        &self.0.shutdown
    }

    /// Closes the database pools, so that a stop leaves no connection behind.
    pub async fn close(&self) {
        self.0.db.pool().close().await;
        self.0.db_read.pool().close().await;
        self.0.db_worker.close().await;
    }
}
