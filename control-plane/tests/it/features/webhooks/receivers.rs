//! Real deliveries to the receivers of the guide, their signatures under public libraries, their payloads
//! under the schemas of the OpenAPI description.

use super::endpoints::create;
use crate::harness::peers::{self, Companion};
use crate::harness::{Client, Received, Receiver, SHARDS, TestApp};
use chrono::{DateTime, TimeDelta, Timelike};
use control_plane::features::clicks::fold::fold;
use control_plane::features::webhooks::event::EventType;
use control_plane::workers::drainer::Drainer;
use serde_json::{Value, json};
use shared::{Clock, SystemClock};
use std::collections::BTreeSet;

const PAGE: &str = "/docs/webhooks";
const FIRST_ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const OTHER_ADDRESS: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// Two agents on Pro, and the worker.
struct Sides {
    app: TestApp,
    advertiser: Client,
    affiliate: Client,
}

impl Sides {
    async fn meet() -> Self {
        let app = TestApp::start().await;
        // Receivers look at the time of a delivery. Clicks of a few seconds shall be in one hour.
        let now = DateTime::from_timestamp_millis(SystemClock.now_ms()).unwrap();
        app.clock.set(if now.minute() == 59 { now - TimeDelta::minutes(1) } else { now });
        let (advertiser, affiliate) = (app.pro("Advertiser").await, app.pro("Affiliate").await);
        app.deliver();
        Self { app, advertiser, affiliate }
    }

    /// Causes every type of event; gives how many the advertiser and the affiliate are told of.
    async fn everything_happens(&self) -> [usize; 2] {
        let program = json!({"approval_mode": "manual", "niche": "saas"});
        let program = self.app.program_with(&self.advertiser, program).await;
        let program_id = program["id"].as_str().unwrap();
        // They suit each other, and the matching finds out.
        let profile = format!("/api/agents/{}", self.affiliate.id());
        self.affiliate.patch(&profile, json!({"niche": "saas"})).await.expect(200);
        self.app.suggest_all().await;
        let partnership = self.app.joined(&self.affiliate, program_id).await;
        let approve = json!({"status": "approved"});
        let path = format!("/api/partnerships/{partnership}");
        self.advertiser.patch(&path, approve).await.expect(200);
        let link = self.app.link(&self.affiliate, &partnership).await;
        for (order, decided) in [("one", "approved"), ("two", "rejected")] {
            let body = json!({"tracking_token": link["token"], "event_type": "sale", "revenue_amount": 99, "external_id": order});
            let sale = self.advertiser.post("/api/conversions/track", body).await;
            let path = format!("/api/conversions/{}", sale.expect(201)["id"].as_str().unwrap());
            self.advertiser.patch(&path, json!({"status": decided})).await.expect(200);
        }
        let body = json!({"program_id": program_id, "method": "external"});
        self.advertiser.post("/api/payouts/process", body).await.expect(201);
        for side in [&self.advertiser, &self.affiliate] {
            let path = format!("/api/agents/{}/payout-address", side.id());
            for address in [FIRST_ADDRESS, OTHER_ADDRESS] {
                let put = side.request("PUT", &path).json(&json!({"address": address}));
                side.send(put).await.expect(200);
            }
        }
        self.hammer(link["token"].as_str().unwrap()).await;
        [10, 9]
    }

    /// More paid clicks on a link in an hour than its cap.
    async fn hammer(&self, token: &str) {
        let app = &self.app;
        self.advertiser.post("/api/wallet/topup", json!({"amount": 50})).await.expect(201);
        let number = app.number(&self.advertiser).await;
        sqlx::query(
            "INSERT INTO usage_months (advertiser, month, metric, used, included)
             VALUES ($1, date_trunc('month', $2 AT TIME ZONE 'UTC')::DATE, 'clicks', 1000000, 1000000)",
        )
        .bind(number)
        .bind(app.now())
        .execute(app.app.db())
        .await
        .unwrap();
        let mut spool = app.spool(number as u32);
        spool.link = app.app.token_key().parse(token.as_bytes()).unwrap();
        for frame in spool.frames(11, 500) {
            spool.ship(&frame).await;
        }
        while app.entries().await > 0 {
            Drainer::new(&app.app).unwrap().step(SHARDS).await.unwrap();
        }
        let mut conn = app.app.db_worker().acquire().await.unwrap();
        while fold(&mut conn, app.now()).await.unwrap().rows > 0 {}
    }

    async fn hook(&self, owner: &Client, url: &str) {
        owner.post("/api/webhooks", json!({"url": url, "secret": SECRET})).await.expect(201);
    }
}

fn types(of: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    of.into_iter().collect()
}

#[tokio::test]
async fn the_guides_receivers_take_every_event_and_refuse_what_is_not_ours() {
    let sides = Sides::meet().await;
    let folder = peers::workshop();
    let mut companions = Vec::new();
    for (owner, file) in
        [(&sides.advertiser, "webhooks/receiver.py"), (&sides.affiliate, "webhooks/receiver.mjs")]
    {
        let file = peers::file_of(&sides.app, PAGE, file, folder.path()).await;
        let mut companion = Companion::start(&file, &[("WEBHOOK_SECRET", SECRET), ("PORT", "0")]);
        let url = companion.line().await;
        sides.hook(owner, &url).await;
        let forged = reqwest::Client::builder().no_proxy().build().unwrap().post(&url);
        let forged = forged.header("webhook-id", "1").header("webhook-timestamp", "1");
        let forged = forged.header("webhook-signature", "v1,AAAA").body("{\"id\":1}").send().await.unwrap();
        assert_eq!(forged.status(), 400);
        companions.push(companion);
    }
    let told = sides.everything_happens().await;
    let mut seen = BTreeSet::new();
    for (mut companion, told) in companions.into_iter().zip(told) {
        let mut lines = Vec::new();
        for _ in 0..told {
            lines.push(serde_json::from_str::<Value>(&companion.line().await).unwrap());
        }
        let ids = types(lines.iter().map(|line| line["id"].to_string()));
        assert_eq!(ids.len(), told, "each event once");
        seen.extend(lines.iter().map(|line| line["type"].as_str().unwrap().to_owned()));
    }
    assert_eq!(seen, types(EventType::ALL.iter().map(|event| event.as_str().to_owned())));
}

/// Every type of event as it was posted, to either side.
async fn deliveries() -> (Sides, Vec<Received>) {
    let sides = Sides::meet().await;
    let (mine, theirs) = (Receiver::start().await, Receiver::start().await);
    sides.hook(&sides.advertiser, &mine.url("/")).await;
    sides.hook(&sides.affiliate, &theirs.url("/")).await;
    let [to_advertiser, to_affiliate] = sides.everything_happens().await;
    let mut received = mine.wait_for(to_advertiser).await;
    received.extend(theirs.wait_for(to_affiliate).await);
    let seen = types(received.iter().map(|one| one.header("x-affiliateos-event").to_owned()));
    assert_eq!(seen.len(), EventType::ALL.len());
    (sides, received)
}

#[tokio::test]
async fn the_documents_sample_and_public_libraries_accept_every_signature() {
    let (sides, received) = deliveries().await;
    let folder = peers::workshop();
    let sample = peers::file_of(&sides.app, PAGE, "webhooks/document.mjs", folder.path()).await;
    let given: Vec<_> = received
        .iter()
        .map(|one| {
            let headers: serde_json::Map<String, Value> = one
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
                .collect();
            json!({"secret": SECRET, "headers": headers, "body": std::str::from_utf8(&one.body).unwrap()})
        })
        .collect();
    let given = Value::from(given).to_string();
    let count = received.len();
    let node = peers::run(&peers::script("webhooks/verify.mjs"), &[sample.to_str().unwrap()], &given).await;
    let all = json!([count, 0]);
    assert_eq!(
        serde_json::from_str::<Value>(&node).unwrap(),
        json!({"document": all, "standardwebhooks": all, "svix": all})
    );
    let python = peers::run(&peers::script("webhooks/verify.py"), &[], &given).await;
    assert_eq!(
        serde_json::from_str::<Value>(&python).unwrap(),
        json!({"standardwebhooks": all, "svix": all})
    );
}

#[tokio::test]
async fn every_payload_is_what_the_description_says() {
    let (sides, received) = deliveries().await;
    let described = sides.app.anyone().get("/openapi.json").await;
    let webhooks = described.expect(200)["webhooks"].as_object().unwrap();
    let named = types(webhooks.keys().cloned());
    assert_eq!(named, types(EventType::ALL.iter().map(|event| event.as_str().to_owned())));
    let mut payloads: Vec<_> = received.iter().map(Received::json).collect();
    // Deliveries of a test, and the examples themselves.
    let receiver = Receiver::start().await;
    let hook = create(&sides.advertiser, &receiver.url("/")).await;
    for (name, webhook) in webhooks {
        let example = &webhook["post"]["requestBody"]["content"]["application/json"]["example"];
        assert_eq!(example["type"], name.as_str());
        payloads.push(example.clone());
        let body = json!({"webhook_id": hook["id"], "event_type": name});
        let tried = sides.advertiser.post("/api/webhooks/test", body).await;
        assert_eq!(tried.expect(200)["ok"], true);
        payloads.push(tried.body["payload"].clone());
    }
    let given = json!({"openapi": described.body, "payloads": payloads}).to_string();
    let wrong = peers::run(&peers::script("webhooks/schema.py"), &[], &given).await;
    assert_eq!(wrong, "[]");
    // It does look: a payload that differs is found.
    let mut broken = received[0].json();
    broken["data"]["surprise"] = json!(1);
    broken["created_at"] = json!(5);
    let given = json!({"openapi": described.body, "payloads": [broken]}).to_string();
    let wrong = peers::run(&peers::script("webhooks/schema.py"), &[], &given).await;
    assert!(wrong.contains("surprise") && wrong.contains("created_at"), "{wrong}");
}
