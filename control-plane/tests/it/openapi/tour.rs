//! Every operation called once for each success it has, in the order of a life: the calls are the examples
//! of the description, and their replies are stored beside them.
//!
//! When a reply changes on purpose: `AOS_BLESS=1 cargo test -p control-plane --test it openapi::tour` and
//! read the difference.

use super::recorder::{Call, Recorder};
use crate::harness::{Client, NameServer, Receiver, TestApp};
use chrono::TimeDelta;
use control_plane::features::domains::model::ownership_value;
use serde_json::{Value, json};

const STORED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/examples.json");

/// Who takes part, and what they have made so far.
struct Tour<'a> {
    app: &'a TestApp,
    recorder: Recorder<'a>,
    advertiser: Client,
    affiliate: Client,
    program: String,
    partnership: String,
    token: String,
}

#[tokio::test]
async fn every_example_is_what_the_service_takes_and_answers() {
    let names = NameServer::start().await;
    let app = TestApp::start_with(|config| config.domains.dns_server = Some(names.addr)).await;
    let mut tour = sign_up(&app).await;
    tour.profiles().await;
    tour.wallet().await;
    tour.program().await;
    tour.join().await;
    tour.conversions().await;
    tour.payouts().await;
    tour.keys_and_attribution().await;
    tour.subscription_and_webhooks().await;
    tour.matching().await;
    tour.endings().await;
    let (examples, missing) = tour.recorder.finish();
    assert!(
        missing.is_empty(),
        "operations without an example; call them in tour.rs: {}",
        missing.join(", ")
    );
    if std::env::var_os("AOS_BLESS").is_some() {
        std::fs::write(STORED, &examples).unwrap();
    }
    let stored = std::fs::read_to_string(STORED).unwrap();
    for (stored, now) in stored.lines().zip(examples.lines()) {
        assert_eq!(stored, now, "replies differ from assets/examples.json; see the top of tour.rs");
    }
    assert_eq!(stored.len(), examples.len(), "examples were added or left out; see the top of tour.rs");
}

fn text<'a>(body: &'a Value, member: &str) -> &'a str {
    body[member].as_str().unwrap_or_else(|| panic!("{member} in {body}"))
}

async fn sign_up(app: &TestApp) -> Tour<'_> {
    let mut recorder = Recorder::new(app);
    let mut account = async |operation: &str, body: Value| {
        let call = Call { operation, status: 201, path: &[], query: &[], body: Some(body) };
        let me = recorder.call(&app.anyone(), call).await;
        app.with_key(text(&me, "api_key")).known_as(me)
    };
    let advertiser = account("quickstart", json!({"name": "MyAgent"})).await;
    let promoter = json!({"name": "Promoter", "handle": "promoter", "niche": "saas", "audience_type": "b2b", "website_url": "https://promoter.example/"});
    let affiliate = account("sign_up", promoter).await;
    let [program, partnership, token] = [const { String::new() }; 3];
    Tour { app, recorder, advertiser, affiliate, program, partnership, token }
}

/// Who calls.
#[derive(Clone, Copy)]
enum Who {
    Anyone,
    Advertiser,
    Affiliate,
}
use Who::{Advertiser, Affiliate, Anyone};

impl Tour<'_> {
    async fn call(&mut self, who: Who, operation: &str, status: u16, path: &[(&str, &str)]) -> Value {
        self.full(who, Call { operation, status, path, query: &[], body: None }).await
    }

    async fn send(
        &mut self,
        who: Who,
        operation: &str,
        status: u16,
        path: &[(&str, &str)],
        body: Value,
    ) -> Value {
        self.full(who, Call { operation, status, path, query: &[], body: Some(body) }).await
    }

    async fn full(&mut self, who: Who, call: Call<'_>) -> Value {
        let who = match who {
            Anyone => self.app.anyone(),
            Advertiser => self.advertiser.clone(),
            Affiliate => self.affiliate.clone(),
        };
        self.recorder.call(&who, call).await
    }

    async fn profiles(&mut self) {
        self.call(Advertiser, "get_me", 200, &[]).await;
        self.full(
            Anyone,
            Call {
                operation: "list_agents",
                status: 200,
                path: &[],
                query: &[("niche", "saas")],
                body: None,
            },
        )
        .await;
        let id = self.affiliate.id().to_owned();
        self.call(Anyone, "get_agent", 200, &[("id", &id)]).await;
        let profile =
            json!({"description": "AI shopping assistant", "niche": "ecommerce", "audience_type": "b2c"});
        self.send(Affiliate, "update_agent", 200, &[("id", &id)], profile).await;
        self.call(Advertiser, "get_usage", 200, &[]).await;
    }

    async fn wallet(&mut self) {
        let topup = self.send(Advertiser, "topup_wallet", 201, &[], json!({"amount": 200})).await;
        self.call(Advertiser, "get_topup", 200, &[("id", text(&topup, "id"))]).await;
        self.call(Advertiser, "get_wallet", 200, &[]).await;
        self.send(Advertiser, "change_wallet", 200, &[], json!({"monthly_spend_cap": 250})).await;
    }

    async fn program(&mut self) {
        let body = json!({
            "name": "My SaaS", "description": "Invoices that write themselves", "url": "https://example.com/",
            "commission_type": "percentage", "commission_value": 20, "niche": "saas", "audience_type": "b2b",
            "approval_mode": "manual", "click_id_param": "click_id",
        });
        let program = self.send(Advertiser, "create_program", 201, &[], body).await;
        text(&program, "id").clone_into(&mut self.program);
        let id = self.program.clone();
        let id = &[("id", id.as_str())];
        self.send(Advertiser, "update_program", 200, id, json!({"commission_value": 30})).await;
        self.call(Advertiser, "pause_program", 200, id).await;
        self.call(Advertiser, "activate_program", 200, id).await;
        self.call(Anyone, "get_program", 200, id).await;
        let query = &[("status", "active"), ("niche", "saas")];
        self.full(Anyone, Call { operation: "list_programs", status: 200, path: &[], query, body: None })
            .await;
    }

    async fn join(&mut self) {
        let query = &[("niche", "saas"), ("sort", "highest_commission")];
        self.full(Affiliate, Call { operation: "discover", status: 200, path: &[], query, body: None }).await;
        self.call(Anyone, "list_niches", 200, &[]).await;
        let program = self.program.clone();
        let message = json!({"message": "I can promote this to AI founders"});
        let joined = self.send(Affiliate, "join_program", 201, &[("program_id", &program)], message).await;
        text(&joined, "id").clone_into(&mut self.partnership);
        let partnership = self.partnership.clone();
        let id = &[("id", partnership.as_str())];
        self.call(Advertiser, "list_program_affiliates", 200, &[("id", &program)]).await;
        self.send(Advertiser, "update_partnership", 200, id, json!({"status": "approved"})).await;
        self.call(Affiliate, "get_partnership", 200, id).await;
        let me = self.affiliate.id().to_owned();
        self.call(Affiliate, "list_agent_partnerships", 200, &[("id", &me)]).await;
        let link = json!({"destination_url": "https://example.com/pricing", "sub_id": "newsletter-42"});
        let link = self.send(Affiliate, "create_link", 201, id, link).await;
        text(&link, "token").clone_into(&mut self.token);
        self.call(Affiliate, "list_links", 200, id).await;
        let id = &[("id", text(&link, "id"))];
        self.call(Affiliate, "get_link", 200, id).await;
        self.send(Affiliate, "update_link", 200, id, json!({"destination_url": "https://example.com/plans"}))
            .await;
    }

    /// Reports a sale; its conversion.
    async fn sale(&mut self, order: &str, amount: f64) -> Value {
        let sale = json!({"tracking_token": self.token, "event_type": "sale", "revenue_amount": amount, "external_id": order});
        self.send(Advertiser, "track_conversion", 201, &[], sale).await
    }

    async fn conversions(&mut self) {
        let click = json!({"tracking_token": self.token});
        let click = self.send(Advertiser, "track_click", 201, &[], click).await;
        self.call(Affiliate, "explain_click", 200, &[("click_id", text(&click, "click_id"))]).await;
        let conversion = self.sale("order-456", 99.5).await;
        let id = &[("id", text(&conversion, "id"))];
        self.call(Affiliate, "get_conversion", 200, id).await;
        let program = self.program.clone();
        let query = &[("status", "pending"), ("event_type", "sale")];
        let me = self.affiliate.id().to_owned();
        for (who, operation, id) in
            [(Advertiser, "list_program_conversions", &program), (Affiliate, "list_agent_conversions", &me)]
        {
            self.full(who, Call { operation, status: 200, path: &[("id", id)], query, body: None }).await;
        }
        let of_all = Call { operation: "list_conversions", status: 200, path: &[], query, body: None };
        self.full(Advertiser, of_all).await;
        self.send(Advertiser, "decide_conversion", 200, id, json!({"status": "approved"})).await;
        self.call(Advertiser, "explain_conversion", 200, id).await;
        let refund =
            json!({"amount": 49.5, "reason": "Returned one of two", "external_refund_id": "refund-7"});
        self.send(Advertiser, "refund_conversion", 201, id, refund).await;
        self.call(Affiliate, "get_earnings", 200, &[("id", &me)]).await;
        self.call(Advertiser, "get_program_payouts", 200, &[("id", &program)]).await;
        self.call(Anyone, "network_stats", 200, &[]).await;
    }

    /// Approves a sale and takes it into an external payout; the payout's id.
    async fn external_payout(&mut self, order: &str) -> String {
        let conversion = self.sale(order, 50.0).await;
        let id = &[("id", text(&conversion, "id"))];
        self.send(Advertiser, "decide_conversion", 200, id, json!({"status": "approved"})).await;
        let body = json!({"program_id": self.program, "dry_run": false, "method": "external"});
        let paid = self.send(Advertiser, "process_payouts", 201, &[], body).await;
        text(&paid["payouts"][0], "id").to_owned()
    }

    async fn payouts(&mut self) {
        let me = self.affiliate.id().to_owned();
        let address = json!({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"});
        self.send(Affiliate, "set_payout_address", 200, &[("id", &me)], address).await;
        self.call(Affiliate, "get_payout_address", 200, &[("id", &me)]).await;
        let preview = json!({"program_id": self.program, "dry_run": true});
        let preview = self.send(Advertiser, "process_payouts", 200, &[], preview).await;
        let body = json!({"program_id": self.program, "dry_run": false, "preview_token": text(&preview, "preview_token")});
        let paid = self.send(Advertiser, "process_payouts", 201, &[], body).await;
        self.call(Affiliate, "get_payout", 200, &[("id", text(&paid["payouts"][0], "id"))]).await;
        self.call(Affiliate, "list_payouts", 200, &[]).await;
        let payout = self.external_payout("order-457").await;
        let reference = json!({"reference": "SEPA 2026-06-15 0042"});
        self.send(Advertiser, "mark_payout_paid", 200, &[("id", &payout)], reference).await;
        let payout = self.external_payout("order-458").await;
        let reason = json!({"reason": "The bank returned it"});
        self.send(Advertiser, "mark_payout_failed", 200, &[("id", &payout)], reason).await;
        self.call(Advertiser, "list_wallet_transactions", 200, &[]).await;
    }

    async fn key(&mut self, who: Who, id: &str, kind: &str) -> (String, Client) {
        let made = self.send(who, "create_key", 201, &[("id", id)], json!({"kind": kind})).await;
        (text(&made, "id").to_owned(), self.app.with_key(text(&made, "key")))
    }

    async fn keys_and_attribution(&mut self) {
        let (me, merchant) = (self.affiliate.id().to_owned(), self.advertiser.id().to_owned());
        let (key_id, publish) = self.key(Affiliate, &me, "publisher").await;
        let (_, verify) = self.key(Advertiser, &merchant, "merchant").await;
        self.call(Affiliate, "list_keys", 200, &[("id", &me)]).await;
        let merchant = self.advertiser.get("/api/agents/me").await;
        let event = json!({"event": "recommendation", "merchant_id": text(&merchant.body, "merchant_id"),
                           "product_id": "prod_456", "metadata": {"agent_runtime": "langchain"}});
        let call = |operation, status, body| Call { operation, status, path: &[], query: &[], body };
        let tracked = self.recorder.call(&publish, call("track_event", 201, Some(event))).await;
        let order = json!({"order_id": "order-459", "amount": 9900, "currency": "usd", "slat_token": text(&tracked, "slat_token")});
        self.recorder.call(&verify, call("verify_conversion", 200, Some(order))).await;
        self.recorder.call(&publish, call("list_publisher_commissions", 200, None)).await;
        let program = self.program.clone();
        self.call(Advertiser, "list_agent_runtimes", 200, &[("id", &program)]).await;
        self.call(Advertiser, "list_attribution_events", 200, &[("id", &program)]).await;
        let address = json!({"method": "wallet"});
        self.recorder.call(&publish, call("request_payout", 201, Some(address))).await;
        self.call(Anyone, "slat_keys", 200, &[]).await;
        self.call(Affiliate, "delete_key", 200, &[("id", &me), ("key_id", &key_id)]).await;
        let rotated = self.call(Affiliate, "rotate_key", 200, &[("id", &me)]).await;
        self.affiliate = self.app.with_key(text(&rotated, "api_key")).known_as(self.affiliate.me().clone());
        let rotated = self.call(Affiliate, "regenerate_key", 200, &[("id", &me)]).await;
        self.affiliate = self.app.with_key(text(&rotated, "api_key")).known_as(self.affiliate.me().clone());
    }

    async fn subscription_and_webhooks(&mut self) {
        self.call(Advertiser, "get_subscription", 200, &[]).await;
        self.send(Advertiser, "start_pro", 201, &[], json!({})).await;
        let receiver = Receiver::start().await;
        let url = receiver.url("/webhooks/affiliateos");
        self.recorder.place(&receiver.url(""), "https://example.com");
        let hook = json!({"url": url, "events": ["affiliate.joined", "conversion.created", "payout.processed"], "status": "active"});
        let hook = self.send(Advertiser, "create_webhook", 201, &[], hook).await;
        let hook = text(&hook, "id").to_owned();
        let id = &[("id", hook.as_str())];
        self.call(Advertiser, "list_webhooks", 200, &[]).await;
        self.call(Advertiser, "get_webhook", 200, id).await;
        let test = json!({"webhook_id": hook, "event_type": "conversion.created"});
        self.send(Advertiser, "test_webhook", 200, &[], test).await;
        self.app.deliver();
        self.sale("order-460", 10.0).await;
        receiver.wait_until("the delivery", |received| received.len() >= 2).await;
        let delivery = self.delivered(&hook).await;
        self.call(Advertiser, "list_webhook_deliveries", 200, id).await;
        let path = &[("id", hook.as_str()), ("delivery_id", delivery.as_str())];
        let before = self.last_success(&hook).await;
        self.call(Advertiser, "redeliver_webhook_delivery", 202, path).await;
        // The replies that follow say when it arrived.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while self.last_success(&hook).await == before {
            assert!(std::time::Instant::now() < deadline, "not delivered again");
            tokio::task::yield_now().await;
        }
        self.send(Advertiser, "rotate_webhook_secret", 200, id, json!({})).await;
        self.send(
            Advertiser,
            "update_webhook",
            200,
            id,
            json!({"status": "paused", "events": ["conversion.approved", "conversion.rejected"]}),
        )
        .await;
        let query = &[("per_page", "2")];
        self.full(Advertiser, Call { operation: "list_events", status: 200, path: &[], query, body: None })
            .await;
        self.call(Advertiser, "delete_webhook", 200, id).await;
        self.domains().await;
        self.call(Advertiser, "cancel_subscription", 200, &[]).await;
        self.send(Advertiser, "start_pro", 200, &[], json!({})).await;
    }

    async fn domains(&mut self) {
        let value = ownership_value(&self.app.app.config().secret, self.advertiser.agent_id());
        self.recorder.place(&value, "affiliateos-verify=0f8a5d5b9c0c4b6f8c6f4a1d2e3b4c5d");
        let domain =
            self.send(Advertiser, "create_domain", 201, &[], json!({"domain": "go.example.com"})).await;
        let id = &[("id", text(&domain, "id"))];
        self.call(Advertiser, "list_domains", 200, &[]).await;
        self.call(Advertiser, "verify_domain", 200, id).await;
        self.call(Advertiser, "get_domain", 200, id).await;
        self.call(Advertiser, "delete_domain", 200, id).await;
    }

    /// When a delivery last reached the webhook.
    async fn last_success(&self, hook: &str) -> Value {
        self.advertiser.get(&format!("/api/webhooks/{hook}")).await.expect(200)["last_success_at"].clone()
    }

    /// Waits until the webhook's one delivery has arrived; its id.
    async fn delivered(&mut self, hook: &str) -> String {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            let list = self.advertiser.get(&format!("/api/webhooks/{hook}/deliveries")).await;
            let delivery = &list.expect(200)["data"][0];
            if delivery["status"] == "delivered" {
                return text(delivery, "id").to_owned();
            }
            assert!(std::time::Instant::now() < deadline, "not delivered: {list}");
            tokio::task::yield_now().await;
        }
    }

    async fn matching(&mut self) {
        let studio = self.app.agent("Studio").await;
        for (name, niche) in
            [("Basket", "ecommerce"), ("Checkout helper", "ecommerce"), ("Ledger", "finance")]
        {
            let about = json!({"name": name, "niche": niche, "audience_type": "b2c", "description": "Shopping made easy"});
            self.app.program_with(&studio, about).await;
        }
        self.app.suggest_all().await;
        let program = self.program.clone();
        let query = &[("program_id", program.as_str()), ("limit", "2")];
        let outreach = Call { operation: "suggest_affiliates", status: 200, path: &[], query, body: None };
        self.full(Advertiser, outreach).await;
        let me = self.affiliate.id().to_owned();
        let (path, query) = (&[("agent_id", me.as_str())], &[("limit", "2")]);
        let recommend = Call { operation: "get_recommendations", status: 200, path, query, body: None };
        self.full(Affiliate, recommend).await;
        let list = self.call(Affiliate, "list_pending_suggestions", 200, &[]).await;
        let accept = json!({"decision": "accept", "message": "I can distribute this to AI founders."});
        let id = text(&list["data"][0], "id").to_owned();
        self.send(Affiliate, "respond_to_suggestion", 200, &[("id", &id)], accept).await;
        self.call(Affiliate, "list_agent_suggestions", 200, &[("id", &me)]).await;
    }

    async fn endings(&mut self) {
        let me = self.affiliate.id().to_owned();
        let partnership = self.partnership.clone();
        let links = self.affiliate.get(&format!("/api/partnerships/{partnership}/links")).await;
        self.call(Affiliate, "delete_link", 200, &[("id", text(&links.body["data"][0], "id"))]).await;
        let program = self.program.clone();
        self.call(Advertiser, "delete_program", 200, &[("id", &program)]).await;
        self.app.clock.advance(TimeDelta::minutes(1));
        self.call(Affiliate, "delete_agent", 200, &[("id", &me)]).await;
    }
}
