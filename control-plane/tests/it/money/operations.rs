//! Forty workers do whatever agents, folds and jobs do, in an order that chance decides. Nobody may see
//! an internal error, and afterwards no row may break an invariant.
//!
//! `AOS_TEST_MONEY_SEED` repeats a run's choices, `AOS_TEST_MONEY_OPERATIONS` makes it longer.

use super::chain::{CONFIRMATIONS, SimulatedChain};
use super::chance::Chance;
use crate::harness::{Client, Offer, Reply, SHARDS, TestApp, TestSpool};
use chrono::TimeDelta;
use control_plane::db::grants::PAYOUTS;
use control_plane::features::clicks::fold::fold;
use control_plane::features::payouts::model::Method;
use control_plane::features::payouts::usdc::model::Policy;
use control_plane::features::payouts::usdc::worker::Worker;
use control_plane::features::subscriptions::renewal;
use control_plane::features::usage::ops as usage;
use control_plane::features::{conversions, payouts, wallet};
use control_plane::workers::drainer::Drainer;
use control_plane::workers::reconcile::reconcile;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use shared::id::EventId;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{Mutex, RwLock, Semaphore};

const WORKERS: u64 = 40;
/// Operations at one moment: no more than a pool has connections, because a request that waits too long for
/// one is told 503, which is right and not what is tested here.
const AT_ONCE: usize = 12;

#[expect(clippy::disallowed_methods, reason = "tests are told how long to run")]
fn number(name: &str, default: impl FnOnce() -> u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or_else(default)
}

/// A spool of one advertiser's clicks, and how far it has got.
struct Edge {
    spool: TestSpool,
    next_seq: u64,
    /// Every frame, to ship again.
    frames: Vec<Vec<u8>>,
}

struct World {
    app: TestApp,
    offers: Vec<Offer>,
    edges: Vec<Mutex<Edge>>,
    drainer: Mutex<Drainer>,
    payer: Worker<SimulatedChain>,
    /// Operations by name: those that took effect, and those that were refused.
    tally: std::sync::Mutex<BTreeMap<&'static str, (usize, usize)>>,
    gate: Semaphore,
    /// Held while two requests under one key are on their way: a day between them, and the key is forgotten.
    same_day: RwLock<()>,
}

impl World {
    async fn create(seed: u64) -> Self {
        let app = TestApp::start_with(|config| {
            config.db_api_connections = AT_ONCE as u32 + 2;
            config.db_read_connections = AT_ONCE as u32 + 2;
            config.db_worker_connections = AT_ONCE as u32 + 2;
        })
        .await
        .with_roles()
        .await;
        let (mut offers, mut edges) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let offer = app.offer().await;
            let mut spool = app.spool(app.number(&offer.advertiser).await as u32);
            spool.link = offer.key;
            edges.push(Mutex::new(Edge { spool, next_seq: 0, frames: Vec::new() }));
            offers.push(app.another_affiliate(&offer, "Second").await);
            offers.push(offer);
        }
        // The allowances are nearly used up, so that money is moved from the start.
        sqlx::query(
            "INSERT INTO usage_months (advertiser, month, metric, used, included)
             SELECT number, '2026-06-01', 'matching_requests', 45, 45 FROM agents",
        )
        .execute(app.app.db())
        .await
        .unwrap();
        let policy = Policy {
            confirmations: CONFIRMATIONS,
            stuck_after: TimeDelta::minutes(1),
            fee_max: 1_000,
            open_max: 8,
        };
        let chain = SimulatedChain::seeded(seed);
        let payer = Worker::new(app.pool_as(PAYOUTS), app.clock.clone(), chain, policy);
        let drainer = Mutex::new(Drainer::new(&app.app).unwrap());
        let (gate, same_day) = (Semaphore::new(AT_ONCE), RwLock::default());
        let tally = std::sync::Mutex::default();
        let world = Self { app, offers, edges, drainer, payer, tally, gate, same_day };
        for edge in &world.edges {
            for _ in 0..20 {
                world.ship_to(&mut *edge.lock().await, 495).await;
            }
        }
        world.drain().await;
        while world.fold(true).await > 0 {}
        let lead = |offer: &Offer| json!({"tracking_token": offer.token, "event_type": "lead"});
        let reports = world.offers.iter().map(async |offer| {
            // Two of them are one advertiser's.
            for _ in 0..47 {
                offer.advertiser.post("/api/conversions/track", lead(offer)).await.expect(201);
            }
        });
        futures_util::future::join_all(reports).await;
        for offer in &world.offers {
            world.set_address(&offer.affiliate, &mut Chance::seeded(seed)).await;
        }
        world
    }

    fn took(&self, what: &'static str, effect: bool) {
        let mut tally = self.tally.lock().unwrap();
        let entry = tally.entry(what).or_default();
        *(if effect { &mut entry.0 } else { &mut entry.1 }) += 1;
    }

    /// A reply that is neither a success nor a refusal of the contract is a bug.
    fn expect(&self, what: &'static str, reply: &Reply, refusals: &[u16]) -> bool {
        let effect = reply.status < 300;
        // 503: on a machine that is too busy, no connection came free in time; nothing happened then.
        assert!(effect || reply.status == 503 || refusals.contains(&reply.status), "{what}: {reply}");
        self.took(what, effect);
        effect
    }

    async fn operate(&self, chance: &mut Chance) {
        let _turn = self.gate.acquire().await.unwrap();
        let offer = chance.pick(&self.offers);
        let (advertiser, affiliate) = (&offer.advertiser, &offer.affiliate);
        match chance.below(26) {
            0..=1 => self.top_up(advertiser, chance).await,
            2..=4 => self.click(chance).await,
            5 => self.drain_or_fold(chance).await,
            6..=10 => self.report(offer, chance).await,
            11..=13 => self.decide(offer, chance).await,
            14..=16 => self.refund(offer, chance).await,
            17..=18 => self.process(offer, chance).await,
            19 => self.mark(advertiser, chance).await,
            20 => self.request(affiliate, chance).await,
            21 => self.subscribe(advertiser, chance).await,
            22 => self.jobs(chance).await,
            23 => self.match_or_cap(advertiser, chance).await,
            _ => self.chain(chance).await,
        }
    }

    /// A top-up, now and then sent twice at once under one key.
    async fn top_up(&self, advertiser: &Client, chance: &mut Chance) {
        let body = json!({"amount": 5 * (1 + chance.below(8))});
        if chance.below(4) > 0 {
            self.expect("top-up", &advertiser.post("/api/wallet/topup", body).await, &[]);
            return;
        }
        let key = format!("key-{}", chance.next());
        let send = || {
            let request = advertiser.request("POST", "/api/wallet/topup").header("Idempotency-Key", &key);
            advertiser.send(request.json(&body))
        };
        let same_day = self.same_day.read().await;
        let (one, other) = tokio::join!(send(), send());
        drop(same_day);
        assert_eq!(
            (one.status, other.status, &one.body["id"]),
            (201, 201, &other.body["id"]),
            "{one} {other}"
        );
        self.took("top-up, twice under one key", true);
    }

    async fn ship_to(&self, edge: &mut Edge, clicks: u64) {
        let frame = edge.spool.frame(edge.next_seq, clicks);
        edge.spool.ship(&frame).await;
        edge.next_seq += clicks;
        edge.frames.push(frame);
    }

    /// Clicks on their way, now and then twice, as after a reply that got lost.
    async fn click(&self, chance: &mut Chance) {
        let mut edge = chance.pick(&self.edges).lock().await;
        let clicks = 1 + chance.below(60) as u64;
        self.ship_to(&mut edge, clicks).await;
        if chance.below(4) == 0 {
            let again = chance.pick(&edge.frames).clone();
            edge.spool.ship(&again).await;
        }
        self.took("clicks shipped", true);
    }

    async fn drain(&self) {
        while self.app.entries().await > 0 {
            self.drainer.lock().await.step(SHARDS).await.unwrap();
        }
    }

    /// Folds what waits; a fold may be cut off before its end.
    async fn fold(&self, to_its_end: bool) -> usize {
        let mut tx = self.app.app.db_worker().begin().await.unwrap();
        let folded = fold(&mut tx, self.app.now()).await.unwrap().rows;
        if to_its_end {
            tx.commit().await.unwrap();
        }
        folded
    }

    async fn drain_or_fold(&self, chance: &mut Chance) {
        if chance.below(2) == 0 {
            self.drainer.lock().await.step(SHARDS).await.unwrap();
            self.took("clicks drained", true);
        } else {
            let to_its_end = chance.below(5) > 0;
            self.fold(to_its_end).await;
            self.took(if to_its_end { "clicks folded" } else { "a fold cut off" }, true);
        }
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
            body["external_id"] = Value::from(format!("order-{}", chance.below(400)));
        }
        // 403: the partnership is suspended.
        self.expect(
            "conversion",
            &offer.advertiser.post("/api/conversions/track", body).await,
            &[402, 403, 409],
        );
    }

    /// One of the program's conversions.
    async fn any_conversion(&self, offer: &Offer, filter: &str, chance: &mut Chance) -> Option<String> {
        let list = format!("/api/programs/{}/conversions?per_page=20{filter}", offer.program);
        let found = offer.advertiser.get(&list).await;
        let found = found.expect(200)["data"].as_array().unwrap().clone();
        (!found.is_empty()).then(|| chance.pick(&found)["id"].as_str().unwrap().to_owned())
    }

    async fn decide(&self, offer: &Offer, chance: &mut Chance) {
        if chance.below(20) == 0 {
            let status = *chance.pick(&["suspended", "approved", "approved"]);
            let path = format!("/api/partnerships/{}", offer.partnership);
            let changed = offer.advertiser.patch(&path, json!({"status": status})).await;
            self.expect("partnership suspended or resumed", &changed, &[409]);
            return;
        }
        // Mostly what is pending; now and then what was approved before is rejected.
        let rejects = chance.below(6) == 0;
        let filter = if rejects { "" } else { "&status=pending" };
        let Some(id) = self.any_conversion(offer, filter, chance).await else { return };
        let status = if rejects { "rejected" } else { "approved" };
        let decided =
            offer.advertiser.patch(&format!("/api/conversions/{id}"), json!({"status": status})).await;
        self.expect(if rejects { "rejection" } else { "approval" }, &decided, &[409]);
    }

    /// A refund, of a part or of what is left, before or after the payout.
    async fn refund(&self, offer: &Offer, chance: &mut Chance) {
        let filter = *chance.pick(&["", "&status=approved", "&status=paid"]);
        let Some(id) = self.any_conversion(offer, filter, chance).await else { return };
        let mut body = json!({});
        if chance.below(4) > 0 {
            body["amount"] = Value::from(
                format!("{}.{:02}", chance.below(30), 1 + chance.below(99)).parse::<f64>().unwrap(),
            );
        }
        let path = format!("/api/conversions/{id}/refunds");
        // 400: more than is left, or an amount for a lead.
        self.expect("refund", &offer.advertiser.post(&path, body).await, &[400, 409]);
    }

    async fn process(&self, offer: &Offer, chance: &mut Chance) {
        let mut body = json!({
            "program_id": offer.program, "method": chance.pick(&["wallet", "usdc", "external"]),
            "dry_run": chance.below(4) == 0,
        });
        if chance.below(4) == 0 {
            body["affiliate_id"] = Value::from(offer.affiliate.id());
        }
        self.expect("payouts processed", &offer.advertiser.post("/api/payouts/process", body).await, &[402]);
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
        self.expect("external payout marked", &reply, &[409]);
    }

    async fn request(&self, affiliate: &Client, chance: &mut Chance) {
        if chance.below(8) == 0 {
            self.set_address(affiliate, chance).await;
            self.took("address changed", true);
            return;
        }
        let mut tx = self.app.app.begin().await.unwrap();
        let clock = self.app.app.clock();
        let method = *chance.pick(&[Method::Wallet, Method::Usdc]);
        payouts::ops::request(&mut tx, clock, affiliate.agent_id(), method).await.unwrap();
        let to_its_end = chance.below(4) > 0;
        if to_its_end {
            tx.commit().await.unwrap();
        }
        self.took(if to_its_end { "payout asked for" } else { "a request cut off" }, true);
    }

    async fn set_address(&self, affiliate: &Client, chance: &mut Chance) {
        let path = format!("/api/agents/{}/payout-address", affiliate.id());
        let address = format!("0x{:016x}{:016x}{:08x}", chance.next(), chance.next(), chance.next() as u32);
        affiliate.send(affiliate.request("PUT", &path).json(&json!({"address": address}))).await.expect(200);
    }

    async fn subscribe(&self, advertiser: &Client, chance: &mut Chance) {
        match chance.below(4) {
            0 => {
                let started = advertiser.post("/api/subscription/pro", json!({"payment": "wallet"})).await;
                self.expect("Pro from the wallet", &started, &[402, 409]);
            }
            1 => {
                let started = advertiser.post("/api/subscription/pro", json!({})).await;
                self.expect("Pro", &started, &[409]);
            }
            _ => {
                self.expect("Pro cancelled", &advertiser.delete("/api/subscription").await, &[404]);
            }
        }
    }

    async fn jobs(&self, chance: &mut Chance) {
        let hours = TimeDelta::hours(chance.below(14) as i64);
        {
            let _nobody_between = self.same_day.write().await;
            self.app.clock.advance(hours);
        }
        for _ in 0..3 {
            renewal::job(self.app.app.clone()).await.unwrap();
        }
        wallet::auto_topup::job(self.app.app.clone()).await.unwrap();
        payouts::funding::job(self.app.app.clone()).await.unwrap();
        conversions::ops::approve_job(self.app.app.clone()).await.unwrap();
        self.took("jobs", true);
    }

    async fn match_or_cap(&self, agent: &Client, chance: &mut Chance) {
        if chance.below(4) == 0 {
            let cap = chance.pick(&[json!(null), json!(3), json!(20)]).clone();
            let set = agent.patch("/api/wallet", json!({"monthly_spend_cap": cap})).await;
            self.expect("spend cap", &set, &[]);
            return;
        }
        let number = self.app.number(agent).await;
        let mut tx = self.app.app.begin().await.unwrap();
        let request = EventId::generate().to_string();
        let charged = usage::charge_matching_request(&mut tx, number, &request, self.app.now()).await;
        match &charged {
            Ok(_) => tx.commit().await.unwrap(),
            Err(refused) => {
                let code = refused.code.as_str();
                assert!(["free_tier_limit_reached", "insufficient_credits"].contains(&code), "{refused}");
            }
        }
        self.took("matching request", charged.is_ok());
    }

    /// The chain goes on, or back, and the payer looks at it.
    async fn chain(&self, chance: &mut Chance) {
        if chance.below(2) == 0 {
            self.payer.chain().tick();
        }
        if chance.below(4) == 0 {
            self.app.clock.advance(TimeDelta::seconds(61));
        }
        let turn = self.payer.turn().await;
        if let Err(error) = &turn {
            assert_eq!(error.code.as_str(), "unavailable", "{error:?}");
        }
        self.took("a turn of the usdc worker", turn.is_ok());
    }

    /// Ends what is under way: everything is drained and folded, and every transfer is final.
    async fn come_to_rest(&self) {
        self.drain().await;
        while self.fold(true).await > 0 {}
        self.app.clock.advance(TimeDelta::hours(73));
        for turns in 0.. {
            assert!(turns < 10_000, "transfers never become final");
            if self.payer.turn().await.is_ok() {
                self.payer.chain().mine();
            }
            let open = "SELECT (SELECT count(*) FROM payouts WHERE method = 'usdc' AND status IN ('pending', 'processing'))
                            + (SELECT count(*) FROM usdc_transfers WHERE state NOT IN ('confirmed', 'failed'))";
            if self.app.count(open).await == 0 {
                return;
            }
            self.app.clock.advance(TimeDelta::seconds(10));
        }
    }

    /// The chain's own record against ours: every payout that is paid moved once, and nothing else did.
    async fn compare_with_chain(&self) -> usize {
        let mut paid: Vec<(String, String, i64)> = sqlx::query_as(
            "SELECT reference, address, amount_micros FROM payouts WHERE method = 'usdc' AND status = 'paid'",
        )
        .fetch_all(self.app.app.db())
        .await
        .unwrap();
        let mut moved = self.payer.chain().moved();
        paid.sort();
        moved.sort();
        assert_eq!(paid, moved, "paid, and moved on the chain");
        paid.len()
    }

    /// The conservation of clicks, from the frames to the ledger.
    async fn reconcile(&self) {
        let config = self.app.app.config();
        let target = control_plane::redis::Target::parse(config.redis_url.expose_secret()).unwrap();
        let mut conn = self.app.app.db_worker().acquire().await.unwrap();
        let redis = (&target, self.app.app.keys(), config.click_shards);
        let report = reconcile(&mut conn, Some(redis), self.app.now()).await;
        let report = report.unwrap();
        assert_eq!((report.off(), report.in_transit(), report.waiting()), (0, 0, 0), "{report:?}");
    }

    /// What took effect and what was refused, a line each.
    fn table(&self) -> String {
        let tally = self.tally.lock().unwrap();
        let line = |what: &str, done: usize, refused: usize| {
            format!("{what:<40} {done:>7} took effect {refused:>7} refused\n")
        };
        let (done, refused) =
            tally.values().fold((0, 0), |sum, (done, refused)| (sum.0 + done, sum.1 + refused));
        assert!(done > refused);
        let lines: String = tally.iter().map(|(what, (done, refused))| line(what, *done, *refused)).collect();
        lines + &line("all", done, refused)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_at_once_every_invariant_holds() {
    let seed = number("AOS_TEST_MONEY_SEED", || EventId::generate().uuid().as_u64_pair().1);
    let operations = number("AOS_TEST_MONEY_OPERATIONS", || 1_200);
    println!("AOS_TEST_MONEY_SEED={seed} AOS_TEST_MONEY_OPERATIONS={operations}");
    let world = Arc::new(World::create(seed).await);
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let world = world.clone();
            tokio::spawn(async move {
                let mut chance = Chance::seeded(seed.wrapping_add(worker));
                let share = operations / WORKERS;
                for operation in 0..share {
                    world.operate(&mut chance).await;
                    // Every snapshot on the way must hold too, not only the end.
                    if worker == 0 && operation % (share / 5).max(1) == 0 {
                        world.app.audit().await;
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    print!("{}", world.table());
    world.app.audit().await;
    world.come_to_rest().await;
    let on_chain = world.compare_with_chain().await;
    world.reconcile().await;
    world.app.audit().await;
    let in_order = super::serial::replay(&world.app).await;
    let (lost, reorganised) = world.payer.chain().faults();
    let counts: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM ledger_transfers), (SELECT count(*) FROM clicks), (SELECT count(*) FROM payouts)",
    )
    .fetch_one(world.app.app.db())
    .await
    .unwrap();
    println!(
        "{} checks, 0 rows; {} transfers ({in_order} replayed one after the other), {} clicks, {} payouts, {on_chain} of them on the chain ({lost} calls lost, {reorganised} blocks taken back)",
        control_plane::features::audit::ops::names().len(),
        counts.0,
        counts.1,
        counts.2
    );
}
