//! Certificates from an ACME test server: issued, renewed, refused, gone on with after a crash.

use super::{claim, get, issue, look, publish, record, set_records};
use crate::harness::{Client, NameServer, Pebble, TestApp};
use chrono::{DateTime, TimeDelta, Utc};
use control_plane::config::AcmeSettings;
use control_plane::features::domains::keeper;
use metrics_exporter_prometheus::PrometheusBuilder;
use redis::AsyncCommands;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use shared::{Clock, SystemClock};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const DAY: Duration = Duration::from_hours(24);

/// A service, its name server, its ACME server, and what answers challenges as edges do.
struct World {
    app: TestApp,
    names: NameServer,
    pebble: Pebble,
    owner: Client,
}

impl World {
    async fn build(settings: &[(&str, &str)]) -> Self {
        let names = NameServer::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pebble = Pebble::start_with(names.addr, port, 90 * DAY, settings).await;
        let acme = acme(&pebble);
        let app = TestApp::start_with(|config| {
            config.domains.dns_server = Some(names.addr);
            config.domains.acme = Some(acme);
        })
        .await;
        // Certificates are dated by the real clock.
        app.clock.set(DateTime::from_timestamp_millis(SystemClock.now_ms()).unwrap());
        let service = app.app.clone();
        app.app.tasks().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                answer(&service, stream).await;
            }
        });
        let owner = app.pro("Owner").await;
        Self { app, names, pebble, owner }
    }

    /// Claims a domain, sets its records, and lets the workers see them.
    async fn proven(&self, host: &str) -> String {
        let id = claim(&self.owner, host).await;
        set_records(&self.names, &get(&self.owner, &id).await);
        look(&self.app).await;
        assert_eq!(get(&self.owner, &id).await["status"], "issuing");
        id
    }
}

fn acme(pebble: &Pebble) -> AcmeSettings {
    AcmeSettings {
        directory: pebble.directory.clone(),
        contact: Some("ops@affiliateos.example".to_owned()),
        root_pem: Some(pebble.root_pem.clone().into_bytes()),
    }
}

/// Answers a challenge with what Redis has for its token, as edges do.
async fn answer(app: &control_plane::App, mut stream: TcpStream) {
    let mut head = vec![0; 4096];
    let len = stream.read(&mut head).await.unwrap_or_default();
    let head = String::from_utf8_lossy(&head[..len]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let token = path.strip_prefix("/.well-known/acme-challenge/").unwrap_or_default();
    let mut redis = app.redis().get().await.unwrap();
    let known: Option<String> = redis.get(app.keys().acme_challenge(token)).await.unwrap();
    let (status, body) = known.map_or(("404 Not Found", String::new()), |body| ("200 OK", body));
    let reply =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    stream.write_all(reply.as_bytes()).await.ok();
}

fn at(value: &serde_json::Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value}")).parse().unwrap()
}

/// Nonces are refused at random, as Pebble does by itself, and the client tries again.
#[tokio::test]
async fn a_proven_domain_gets_a_certificate_and_edges_its_key() {
    let world = World::build(&[]).await;
    let id = world.proven("go.example.com").await;
    issue(&world.app).await;
    let shown = get(&world.owner, &id).await;
    assert_eq!((&shown["status"], &shown["problem"]), (&json!("active"), &json!(null)), "{shown}");
    let left = at(&shown["certificate_expires_at"]) - world.app.now();
    assert!(left > TimeDelta::days(89) && left <= TimeDelta::days(91), "{left}");
    let renews = at(&shown["renews_at"]) - world.app.now();
    assert!(renews > TimeDelta::days(58) && renews < TimeDelta::days(61), "{renews}");
    publish(&world.app).await;
    let told = record(&world.app, "go.example.com").await.unwrap();
    let certificate = told.certificate.unwrap();
    assert_eq!(certificate.not_after_unix, at(&shown["certificate_expires_at"]).timestamp());
    // What a server does with it: the key fits the certificate, and the chain leads to the issuer's root.
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    assert!(chain.len() >= 2, "with the intermediate");
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain.clone(), key).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.pebble.issuer().await.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder(roots.into()).build().unwrap();
    let name = "go.example.com".try_into().unwrap();
    let now =
        rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_millis(SystemClock.now_ms() as u64));
    use rustls::client::danger::ServerCertVerifier;
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], now).unwrap();
    // Neither the account's key nor the certificate's is to be read in the database.
    let readable = world
        .app
        .count(
            "SELECT (SELECT count(*) FROM domains WHERE position('PRIVATE KEY'::BYTEA IN sealed_key) > 0)
                  + (SELECT count(*) FROM acme_accounts WHERE position('key_pkcs8'::BYTEA IN sealed) > 0)",
        )
        .await;
    assert_eq!(readable, 0);
    assert_eq!(world.app.count("SELECT count(*) FROM acme_accounts").await, 1);
}

#[tokio::test]
async fn a_certificate_is_renewed_in_its_last_third_and_only_for_who_still_owns_the_domain() {
    let world = World::build(&[]).await;
    let id = world.proven("go.example.com").await;
    issue(&world.app).await;
    let first = get(&world.owner, &id).await;
    world.app.clock.advance(TimeDelta::days(50));
    issue(&world.app).await;
    assert_eq!(
        get(&world.owner, &id).await["certificate_issued_at"],
        first["certificate_issued_at"],
        "not yet"
    );
    // The proof is gone when it is due: the domain is served on, its owner is told, and nothing is asked for.
    let name = "_affiliateos.go.example.com";
    world.names.no_text(name);
    world.app.clock.advance(TimeDelta::days(11));
    issue(&world.app).await;
    let shown = get(&world.owner, &id).await;
    assert_eq!((&shown["status"], &shown["renewing"]), (&json!("active"), &json!(true)), "{shown}");
    assert!(shown["problem"].as_str().unwrap().contains(name), "{shown}");
    // It is back, and its owner does not wait for the next try.
    set_records(&world.names, &shown);
    world.owner.post(&format!("/api/domains/{id}/verify"), json!({})).await.expect(200);
    issue(&world.app).await;
    let renewed = get(&world.owner, &id).await;
    assert_eq!((&renewed["status"], &renewed["problem"]), (&json!("active"), &json!(null)), "{renewed}");
    assert!(at(&renewed["certificate_issued_at"]) > at(&first["certificate_issued_at"]));
    // Gone for good: when the certificate has expired, the domain is nobody's.
    world.names.no_text(name);
    world.app.clock.advance(TimeDelta::days(120));
    issue(&world.app).await;
    let lost = get(&world.owner, &id).await;
    assert_eq!((&lost["status"], &lost["verified_at"]), (&json!("failed"), &json!(null)), "{lost}");
    publish(&world.app).await;
    assert!(record(&world.app, "go.example.com").await.unwrap().removed);
}

/// What the gauges say: renewals overdue, domains unproven, certificates that expire within a week.
async fn gauges(app: &TestApp) -> [u32; 3] {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recording = metrics::set_default_local_recorder(&recorder);
    keeper::plans_job(app.app.clone()).await.unwrap();
    let text = recorder.handle().render();
    let names = [
        "cp_domain_renewals_overdue ",
        "cp_domains_unproven ",
        "cp_domain_certificates_expiring{within=\"7d\"} ",
    ];
    names.map(|name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_domain_that_is_not_renewed_is_seen_long_before_it_ends() {
    let mut world = World::build(&[]).await;
    let id = world.proven("go.example.com").await;
    issue(&world.app).await;
    let name = "_affiliateos.go.example.com";
    // Its proof is gone when the renewal is due, and looked for again and again.
    world.names.no_text(name);
    let due = at(&get(&world.owner, &id).await["renews_at"]);
    world.app.clock.set(due + TimeDelta::hours(1));
    assert_eq!(gauges(&world.app).await, [0, 0, 0], "nobody has looked yet");
    issue(&world.app).await;
    assert_eq!(gauges(&world.app).await, [0, 1, 0]);
    world.app.clock.advance(TimeDelta::days(2));
    issue(&world.app).await;
    assert_eq!(gauges(&world.app).await, [0, 1, 0], "the owner's to mend, not ours");
    // It is back, and now the authority is away.
    let shown = get(&world.owner, &id).await;
    set_records(&world.names, &shown);
    world.pebble.stop().await;
    world.app.clock.advance(TimeDelta::days(1));
    issue(&world.app).await;
    assert_eq!(gauges(&world.app).await, [1, 0, 0]);
    world.app.clock.advance(TimeDelta::days(24));
    issue(&world.app).await;
    assert_eq!(gauges(&world.app).await, [1, 0, 1]);
    let shown = get(&world.owner, &id).await;
    assert_eq!(shown["status"], "active", "{shown}");
    assert!(shown["problem"].as_str().unwrap().contains("does not answer"), "{shown}");
}

#[tokio::test]
async fn a_refusal_is_told_in_words_and_tried_again_later() {
    let world = World::build(&[("PEBBLE_AUTHZREUSE", "0")]).await;
    let id = claim(&world.owner, "go.example.com").await;
    let shown = get(&world.owner, &id).await;
    // The name leads somewhere when we look, and nowhere when the authority does.
    set_records(&world.names, &shown);
    look(&world.app).await;
    let text = &shown["records"][0];
    let other = NameServer::start().await;
    other.set_text(text["name"].as_str().unwrap(), text["value"].as_str().unwrap());
    let elsewhere = Pebble::start(other.addr, 9, DAY).await;
    let app = &world.app;
    let config_elsewhere = acme(&elsewhere);
    let mut config = app.app.config().clone();
    config.domains.acme = Some(config_elsewhere);
    let service = control_plane::App::with_clock(config, app.clock.clone()).unwrap();
    keeper::certificates_job(service.clone()).await.unwrap();
    let refused = get(&world.owner, &id).await;
    assert_eq!(refused["status"], "failed", "{refused}");
    assert!(refused["problem"].as_str().unwrap().contains("certificate authority refused"), "{refused}");
    assert!(refused["fix"].as_str().unwrap().contains("/api/domains/:id/verify"));
    let next = at(&refused["next_check_at"]) - app.now();
    assert!(next >= TimeDelta::seconds(55), "{next}");
    // Nothing is asked for before that; then the right authority issues.
    issue(app).await;
    assert_eq!(get(&world.owner, &id).await["status"], "failed");
    app.clock.advance(TimeDelta::minutes(2));
    issue(app).await;
    assert_eq!(get(&world.owner, &id).await["status"], "active", "{}", get(&world.owner, &id).await);
    service.close().await;
}

#[tokio::test]
async fn an_order_goes_on_after_a_crash_and_an_unknown_account_is_made_anew() {
    let world = World::build(&[("PEBBLE_AUTHZREUSE", "0")]).await;
    let id = world.proven("go.example.com").await;
    // A worker died after the order was begun: edges answer nothing yet, and the lease is still there.
    let app = &world.app;
    let before = app.app.clone();
    let dying = tokio::spawn(keeper::certificates_job(before));
    let begun = async {
        loop {
            let begun = app.count("SELECT count(*) FROM domains WHERE order_url IS NOT NULL").await;
            let issued = app.count("SELECT count(*) FROM domains WHERE chain_pem IS NOT NULL").await;
            if begun + issued > 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), begun).await.unwrap();
    dying.abort();
    drop(dying.await);
    let order: Option<String> =
        sqlx::query_scalar("SELECT order_url FROM domains").fetch_one(app.app.db()).await.unwrap();
    issue(app).await;
    if order.is_some() {
        assert_eq!(get(&world.owner, &id).await["status"], "issuing", "leased by the dead one");
    }
    app.clock.advance(TimeDelta::minutes(11));
    issue(app).await;
    assert_eq!(get(&world.owner, &id).await["status"], "active");
    // The authority has forgotten everything: our account too.
    sqlx::query("UPDATE acme_accounts SET directory = 'https://elsewhere.example/'")
        .execute(app.app.db())
        .await
        .unwrap();
    let second = world.proven("two.example.com").await;
    issue(app).await;
    assert_eq!(get(&world.owner, &second).await["status"], "active");
    assert_eq!(app.count("SELECT count(*) FROM acme_accounts").await, 2);
}

#[tokio::test]
async fn an_authority_that_is_away_costs_nobody_anything() {
    let names = NameServer::start().await;
    let app = super::app_with(names.addr).await;
    let owner = app.pro("Owner").await;
    let id = claim(&owner, "go.example.com").await;
    set_records(&names, &get(&owner, &id).await);
    look(&app).await;
    issue(&app).await;
    let shown = get(&owner, &id).await;
    assert_eq!(shown["status"], "issuing");
    assert!(shown["problem"].as_str().unwrap().contains("does not answer"), "{shown}");
    assert!(shown["fix"].as_str().unwrap().contains("by itself"));
    assert!(at(&shown["next_check_at"]) > app.now());
}
