//! Top-ups over x402: the protocol's own client and facilitator, on a development chain.

use super::balance;
use crate::harness::providers::{self, Script, Server};
use crate::harness::{Client, TestApp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_plane::features::payments::x402::ops;
use control_plane::workers::jobs::Turn;
use control_plane::x402::Terms;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};

const CHAIN: &str = "84532";

struct Market {
    app: TestApp,
    facilitator: Script,
    client: Script,
    receiver: String,
    _chain: Server,
}

impl Market {
    async fn open() -> Self {
        let (chain_port, port) = (providers::free_port(), providers::free_port());
        let (chain_text, port_text) = (chain_port.to_string(), port.to_string());
        let args = ["--port", &chain_text, "--chain-id", CHAIN, "--silent"];
        let chain =
            Server::start("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil", &args, chain_port).await;
        let script = |name: &str| providers::path(name).to_str().unwrap().to_owned();
        let args = [&script("x402/facilitator.mjs"), &chain.origin, CHAIN, &port_text];
        let mut facilitator = Script::start(&providers::node(), &args);
        let at = facilitator.ask_json(&json!({"do": "start"})).await;
        let text = |name: &str| at[name].as_str().unwrap().to_owned();
        let (token, receiver, rpc) = (text("token"), text("receiver"), chain.origin.clone());
        let terms = Terms {
            facilitator: format!("http://127.0.0.1:{port}"),
            facilitator_token: None,
            rpc_url: rpc.into(),
            chain_id: CHAIN.parse().unwrap(),
            asset: token,
            asset_domain: ("Test USD".to_owned(), "2".to_owned()),
            pay_to: receiver.clone(),
        };
        let app = TestApp::start_with(|config| config.x402 = Some(terms)).await;
        // Authorizations are valid in the world's time.
        app.clock.set(SystemClock.now());
        let client = Script::start(&providers::node(), &[&script("x402/client.mjs")]);
        Self { app, facilitator, client, receiver, _chain: chain }
    }

    /// A request by the protocol's client.
    async fn ask(&mut self, agent: &Client, method: &str, path: &str, body: Value, version: u8) -> Value {
        let headers = json!({
            "authorization": format!("Bearer {}", agent.key()), "content-type": "application/json",
            "x-sl-attribution": format!("atxp_reference=atxp_abc123;agent_key={};ts={}",
                agent.get("/api/agents/me").await.body["publisher_id"].as_str().unwrap(), self.app.now().timestamp()),
        });
        let url = format!("{}{path}", self.app.origin());
        let request =
            json!({"url": url, "method": method, "headers": headers, "body": body, "version": version});
        self.client.ask_json(&request).await
    }

    /// What the receiver has, in the token's units.
    async fn received(&mut self) -> i64 {
        let said = self.facilitator.ask_json(&json!({"do": "balance", "of": self.receiver})).await;
        said["balance"].as_str().unwrap().parse().unwrap()
    }

    async fn mode(&mut self, mode: &str) {
        self.facilitator.ask_json(&json!({"do": "mode", "mode": mode})).await;
    }

    /// Sends a top-up with this payment, without the client.
    async fn show(&self, agent: &Client, amount: i64, payment: &str) -> crate::harness::Reply {
        let request = agent.request("POST", "/api/wallet/topup").header("payment-signature", payment);
        agent.send(request.json(&json!({"amount": amount, "payment": "x402"}))).await
    }
}

fn decoded(value: &Value) -> Value {
    serde_json::from_slice(&STANDARD.decode(value.as_str().expect("a header")).unwrap()).unwrap()
}

/// The payment that the client signed.
fn payment(reply: &Value) -> String {
    reply["sent"][1].as_str().unwrap_or_else(|| panic!("nothing was paid: {reply}")).to_owned()
}

#[tokio::test]
async fn show_4_a_top_up_by_the_protocols_own_client_in_both_versions() {
    let mut market = Market::open().await;
    let agent = market.app.agent("Payer").await;
    let body = json!({"amount": 20, "payment": "x402"});
    let asked = agent.post("/api/wallet/topup", body.clone()).await;
    asked.is_error(402, "payment_required");
    let required = decoded(&json!(asked.headers["payment-required"].to_str().unwrap()));
    assert_eq!(
        (&required["x402Version"], &required["accepts"][0]["amount"], &required["accepts"][0]["network"]),
        (&json!(2), &json!("20000000"), &json!("eip155:84532"))
    );
    assert_eq!(
        (&asked.body["x402Version"], &asked.body["accepts"][0]["maxAmountRequired"]),
        (&json!(1), &json!("20000000"))
    );
    let paid = market.ask(&agent, "POST", "/api/wallet/topup", body.clone(), 2).await;
    assert_eq!((&paid["status"], &paid["body"]["status"]), (&json!(201), &json!("paid")), "{paid}");
    assert_eq!(
        (&paid["body"]["provider"], &paid["body"]["sandbox"], &paid["body"]["balance"]),
        (&json!("x402"), &json!(false), &json!(20))
    );
    let receipt = decoded(&paid["headers"]["payment-response"]);
    assert_eq!((&receipt["success"], &receipt["network"]), (&json!(true), &json!("eip155:84532")));
    assert_eq!(market.received().await, 20_000_000, "one unit of the token is one micro-dollar");
    // Version 1 reads the body.
    let paid =
        market.ask(&agent, "POST", "/api/wallet/topup", json!({"amount": 5, "payment": "x402"}), 1).await;
    assert_eq!((&paid["status"], &paid["body"]["balance"]), (&json!(201), &json!(25)), "{paid}");
    assert_eq!(decoded(&paid["headers"]["x-payment-response"])["network"], "base-sepolia");
    assert_eq!((market.received().await, balance(&agent).await), (25_000_000, json!([25, 0])));
    let kept: Vec<(Option<String>, Option<String>)> =
        sqlx::query_as("SELECT attribution_reference, attribution_publisher FROM x402_payments")
            .fetch_all(market.app.app.db())
            .await
            .unwrap();
    let publisher = shared::id::publisher_name(agent.agent_id());
    assert_eq!(kept, vec![(Some("atxp_abc123".to_owned()), Some(publisher)); 2]);
    println!("x402: 402 -> signed -> 201 (v2 $20, v1 $5); wallet $25; receiver on the chain 25000000 units");
    market.app.audit().await;
}

#[tokio::test]
async fn a_refused_request_is_paid_and_runs_in_one_round_trip() {
    let mut market = Market::open().await;
    let offer = market.app.offer().await;
    let number = market.app.number(&offer.advertiser).await;
    sqlx::query("INSERT INTO usage_months (advertiser, month, metric, used, included) VALUES ($1, $2, 'conversions', 100, 100)")
        .bind(number)
        .bind(control_plane::features::usage::model::month_of(market.app.now()))
        .execute(market.app.app.db())
        .await
        .unwrap();
    let advertiser = offer.advertiser.clone();
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 10});
    let refused = advertiser.post("/api/conversions/track", body.clone()).await;
    refused.is_error(402, "free_tier_limit_reached");
    let required = decoded(&json!(refused.headers["payment-required"].to_str().unwrap()));
    assert_eq!(required["accepts"][0]["amount"], "5000000", "the smallest top-up that covers $0.30");
    assert_eq!(refused.body["accepts"][0]["maxAmountRequired"], "5000000");
    let ran = market.ask(&advertiser, "POST", "/api/conversions/track", body.clone(), 2).await;
    assert_eq!(ran["status"], 201, "{ran}");
    assert_eq!(ran["sent"].as_array().unwrap().len(), 2, "one 402, one paid request");
    assert_eq!(decoded(&ran["headers"]["payment-response"])["success"], true);
    assert_eq!(balance(&advertiser).await, json!([4.7, 0]));
    // A cap is its owner's: money does not mend it, so none is asked for.
    advertiser.patch("/api/wallet", json!({"monthly_spend_cap": 0.3})).await.expect(200);
    let capped = advertiser.post("/api/conversions/track", body).await;
    capped.is_error(402, "insufficient_credits");
    assert!(!capped.headers.contains_key("payment-required"), "{capped}");
    println!("conversion 101: 402 with PAYMENT-REQUIRED $5 -> paid request 201; wallet $4.70");
    market.app.audit_books().await;
}

#[tokio::test]
async fn one_payment_is_credited_once_whoever_shows_it_how_often() {
    let mut market = Market::open().await;
    let (agent, thief) = (market.app.agent("Payer").await, market.app.agent("Thief").await);
    let body = json!({"amount": 10, "payment": "x402"});
    let paid = market.ask(&agent, "POST", "/api/wallet/topup", body, 2).await;
    let signed = payment(&paid);
    for _ in 0..5 {
        let again = market.show(&agent, 10, &signed).await;
        assert_eq!(again.expect(201)["id"], paid["body"]["id"]);
    }
    market.show(&thief, 10, &signed).await.is_error(409, "invalid_state");
    assert_eq!((balance(&agent).await, balance(&thief).await), (json!([10, 0]), json!([0, 0])));
    assert_eq!(market.received().await, 10_000_000);
    // What is changed is not what was signed; what is of another amount does not do.
    let mut forged = decoded(&json!(signed));
    forged["payload"]["authorization"]["nonce"] = json!(format!("0x{}", "11".repeat(32)));
    let forged = STANDARD.encode(forged.to_string());
    let refused = market.show(&agent, 10, &forged).await;
    refused.is_error(402, "payment_required");
    assert!(refused.headers.contains_key("payment-required"), "a refusal says again what to pay: {refused}");
    market.show(&agent, 20, &forged).await.is_error(402, "payment_required");
    market.show(&agent, 20, "nonsense").await.is_error(402, "payment_required");
    assert_eq!(balance(&agent).await, json!([10, 0]));
    println!(
        "x402 replay: 6 shows of one payment -> 1 credit ($10); another account's show -> 409; forged -> 402"
    );
    market.app.audit().await;
}

#[tokio::test]
async fn a_settlement_whose_answer_is_lost_is_found_on_the_chain() {
    let mut market = Market::open().await;
    let agent = market.app.agent("Payer").await;
    // Carried out, and the answer dropped: the chain tells at once.
    market.mode("lose").await;
    let body = json!({"amount": 15, "payment": "x402"});
    let paid = market.ask(&agent, "POST", "/api/wallet/topup", body.clone(), 2).await;
    assert_eq!((&paid["status"], &paid["body"]["balance"]), (&json!(201), &json!(15)), "{paid}");
    assert_eq!(market.received().await, 15_000_000);
    // Not carried out: open, and not credited.
    market.mode("normal").await;
    let refused = agent.post("/api/wallet/topup", body.clone()).await;
    refused.is_error(402, "payment_required");
    let fresh = market.ask(&agent, "POST", "/api/wallet/topup", body, 2).await;
    assert_eq!((&fresh["status"], balance(&agent).await), (&json!(201), json!([30, 0])));
    println!(
        "x402 lost answer: settle applied, reply dropped -> found on the chain, credited once; receiver 30000000"
    );
    assert_eq!(market.received().await, 30_000_000);
    market.app.audit().await;
}

#[tokio::test]
async fn a_payment_left_open_is_carried_out_by_the_job_once() {
    let mut market = Market::open().await;
    let agent = market.app.agent("Payer").await;
    let body = json!({"amount": 5, "payment": "x402"});
    // A first payment shows how one is signed; the second is kept before anything is settled.
    market.ask(&agent, "POST", "/api/wallet/topup", body.clone(), 2).await;
    sqlx::query("UPDATE x402_payments SET state = 'settling', transaction = NULL, lease_until = created_at")
        .execute(market.app.app.db())
        .await
        .unwrap();
    // As after a crash between settlement and credit: looked up, found, and credited no second time.
    assert_eq!(ops::job(market.app.app.clone()).await.unwrap(), Turn::Again);
    assert_eq!(ops::job(market.app.app.clone()).await.unwrap(), Turn::Idle);
    let state: String =
        sqlx::query_scalar("SELECT state FROM x402_payments").fetch_one(market.app.app.db()).await.unwrap();
    assert_eq!((state.as_str(), balance(&agent).await), ("settled", json!([5, 0])));
    assert_eq!(market.received().await, 5_000_000);
    // With the facilitator away nothing is taken, nothing is lost.
    market.mode("down").await;
    let away = market.ask(&agent, "POST", "/api/wallet/topup", body, 2).await;
    assert_eq!(away["status"], 503, "{away}");
    assert_eq!(balance(&agent).await, json!([5, 0]));
    market.app.audit().await;
}

#[tokio::test]
async fn a_wrong_attribution_header_is_said_before_anything_is_paid() {
    let mut market = Market::open().await;
    let agent = market.app.agent("Payer").await;
    let now = market.app.now().timestamp();
    let publisher = shared::id::publisher_name(agent.agent_id());
    let send = async |header: String, payment: Option<&str>| {
        let request = agent.request("POST", "/api/wallet/topup").header("x-sl-attribution", header);
        let request = match payment {
            Some(payment) => request.header("payment-signature", payment),
            None => request,
        };
        agent.send(request.json(&json!({"amount": 5, "payment": "x402"}))).await
    };
    for wrong in ["nonsense", "atxp_reference=a;agent_key=b", "atxp_reference=a;agent_key=b;ts=1;ts=2"] {
        // Both of the request that is answered with 402 otherwise, and of the one that pays.
        for payment in [None, Some("any")] {
            let reply = send(wrong.to_owned(), payment).await;
            assert!(reply.is_error(400, "invalid_value").contains("atxp_reference"), "{reply}");
            assert_eq!(reply.body["field"], "X-SL-Attribution");
        }
    }
    let header = |agent: &str, ts: i64| format!("atxp_reference=atxp_1;agent_key={agent};ts={ts}");
    send(header("pub_nobody", now), Some("any")).await.is_error(400, "invalid_value");
    send(header(&publisher, now - 86_401), Some("any")).await.is_error(410, "token_expired");
    send(header(&publisher, now), None).await.is_error(402, "payment_required");
    assert_eq!(market.received().await, 0);
}
