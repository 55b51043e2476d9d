//! Payments through Stripe, against programs that are not ours: `emulate` has Checkout and its pay page,
//! `localstripe` has subscriptions and invoices, the official SDKs sign what neither of them would send.

mod checkout;
mod events;
mod pro;
mod x402;

use crate::harness::providers::{self, Script, Server};
use crate::harness::{Client, Reply, TestApp};
use chrono::{DateTime, Utc};
use control_plane::stripe::Account;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};

const WEBHOOK: &str = "/api/payments/stripe/webhook";
const SECRET: &str = "whsec_tests";

/// An account at a server of this origin.
fn account(api_base: &str) -> Account {
    Account {
        secret_key: "sk_test_12345".to_owned().into(),
        webhook_secrets: vec!["whsec_before".to_owned().into(), SECRET.to_owned().into()],
        pro_price: "price_pro".to_owned(),
        topup_price: Some("price_five".to_owned()),
        api_base: api_base.to_owned(),
    }
}

/// A service that is paid through `emulate`, which sends it signed events.
struct Shop {
    app: TestApp,
    emulate: Server,
    _seed: tempfile::TempDir,
}

impl Shop {
    async fn open() -> Self {
        Self::open_signing_with(SECRET).await
    }

    /// The same, with events signed like this.
    async fn open_signing_with(secret: &str) -> Self {
        let port = providers::free_port();
        let app = TestApp::start_with(|config| {
            config.stripe = Some(account(&format!("http://127.0.0.1:{port}")));
        })
        .await;
        // Their clock is the world's.
        app.clock.set(SystemClock.now());
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("seed.yaml");
        let price = |id: &str, product: &str, amount: i64| json!({"id": id, "product_name": product, "currency": "usd", "unit_amount": amount});
        let products = json!([{"id": "prod_topup", "name": "Top-up"}, {"id": "prod_pro", "name": "Pro"}]);
        let hook = json!({"url": format!("{}{WEBHOOK}", app.origin()), "events": ["*"], "secret": secret});
        let prices = json!([price("price_five", "Top-up", 500), price("price_pro", "Pro", 9900)]);
        let config = json!({"stripe": {"products": products, "prices": prices, "webhooks": [hook]}});
        // JSON is YAML.
        std::fs::write(&seed, config.to_string()).unwrap();
        let (port_text, seed) = (port.to_string(), seed.to_str().unwrap().to_owned());
        let script = providers::path("node_modules/.bin/emulate");
        let args =
            [script.to_str().unwrap(), "start", "--service", "stripe", "--port", &port_text, "--seed", &seed];
        let emulate = Server::start(&providers::node(), &args, port).await;
        Self { app, emulate, _seed: folder }
    }

    /// Pays on the page that a person would be sent to; the events have arrived when this returns.
    async fn pay(&self, checkout_url: &str) -> u16 {
        let path = checkout_url.split_once("/checkout/").expect("an address of the pay page").1;
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
        let page = format!("{}/checkout/{path}", self.emulate.origin);
        let http = http.build().unwrap();
        let shown = http.get(&page).send().await.unwrap();
        assert_eq!(shown.status(), 200, "the page is there");
        http.post(format!("{page}/complete")).send().await.unwrap().status().as_u16()
    }
}

/// Signs events with an official SDK and sends them.
struct Sender {
    signer: Script,
}

impl Sender {
    fn node() -> Self {
        let script = providers::path("stripe/sign.mjs");
        Self { signer: Script::start(&providers::node(), &[script.to_str().unwrap()]) }
    }

    fn python() -> Self {
        let script = providers::path("stripe/sign.py");
        Self { signer: Script::start(".venv/bin/python", &[script.to_str().unwrap()]) }
    }

    async fn sign(&mut self, payload: &str, secret: &str, at: DateTime<Utc>) -> String {
        let request = json!({"payload": payload, "secret": secret, "timestamp": at.timestamp()});
        self.signer.ask(&request).await
    }

    /// Signs an event now and sends it.
    async fn send(&mut self, app: &TestApp, event: &Value) -> Reply {
        let payload = event.to_string();
        let header = self.sign(&payload, SECRET, app.now()).await;
        deliver(app, &payload, &header).await
    }
}

/// Sends a body with a signature, as Stripe would.
async fn deliver(app: &TestApp, payload: &str, signature: &str) -> Reply {
    let anyone = app.anyone();
    let request = anyone
        .request("POST", WEBHOOK)
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(payload.to_owned());
    anyone.send(request).await
}

/// An event as Stripe writes it.
fn event(app: &TestApp, id: &str, kind: &str, object: Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": control_plane::stripe::VERSION, "type": kind,
        "created": app.now().timestamp(), "livemode": false, "pending_webhooks": 1, "data": {"object": object},
    })
}

/// A paid Checkout session of a top-up.
fn session(topup: &Value, payment: &str, cents: i64) -> Value {
    json!({
        "id": format!("cs_test_{payment}"), "object": "checkout.session", "mode": "payment", "status": "complete",
        "payment_status": "paid", "amount_total": cents, "currency": "usd", "livemode": false,
        "client_reference_id": topup["id"], "metadata": {"topup_id": topup["id"]}, "payment_intent": payment,
        "customer": null,
    })
}

fn refund(id: &str, payment: &str, cents: i64, status: &str) -> Value {
    json!({"id": id, "object": "refund", "amount": cents, "currency": "usd", "payment_intent": payment,
           "charge": format!("ch_{payment}"), "status": status, "metadata": {}})
}

fn dispute(id: &str, payment: &str, cents: i64, status: &str) -> Value {
    json!({"id": id, "object": "dispute", "amount": cents, "currency": "usd", "payment_intent": payment,
           "charge": format!("ch_{payment}"), "status": status, "metadata": {}})
}

async fn balance(agent: &Client) -> Value {
    let wallet = agent.get("/api/wallet").await;
    json!([wallet.expect(200)["balance"], wallet.body["owed"]])
}
