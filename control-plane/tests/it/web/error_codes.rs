//! Every error code, caused by one request each. A code that nothing here causes does not compile.

use crate::harness::{Client, Offer, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::error::{Class, Code};
use control_plane::web::respond;
use serde_json::{Value, json};
use shared::ClickId;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A reply as far as an error shows: status, body, headers in small letters.
struct Caused {
    status: u16,
    body: Value,
    head: String,
}

impl From<Reply> for Caused {
    fn from(reply: Reply) -> Self {
        let lines =
            reply.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
        Self { status: reply.status, body: reply.body, head: lines.collect() }
    }
}

/// Sends bytes as they are and reads to the end; one that stays open is read for as long as it takes.
async fn raw(app: &TestApp, request: &[u8]) -> Caused {
    let mut stream = TcpStream::connect(app.origin().trim_start_matches("http://")).await.unwrap();
    stream.write_all(request).await.ok();
    let mut said = Vec::new();
    let limit = control_plane::web::extract::BODY_FOR + Duration::from_secs(10);
    tokio::time::timeout(limit, stream.read_to_end(&mut said)).await.expect("an answer").ok();
    let said = String::from_utf8(said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{said:?}"));
    Caused {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        body: serde_json::from_str(body).unwrap(),
        head: head.to_ascii_lowercase(),
    }
}

async fn sale(offer: &Offer, more: Value) -> Reply {
    let mut body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99, "external_id": "order-456"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    offer.advertiser.post("/api/conversions/track", body).await
}

async fn use_allowance_up(app: &TestApp, agent: &Client) {
    sqlx::query(
        "INSERT INTO usage_months (advertiser, month, metric, used, included)
         VALUES ($1, '2026-06-01', 'conversions', 100, 100)",
    )
    .bind(app.number(agent).await)
    .execute(app.app.db())
    .await
    .unwrap();
}

async fn v1_key(app: &TestApp, agent: &Client, kind: &str) -> Client {
    let made = agent.post(&format!("/api/agents/{}/keys", agent.id()), json!({"kind": kind})).await;
    app.with_key(made.expect(201)["key"].as_str().unwrap())
}

/// A `/v1` order with a token that was tracked before.
async fn verify(app: &TestApp, offer: &Offer, order: &str, token: &str) -> Reply {
    let merchant = v1_key(app, &offer.advertiser, "merchant").await;
    let body = json!({"order_id": order, "amount": 990, "currency": "usd", "slat_token": token});
    merchant.post("/v1/verify", body).await
}

async fn tracked(app: &TestApp, offer: &Offer) -> String {
    let publisher = v1_key(app, &offer.affiliate, "publisher").await;
    let merchant = offer.advertiser.get("/api/agents/me").await.body["merchant_id"].clone();
    let body = json!({"event": "click", "merchant_id": merchant});
    let reply = publisher.post("/v1/track", body).await;
    reply.expect(201)["slat_token"].as_str().unwrap().to_owned()
}

/// A deployment that is paid by card and over x402, by providers that are never asked.
async fn paid_app() -> TestApp {
    let nowhere = "http://127.0.0.1:1";
    let stripe = control_plane::stripe::Account {
        secret_key: "sk_test_12345".to_owned().into(),
        webhook_secrets: vec!["whsec_tests".to_owned().into()],
        pro_price: "price_pro".to_owned(),
        topup_price: None,
        api_base: nowhere.to_owned(),
    };
    let terms = control_plane::x402::Terms {
        facilitator: nowhere.to_owned(),
        facilitator_token: None,
        rpc_url: nowhere.to_owned().into(),
        chain_id: 84532,
        asset: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned(),
        asset_domain: ("Test USD".to_owned(), "2".to_owned()),
        pay_to: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned(),
    };
    TestApp::start_with(|config| {
        config.stripe = Some(stripe);
        config.x402 = Some(terms);
    })
    .await
}

/// The request that causes a code, in a world where nothing else is wrong.
async fn cause(code: Code) -> Caused {
    if code == Code::RateLimited {
        let app = TestApp::start_with(|config| config.signups_per_hour = 1).await;
        app.agent("First").await;
        return app.anyone().post("/api/auth/signup", json!({"name": "Second"})).await.into();
    }
    let app = match code {
        Code::InvalidSignature | Code::PaymentRequired => paid_app().await,
        Code::DomainsUnavailable => TestApp::start_with(|config| config.domains.acme = None).await,
        _ => TestApp::start().await,
    };
    let offer = app.offer().await;
    caused_by(&app, &offer, code).await
}

async fn caused_by(app: &TestApp, offer: &Offer, code: Code) -> Caused {
    let (advertiser, affiliate) = (&offer.advertiser, &offer.affiliate);
    let program = format!("/api/programs/{}", offer.program);
    match code {
        Code::ApiKeyMissing => app.anyone().get("/api/agents/me").await.into(),
        Code::ApiKeyInvalid => app.with_key("aos_live_abc123").get("/api/agents/me").await.into(),
        Code::MissingField => advertiser.post("/api/programs", json!({"name": "My SaaS"})).await.into(),
        Code::InvalidValue => advertiser.patch(&program, json!({"commission_value": 101})).await.into(),
        Code::InvalidId => app.anyone().get("/api/programs/7").await.into(),
        Code::NotOwner => affiliate.patch(&program, json!({"commission_value": 30})).await.into(),
        Code::NotApproved => {
            let status = json!({"status": "suspended"});
            advertiser.patch(&format!("/api/partnerships/{}", offer.partnership), status).await.expect(200);
            sale(offer, json!({})).await.into()
        }
        Code::OwnProgram => {
            advertiser.post(&format!("/api/network/join/{}", offer.program), json!({})).await.into()
        }
        Code::FeatureRequiresPro => {
            advertiser.post("/api/webhooks", json!({"url": "https://example.com/"})).await.into()
        }
        Code::NotFound => app.anyone().get("/api/programs/018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10").await.into(),
        Code::MethodNotAllowed => app.anyone().get("/api/conversions/track").await.into(),
        Code::AlreadyAffiliated => {
            affiliate.post(&format!("/api/network/join/{}", offer.program), json!({})).await.into()
        }
        Code::DuplicateConversion => {
            sale(offer, json!({})).await.expect(201);
            sale(offer, json!({})).await.into()
        }
        Code::DuplicateRefund => {
            let id = sale(offer, json!({})).await.expect(201)["id"].as_str().unwrap().to_owned();
            let refund = json!({"amount": 1, "external_refund_id": "refund-7"});
            let path = format!("/api/conversions/{id}/refunds");
            advertiser.post(&path, refund.clone()).await.expect(201);
            advertiser.post(&path, refund).await.into()
        }
        Code::HandleTaken => {
            let taken = json!({"name": "Me too", "handle": "advertiser"});
            app.anyone().post("/api/auth/signup", taken).await.into()
        }
        Code::AlreadyActive => advertiser.post(&format!("{program}/activate"), json!({})).await.into(),
        Code::DomainTaken => {
            app.set_tier(advertiser, "pro").await;
            let domain = json!({"domain": "go.example.com"});
            advertiser.post("/api/domains", domain.clone()).await.expect(201);
            advertiser.post("/api/domains", domain).await.into()
        }
        Code::DomainsUnavailable => {
            app.set_tier(advertiser, "pro").await;
            advertiser.post("/api/domains", json!({"domain": "go.example.com"})).await.into()
        }
        Code::AlreadyPaused => {
            advertiser.post(&format!("{program}/pause"), json!({})).await.expect(200);
            advertiser.post(&format!("{program}/pause"), json!({})).await.into()
        }
        Code::InvalidState => {
            let id = sale(offer, json!({})).await.expect(201)["id"].as_str().unwrap().to_owned();
            let path = format!("/api/conversions/{id}");
            advertiser.patch(&path, json!({"status": "rejected"})).await.expect(200);
            advertiser.patch(&path, json!({"status": "approved"})).await.into()
        }
        Code::IdempotencyKeyReused => {
            let send = async |amount: i64| {
                let request =
                    advertiser.request("POST", "/api/wallet/topup").json(&json!({"amount": amount}));
                advertiser.send(request.header("idempotency-key", "one")).await
            };
            send(20).await.expect(201);
            send(25).await.into()
        }
        Code::FreeTierLimitReached => {
            use_allowance_up(app, advertiser).await;
            sale(offer, json!({})).await.into()
        }
        Code::InsufficientCredits => {
            advertiser.post("/api/wallet/topup", json!({"amount": 5})).await.expect(201);
            let id = sale(offer, json!({"revenue_amount": 1000})).await.expect(201)["id"]
                .as_str()
                .unwrap()
                .to_owned();
            advertiser
                .patch(&format!("/api/conversions/{id}"), json!({"status": "approved"}))
                .await
                .expect(200);
            advertiser.post("/api/payouts/process", json!({"program_id": offer.program})).await.into()
        }
        Code::PayoutsFrozen => {
            advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
            let id = sale(offer, json!({})).await.expect(201)["id"].as_str().unwrap().to_owned();
            let approved = json!({"status": "approved"});
            advertiser.patch(&format!("/api/conversions/{id}"), approved).await.expect(200);
            // As it looks after a restore.
            let restored = "UPDATE payout_guard SET timeline = timeline - 1";
            sqlx::query(restored).execute(app.app.db()).await.unwrap();
            advertiser.post("/api/payouts/process", json!({"program_id": offer.program})).await.into()
        }
        Code::InvalidSignature => app.anyone().post("/api/payments/stripe/webhook", json!({})).await.into(),
        Code::PaymentRequired => {
            let topup = json!({"amount": 20, "payment": "x402"});
            advertiser.post("/api/wallet/topup", topup).await.into()
        }
        Code::AttributionExpired => {
            let at_ms = (app.now() - TimeDelta::days(31)).timestamp_millis();
            let click = ClickId { at_ms, spool_tag: 1, seq: 1, link: offer.key };
            let click = String::from_utf8(app.app.click_id_key().mint(&click).to_vec()).unwrap();
            sale(offer, json!({"click_id": click})).await.into()
        }
        Code::InvalidSlatToken => verify(app, offer, "order_1", "slat_v1_forged").await.into(),
        Code::NonceReplay => {
            let token = tracked(app, offer).await;
            verify(app, offer, "order_1", &token).await.expect(200);
            verify(app, offer, "order_2", &token).await.into()
        }
        Code::TokenExpired => {
            let token = tracked(app, offer).await;
            app.clock.advance(TimeDelta::days(2));
            verify(app, offer, "order_1", &token).await.into()
        }
        Code::MerchantNotFound | Code::NotAffiliated => {
            let publisher = v1_key(app, affiliate, "publisher").await;
            let merchant = match code {
                Code::NotAffiliated => affiliate_without_program(app).await,
                _ => json!("merch_xyz"),
            };
            publisher.post("/v1/track", json!({"event": "click", "merchant_id": merchant})).await.into()
        }
        Code::NothingToPay => {
            let publisher = v1_key(app, affiliate, "publisher").await;
            publisher.post("/v1/payouts", json!({"method": "wallet"})).await.into()
        }
        Code::PayloadTooLarge => {
            advertiser.post("/api/programs", json!({"name": "x".repeat(70_000)})).await.into()
        }
        Code::UnsupportedMediaType => {
            let request = advertiser.request("POST", "/api/programs").body("name=My+SaaS");
            advertiser.send(request.header("content-type", "application/x-www-form-urlencoded")).await.into()
        }
        Code::MalformedRequest => raw(app, b"GET /api/agents\r\n\r\n").await,
        Code::UriTooLong => app.anyone().get(&format!("/api/programs?q={}", "x".repeat(9_000))).await.into(),
        Code::HeadersTooLarge => {
            let large = format!("GET /api/agents HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "x".repeat(70_000));
            raw(app, large.as_bytes()).await
        }
        Code::RequestTimeout => raw(
            app,
            b"POST /api/auth/signup HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n{",
        )
        .await,
        Code::Unavailable => {
            app.app.close().await;
            app.anyone().get("/api/programs").await.into()
        }
        Code::Internal => {
            sqlx::query("ALTER TABLE programs RENAME TO lost").execute(app.app.db()).await.unwrap();
            app.anyone().get("/api/programs").await.into()
        }
        Code::RateLimited => panic!("caused on a deployment of its own"),
    }
}

async fn affiliate_without_program(app: &TestApp) -> Value {
    app.agent("No program").await.get("/api/agents/me").await.body["merchant_id"].clone()
}

#[track_caller]
fn check(code: Code, caused: &Caused) {
    let Caused { status, body, head } = caused;
    let said = format!("{} caused {status} {body}", code.as_str());
    assert_eq!(*status, respond::status(code.class()).as_u16(), "{said}");
    let v1 = body["error"].is_object();
    let (name, message, fix) = if v1 {
        (&body["error"]["code"], &body["error"]["message"], &body["error"]["details"]["fix"])
    } else {
        (&body["error"], &body["message"], &body["fix"])
    };
    assert_eq!(name, code.as_str(), "{said}");
    // An instruction: a sentence of some length that begins with a capital letter and names something.
    for text in [message, fix] {
        let text = text.as_str().unwrap_or_else(|| panic!("{said}"));
        assert!(text.len() >= 12 && text.ends_with(['.', '?']), "{said}");
    }
    assert!(v1 || body["docs"].as_str().is_some_and(|docs| docs.ends_with("/docs")), "{said}");
    assert!(
        head.contains("x-request-id: ") && head.contains("content-type: application/json"),
        "{said} {head}"
    );
    match code.class() {
        Class::Unauthenticated => assert!(head.contains("www-authenticate: Bearer"), "{head}"),
        Class::TooMany | Class::Unavailable => assert!(head.contains("retry-after: "), "{head}"),
        Class::MethodNotAllowed => assert!(head.contains("allow: "), "{head}"),
        // Nothing of the cause gets out.
        Class::Bug => assert!(!body.to_string().contains("programs"), "{said}"),
        _ => {}
    }
}

#[tokio::test]
async fn every_code_is_caused_by_one_request() {
    let mut running = tokio::task::JoinSet::new();
    // A few at a time, each with a database and a thread of its own: none keeps another's transaction waiting.
    let mut codes = Code::ALL.iter().copied();
    let alone = |code| move || (code, tokio::runtime::Runtime::new().unwrap().block_on(cause(code)));
    for code in codes.by_ref().take(3) {
        running.spawn_blocking(alone(code));
    }
    let mut caused = 0;
    while let Some(done) = running.join_next().await {
        let (code, reply) = done.unwrap();
        check(code, &reply);
        caused += 1;
        if let Some(code) = codes.next() {
            running.spawn_blocking(alone(code));
        }
    }
    assert_eq!(caused, Code::ALL.len());
}

#[tokio::test]
async fn every_code_is_described() {
    let app = TestApp::start().await;
    let described = app.anyone().get("/openapi.json").await;
    let text = &described.text;
    let silent: Vec<_> =
        Code::ALL.iter().filter(|code| !text.contains(code.as_str())).map(|code| code.as_str()).collect();
    assert!(silent.is_empty(), "not in the description: {silent:?}");
}
