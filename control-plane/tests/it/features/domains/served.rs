//! The whole of it, with the real programs: a domain from its claim to clicks over HTTPS, through a renewal, to its end.

use super::set_records;
use crate::harness::{Client, NameServer, Pebble, Process, Site};
use reqwest::tls::TlsInfo;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Nothing takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_mins(2);
/// A certificate lives for so long: it is renewed after two thirds of it.
const VALIDITY: Duration = Duration::from_secs(30);
const DOMAIN: &str = "go.example.com";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

/// Waits until what is looked at is as it should be, and gives it.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A new visitor, who believes the issuer alone, and to whom the domain is the edge's TLS port. One who was there
/// before would resume its session, and see no certificate.
fn visitor(issuer: &str, tls: SocketAddr) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(issuer.as_bytes()).unwrap();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([root])
        .tls_info(true)
        .resolve(DOMAIN, tls)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(BROWSER)
        .build()
        .unwrap()
}

fn certificate(response: &reqwest::Response) -> Vec<u8> {
    let info = response.extensions().get::<TlsInfo>().expect("over TLS");
    info.peer_certificate().expect("a certificate").to_vec()
}

async fn link(affiliate: &Client, partnership: &str, body: Value) -> Value {
    affiliate.post(&format!("/api/partnerships/{partnership}/links"), body).await.expect(201).clone()
}

#[tokio::test]
async fn a_domain_is_served_over_https_renewed_by_itself_and_gone_when_removed() {
    let (site, names, spool) = (Site::new().await, NameServer::start().await, tempfile::tempdir().unwrap());
    let edge = site.edge(spool.path(), &[("AOS_EDGE_TLS_ADDR", "127.0.0.1:0")]).await;
    let tls: SocketAddr = edge.said("tls").expect("it serves TLS").parse().unwrap();
    let plain: SocketAddr = edge.addr().parse().unwrap();
    let pebble = Pebble::start(names.addr, plain.port(), VALIDITY).await;
    let root = spool.path().join("root.pem");
    std::fs::write(&root, &pebble.root_pem).unwrap();
    let (server, root) = (names.addr.to_string(), root.to_str().unwrap());
    let settings = [
        ("AOS_ACME_DIRECTORY", pebble.directory.as_str()),
        ("AOS_ACME_ROOT", root),
        ("AOS_DNS_SERVER", server.as_str()),
        ("AOS_EDGE_DOMAIN_TARGET", "edge.affiliateos.example"),
    ];
    let api: Process = site.start_with("all", &edge.origin(), &settings).await;
    let (advertiser, affiliate) =
        (Site::agent(&api, "Advertiser").await, Site::agent(&api, "Affiliate").await);
    let program = json!({"name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto"});
    let program =
        advertiser.post("/api/programs", program).await.expect(201)["id"].as_str().unwrap().to_owned();
    let joined = affiliate.post(&format!("/api/network/join/{program}"), json!({})).await;
    let partnership = joined.expect(201)["id"].as_str().unwrap().to_owned();
    affiliate.post("/api/subscription/pro", json!({})).await.expect(201);

    let claimed = affiliate.post("/api/domains", json!({"domain": DOMAIN})).await;
    set_records(&names, claimed.expect(201));
    let path = format!("/api/domains/{}", claimed.body["id"].as_str().unwrap());
    affiliate.post(&format!("{path}/verify"), json!({})).await.expect(200);
    let domain = until("active", async || {
        let shown = affiliate.get(&path).await.expect(200).clone();
        (shown["status"] == "active").then_some(shown)
    })
    .await;

    let destination = "https://example.com/pricing?from=us";
    let made =
        link(&affiliate, &partnership, json!({"destination_url": destination, "custom_domain": DOMAIN}))
            .await;
    let token = made["token"].as_str().unwrap();
    let url = made["tracking_url"].as_str().unwrap();
    assert_eq!(url, format!("https://{DOMAIN}/{token}"));
    let issuer = pebble.issuer().await;
    let visit = async |url: &str| visitor(&issuer, tls).get(url).send().await;
    let first =
        until("the click over HTTPS", async || visit(url).await.ok().filter(|reply| reply.status() == 302))
            .await;
    assert_eq!(first.headers()["location"], destination);
    let link_path = format!("/api/links/{}", made["id"].as_str().unwrap());
    until("the click is counted", async || {
        let counted = affiliate.get(&link_path).await.expect(200)["clicks"].as_i64().unwrap();
        (counted >= 1).then_some(())
    })
    .await;

    // Another owner's link is none of this domain's.
    let (other, third) = (Site::agent(&api, "Other").await, Site::agent(&api, "Third").await);
    let program =
        json!({"name": "Theirs", "commission_type": "fixed", "commission_value": 5, "approval_mode": "auto"});
    let program = other.post("/api/programs", program).await.expect(201)["id"].as_str().unwrap().to_owned();
    let joined = third.post(&format!("/api/network/join/{program}"), json!({})).await;
    let foreign = link(
        &third,
        joined.expect(201)["id"].as_str().unwrap(),
        json!({"destination_url": "https://example.com/"}),
    )
    .await;
    let foreign_token = foreign["token"].as_str().unwrap();
    until("the foreign link works where it belongs", async || {
        let reply = visit(foreign["tracking_url"].as_str().unwrap()).await.ok()?;
        (reply.status() == 302).then_some(())
    })
    .await;
    let refused = visit(&format!("https://{DOMAIN}/{foreign_token}")).await.unwrap();
    assert_eq!(refused.status(), 404);

    // Renewed by itself, and new visitors get the new certificate.
    let renewed = until("renewed", async || {
        let shown = affiliate.get(&path).await.expect(200).clone();
        (shown["certificate_issued_at"] != domain["certificate_issued_at"]).then_some(shown)
    })
    .await;
    assert_eq!((&renewed["status"], &renewed["problem"]), (&json!("active"), &Value::Null), "{renewed}");
    let old = certificate(&first);
    until("the new certificate is served", async || {
        let reply = visit(url).await.ok()?;
        (reply.status() == 302 && certificate(&reply) != old).then_some(())
    })
    .await;

    affiliate.delete(&path).await.expect(200);
    let on_host = async |path: &str| {
        let url = format!("{}{path}", edge.origin());
        let reply = visitor(&issuer, tls).get(url).header("host", DOMAIN).send().await;
        reply.unwrap().status().as_u16()
    };
    until("404 on the removed domain", async || (on_host(&format!("/{token}")).await == 404).then_some(()))
        .await;
    assert!(visit(url).await.is_err(), "and no certificate for it");
    let moved = affiliate.get(&link_path).await.expect(200).clone();
    let on_ours = visit(moved["tracking_url"].as_str().unwrap()).await.unwrap();
    assert_eq!((on_ours.status().as_u16(), &moved["custom_domain"]), (302, &Value::Null));
}
