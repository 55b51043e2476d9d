//! Forty workers do whatever agents, folds and jobs do, in an order that chance decides. Nobody may see
//! an internal error, and afterwards no row may break an invariant.
//!
//! `AOS_TEST_MONEY_SEED` repeats a run's choices, `AOS_TEST_MONEY_OPERATIONS` makes it longer.

use super::chance::Chance;
use crate::harness::{Client, Offer, Reply, TestApp};
use chrono::TimeDelta;
use control_plane::features::payouts::model::Method;
use control_plane::features::subscriptions::renewal;
use control_plane::features::usage::model::month_of;
use control_plane::features::usage::ops::{self as usage, ClickUse};
use control_plane::features::{payouts, wallet};
use serde_json::{Value, json};
use shared::id::EventId;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

const WORKERS: u64 = 40;
/// Operations at one moment: no more than a pool has connections, because a request that waits too long for
/// one is told 503, which is right and not what is tested here.
const AT_ONCE: usize = 12;

#[expect(clippy::disallowed_methods, reason = "tests are told how long to run")]
fn number(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(default)
}

struct World {
    app: TestApp,
    offers: Vec<Offer>,
    /// Operations that took effect, and those that were refused.
    done: AtomicUsize,
    refused: AtomicUsize,
    gate: Semaphore,
}

impl World {
    async fn create() -> Self {
        let app = TestApp::start_with(|config| {
            config.db_api_connections = AT_ONCE as u32 + 2;
            config.db_read_connections = AT_ONCE as u32 + 2;
            config.db_worker_connections = AT_ONCE as u32 + 2;
        })
        .await;
        let mut offers = Vec::new();
        for _ in 0..3 {
            let offer = app.offer().await;
            offers.push(app.another_affiliate(&offer, "Second").await);
            offers.push(offer);
        }
        // The allowances are nearly used up, so that money is moved from the start.
        sqlx::query(
            "INSERT INTO usage_months (advertiser, month, metric, used, included)
             SELECT number, '2026-06-01', metric, near, near
               FROM agents, (VALUES ('clicks', 9900), ('conversions', 95), ('matching_requests', 45)) AS m (metric, near)",
        )
        .execute(app.app.db())
        .await
        .unwrap();
        Self {
            app,
            offers,
            done: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            gate: Semaphore::new(AT_ONCE),
        }
    }

    fn took(&self, effect: bool) {
        let counter = if effect { &self.done } else { &self.refused };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// A reply that is neither a success nor a refusal of the contract is a bug.
    fn expect(&self, reply: &Reply, refusals: &[u16]) -> bool {
        let effect = reply.status < 300;
        assert!(effect || refusals.contains(&reply.status), "{reply}");
        self.took(effect);
        effect
    }

    async fn operate(&self, chance: &mut Chance) {
        let _turn = self.gate.acquire().await.unwrap();
        let offer = chance.pick(&self.offers);
        let (advertiser, affiliate) = (&offer.advertiser, &offer.affiliate);
        match chance.below(20) {
            0..=1 => {
                let amount = 5 * (1 + chance.below(8));
                self.expect(&advertiser.post("/api/wallet/topup", json!({"amount": amount})).await, &[]);
            }
            2..=5 => self.meter_clicks(chance).await,
            6..=9 => self.report(offer, chance).await,
            10..=12 => self.decide(offer, chance).await,
            13..=14 => self.process(offer, chance).await,
            15 => self.mark(advertiser, chance).await,
            16 => self.request(affiliate, chance).await,
            17 => self.subscribe(advertiser, chance).await,
            18 => self.jobs().await,
            _ => self.match_or_cap(advertiser, chance).await,
        }
    }

    async fn meter_clicks(&self, chance: &mut Chance) {
        let mut uses = Vec::new();
        for offer in &self.offers {
            let advertiser = self.app.number(&offer.advertiser).await;
            let count = chance.below(120) as i64;
            uses.push(ClickUse { advertiser, month: month_of(self.app.now()), count });
        }
        let mut tx = self.app.app.db_worker().begin().await.unwrap();
        usage::meter_clicks(&mut tx, self.app.now(), &uses).await.unwrap();
        // Some folds are cut off before their end.
        if chance.below(5) > 0 {
            tx.commit().await.unwrap();
        }
        self.took(true);
    }

    async fn report(&self, offer: &Offer, chance: &mut Chance) {
        let mut body = json!({"tracking_token": offer.token, "event_type": "lead"});
        if chance.below(4) > 0 {
            body = json!({
                "tracking_token": offer.token, "event_type": "sale",
                "revenue_amount": format!("{}.{:02}", 1 + chance.below(60), chance.below(100)).parse::<f64>().unwrap(),
            });
        }
        if chance.below(3) == 0 {
            body["external_id"] = Value::from(format!("order-{}", chance.below(40)));
        }
        self.expect(&offer.advertiser.post("/api/conversions/track", body).await, &[402, 409]);
    }

    async fn decide(&self, offer: &Offer, chance: &mut Chance) {
        let list = format!("/api/programs/{}/conversions?status=pending&per_page=20", offer.program);
        let pending = offer.advertiser.get(&list).await;
        let pending = pending.expect(200)["data"].as_array().unwrap().clone();
        if pending.is_empty() {
            return;
        }
        let id = chance.pick(&pending)["id"].as_str().unwrap().to_owned();
        let status = if chance.below(6) == 0 { "rejected" } else { "approved" };
        let decided =
            offer.advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": status})).await;
        self.expect(&decided, &[409]);
    }

    async fn process(&self, offer: &Offer, chance: &mut Chance) {
        let mut body = json!({
            "program_id": offer.program, "method": chance.pick(&["wallet", "wallet", "external"]),
            "dry_run": chance.below(4) == 0,
        });
        if chance.below(4) == 0 {
            body["affiliate_id"] = Value::from(offer.affiliate.id());
        }
        self.expect(&offer.advertiser.post("/api/payouts/process", body).await, &[402]);
    }

    async fn mark(&self, advertiser: &Client, chance: &mut Chance) {
        let open = advertiser.get("/api/payouts?role=advertiser&status=pending").await;
        let open = open.expect(200)["data"].as_array().unwrap().clone();
        if open.is_empty() {
            return;
        }
        let id = chance.pick(&open)["id"].as_str().unwrap().to_owned();
        let reply = if chance.below(3) == 0 {
            advertiser.post(&format!("/api/payouts/{id}/mark-failed"), json!({"reason": "returned"})).await
        } else {
            advertiser.post(&format!("/api/payouts/{id}/mark-paid"), json!({"reference": id})).await
        };
        self.expect(&reply, &[409]);
    }

    async fn request(&self, affiliate: &Client, chance: &mut Chance) {
        let mut tx = self.app.app.begin().await.unwrap();
        let clock = self.app.app.clock();
        payouts::ops::request(&mut tx, clock, affiliate.agent_id(), Method::Wallet).await.unwrap();
        if chance.below(4) > 0 {
            tx.commit().await.unwrap();
        }
        self.took(true);
    }

    async fn subscribe(&self, advertiser: &Client, chance: &mut Chance) {
        match chance.below(4) {
            0 => {
                let started = advertiser.post("/api/subscription/pro", json!({"payment": "wallet"})).await;
                self.expect(&started, &[402, 409]);
            }
            1 => {
                self.expect(&advertiser.post("/api/subscription/pro", json!({})).await, &[409]);
            }
            _ => {
                self.expect(&advertiser.delete("/api/subscription").await, &[404]);
            }
        }
    }

    async fn jobs(&self) {
        self.app.clock.advance(TimeDelta::hours(7));
        for _ in 0..3 {
            renewal::job(self.app.app.clone()).await.unwrap();
        }
        wallet::auto_topup::job(self.app.app.clone()).await.unwrap();
        payouts::funding::job(self.app.app.clone()).await.unwrap();
        self.took(true);
    }

    async fn match_or_cap(&self, agent: &Client, chance: &mut Chance) {
        if chance.below(4) == 0 {
            let cap = chance.pick(&[json!(null), json!(3), json!(20)]).clone();
            self.expect(&agent.patch("/api/wallet", json!({"monthly_spend_cap": cap})).await, &[]);
            return;
        }
        let number = self.app.number(agent).await;
        let mut tx = self.app.app.begin().await.unwrap();
        let request = EventId::generate().to_string();
        match usage::charge_matching_request(&mut tx, number, &request, self.app.now()).await {
            Ok(_) => tx.commit().await.unwrap(),
            Err(refused) => {
                let code = refused.code.as_str();
                assert!(["free_tier_limit_reached", "insufficient_credits"].contains(&code), "{refused}");
            }
        }
        self.took(true);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_at_once_every_invariant_holds() {
    let seed = number("AOS_TEST_MONEY_SEED", || EventId::generate().uuid().as_u64_pair().1);
    let operations = number("AOS_TEST_MONEY_OPERATIONS", || 800);
    println!("AOS_TEST_MONEY_SEED={seed} AOS_TEST_MONEY_OPERATIONS={operations}");
    let world = Arc::new(World::create().await);
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut chance = Chance::seeded(seed.wrapping_add(worker));
                for _ in 0..operations / WORKERS {
                    world.operate(&mut chance).await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let (done, refused) = (world.done.load(Ordering::Relaxed), world.refused.load(Ordering::Relaxed));
    println!("{done} took effect, {refused} were refused");
    assert!(done > refused);
    world.app.audit().await;
}
