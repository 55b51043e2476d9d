//! A made-up market in which it is known what suits whom: how often the ranking finds it, beside chance, the
//! highest commission and the best earnings; and what it costs with 10,000 programs.
//!
//! Seeded and deterministic. To see the table: `cargo xtask test -p control-plane a_known_market -- --nocapture`.

use crate::harness::TestApp;
use control_plane::features::agents;
use control_plane::features::agents::model::Agent;
use control_plane::features::matching::rank::{self, Narrowed};
use serde_json::json;
use shared::id::{AgentId, ProgramId};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

const PROGRAMS: usize = 1_000;
const AGENTS: usize = 300;
const FIELDS: usize = 24;
/// Each field has so many branches, each with words of its own.
const BRANCHES: usize = 3;
const AUDIENCES: [&str; 3] = ["b2b", "b2c", "developers"];
/// So many of the programs are good for an agent: those that would earn it most.
const GOOD: usize = 10;
const SHOWN: usize = 5;

/// Splitmix64: the same market on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around 1, now and then far from it.
    fn noise(&mut self, width: f64) -> f64 {
        let sum: f64 = (0..6).map(|_| self.share()).sum::<f64>() - 3.0;
        (sum * width).exp()
    }
}

/// Words that sound like words, each of one branch of one field.
fn word(field: usize, branch: usize, nth: usize) -> String {
    const ON: [&str; 12] = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v"];
    const IN: [&str; 5] = ["a", "e", "i", "o", "u"];
    let number = (field * BRANCHES + branch) * 12 + nth;
    format!(
        "{}{}{}{}{}",
        ON[number % 12],
        IN[number / 12 % 5],
        ON[number / 60 % 12],
        IN[(number / 720 + 1) % 5],
        ["x", "z", "k"][number % 3]
    )
}

/// A text: words of a branch, and words everybody uses.
fn text(chance: &mut Chance, field: usize, branch: usize, own: usize) -> String {
    const ALL: [&str; 10] = [
        "best",
        "quality",
        "service",
        "customers",
        "online",
        "simple",
        "growth",
        "people",
        "quick",
        "trusted",
    ];
    let mut words: Vec<String> = (0..own).map(|_| word(field, branch, chance.below(12))).collect();
    words.extend((0..5).map(|_| ALL[chance.below(10)].to_owned()));
    for at in (1..words.len()).rev() {
        words.swap(at, chance.below(at + 1));
    }
    words.join(" ")
}

/// What is true of a side, whatever it says.
struct Truth {
    field: usize,
    other_field: usize,
    branch: usize,
    audience: usize,
    /// What a suitable click earns on average, in micro-dollars.
    epc: f64,
    commission: usize,
}

impl Truth {
    fn by(chance: &mut Chance) -> Self {
        let commission = 5 + chance.below(56);
        // A high commission does not make a good product: those that sell badly offer more.
        let sells = chance.noise(0.9) * if commission > 40 { 0.7 } else { 1.0 };
        Self {
            field: chance.below(FIELDS),
            other_field: chance.below(FIELDS),
            branch: chance.below(BRANCHES),
            audience: chance.below(3),
            epc: 1_500.0 * commission as f64 * sells,
            commission,
        }
    }

    /// What a program would earn an agent.
    fn earns(&self, program: &Self) -> f64 {
        let field = if self.field == program.field {
            if self.branch == program.branch { 1.0 } else { 0.4 }
        } else if self.other_field == program.field {
            0.2
        } else {
            0.02
        };
        let audience = if self.audience == program.audience { 1.0 } else { 0.4 };
        field * audience * program.epc
    }
}

struct Market {
    programs: Vec<(ProgramId, Truth)>,
    agents: Vec<(AgentId, Truth)>,
}

/// What is said of the field: mostly the truth, sometimes nothing, now and then something else.
fn label(chance: &mut Chance, truth: &Truth, silent: f64, wrong: f64) -> Option<String> {
    let at = chance.share();
    if at < silent {
        return None;
    }
    let field = if at < silent + wrong { chance.below(FIELDS) } else { truth.field };
    Some(format!("field {}", word(field, 0, 0)))
}

async fn open(app: &TestApp, chance: &mut Chance) -> Market {
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    let mut agents = Vec::new();
    for n in 0..AGENTS + 50 {
        let truth = Truth::by(chance);
        let id = AgentId::generate();
        sqlx::query(
            "INSERT INTO agents (id, name, handle, niche, audience_type, description, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
        )
        .bind(id)
        .bind(format!("Agent {n}"))
        .bind(format!("agent-{n}"))
        .bind(label(chance, &truth, 0.2, 0.05))
        .bind((chance.share() < 0.8).then_some(AUDIENCES[truth.audience]))
        .bind(text(chance, truth.field, truth.branch, 7))
        .bind(app.now())
        .execute(&mut *conn)
        .await
        .unwrap();
        agents.push((id, truth));
    }
    let advertisers: Vec<AgentId> = agents.split_off(AGENTS).into_iter().map(|(id, _)| id).collect();
    let mut programs = Vec::new();
    for n in 0..PROGRAMS {
        let truth = Truth::by(chance);
        let id = ProgramId::generate();
        let measured = (chance.share() < 0.6).then(|| (truth.epc * 0.3 * chance.noise(0.35)) as i64);
        sqlx::query(
            "INSERT INTO programs (id, advertiser_id, name, niche, audience_type, description, commission_type,
                                   commission_rate_bp, pay_classes, epc_micros, approval_bp, funded, created_at, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, 'percentage', $7, 71, $8, $9, $10, $11, $11)",
        )
        .bind(id)
        .bind(advertisers[chance.below(advertisers.len())])
        .bind(format!("Program {n}"))
        .bind(label(chance, &truth, 0.1, 0.05))
        .bind((chance.share() < 0.85).then_some(AUDIENCES[truth.audience]))
        .bind(text(chance, truth.field, truth.branch, 8))
        .bind(truth.commission as i32 * 100)
        .bind(measured)
        .bind(measured.map(|_| 7_000 + chance.below(3_000) as i32))
        .bind(chance.share() < 0.7)
        .bind(app.now() - chrono::TimeDelta::days(chance.below(400) as i64))
        .execute(&mut *conn)
        .await
        .unwrap();
        programs.push((id, truth));
    }
    drop(conn);
    app.analyze().await;
    Market { programs, agents }
}

impl Market {
    /// The programs that would earn this agent most, and what the best five would earn together.
    fn good(&self, agent: &Truth) -> (HashSet<ProgramId>, f64) {
        let mut all: Vec<(f64, ProgramId)> =
            self.programs.iter().map(|(id, program)| (agent.earns(program), *id)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        let best = all.iter().take(SHOWN).map(|(earns, _)| earns).sum();
        (all.iter().take(GOOD).map(|(_, id)| *id).collect(), best)
    }
}

/// How one way of choosing five programs did.
#[derive(Default)]
struct Score {
    agents: usize,
    hits: usize,
    good: usize,
    earned: f64,
    attainable: f64,
}

impl Score {
    fn add(&mut self, market: &Market, agent: &Truth, shown: &[ProgramId]) {
        let (good, best) = market.good(agent);
        let found = shown.iter().filter(|id| good.contains(id)).count();
        let truths: HashMap<ProgramId, &Truth> =
            market.programs.iter().map(|(id, truth)| (*id, truth)).collect();
        self.agents += 1;
        self.hits += usize::from(found > 0);
        self.good += found;
        self.earned += shown.iter().map(|id| agent.earns(truths[id])).sum::<f64>();
        self.attainable += best;
    }

    fn hit_rate(&self) -> f64 {
        self.hits as f64 / self.agents as f64
    }

    fn line(&self, name: &str) -> String {
        format!(
            "| {name} | {:.1} % | {:.2} of 5 | {:.1} % |",
            self.hit_rate() * 100.0,
            self.good as f64 / self.agents as f64,
            self.earned / self.attainable * 100.0
        )
    }
}

async fn load(app: &TestApp, id: AgentId) -> Agent {
    agents::ops::load_agent(&mut app.app.db_read().acquire().await.unwrap(), id).await.unwrap()
}

#[tokio::test]
async fn a_known_market() {
    let app = TestApp::start().await;
    let mut chance = Chance(20_261_121);
    let market = open(&app, &mut chance).await;
    let by = |key: fn(&Truth) -> f64| {
        let mut all: Vec<(f64, ProgramId)> =
            market.programs.iter().map(|(id, truth)| (key(truth), *id)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0));
        all.into_iter().take(SHOWN).map(|(_, id)| id).collect::<Vec<_>>()
    };
    let (by_commission, by_earnings) = (by(|truth| truth.commission as f64), by(|truth| truth.epc));
    let [mut ours, mut random, mut commission, mut earnings] = std::array::from_fn(|_| Score::default());
    let mut known = 0;
    let mut explored = 0;
    for (id, truth) in &market.agents {
        let agent = load(&app, *id).await;
        let mut conn = app.app.db_read().acquire().await.unwrap();
        let found = rank::for_agent(&mut conn, app.now(), &agent, &Narrowed::default()).await.unwrap();
        explored += found.iter().take(SHOWN).filter(|one| one.exploration).count();
        known += usize::from(agent.niche.is_some());
        let shown: Vec<ProgramId> = found.iter().take(SHOWN).map(|one| one.id).collect();
        ours.add(&market, truth, &shown);
        let shown: Vec<ProgramId> = (0..SHOWN).map(|_| market.programs[chance.below(PROGRAMS)].0).collect();
        random.add(&market, truth, &shown);
        commission.add(&market, truth, &by_commission);
        earnings.add(&market, truth, &by_earnings);
    }
    println!(
        "{AGENTS} agents ({known} say their field), {PROGRAMS} programs, {FIELDS} fields; {explored} places explored"
    );
    println!(
        "| the first five are | one of the best ten is among them | how many | of what the best five earn |"
    );
    println!("|---|---|---|---|");
    for (name, score) in [
        ("chosen by chance", &random),
        ("those with the highest commission", &commission),
        ("those whose clicks earn most", &earnings),
        ("recommended", &ours),
    ] {
        println!("{}", score.line(name));
    }
    assert!(ours.hit_rate() > 0.8, "{}", ours.line("ours"));
    assert!(
        ours.hit_rate() > 5.0 * random.hit_rate().max(commission.hit_rate()),
        "{}",
        commission.line("commission")
    );
    assert!(ours.earned > 3.0 * commission.earned && ours.earned > earnings.earned);
}

/// 10,000 programs of 60 fields, 20,000 agents: the words of each text are partly rare, partly everybody's.
async fn crowd(app: &TestApp) {
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    for statement in [
        "INSERT INTO agents (id, name, handle, niche, audience_type, description, created_at, updated_at)
         SELECT gen_random_uuid(), 'Agent ' || n, 'seed-' || n, 'niche ' || n % 60, 'b2b',
                'software for founders with billing and growth, word' || n % 300 || ' word' || n % 70, now(), now()
           FROM generate_series(1, 20000) AS n",
        "INSERT INTO programs (id, advertiser_id, name, niche, audience_type, description, commission_type,
                               commission_rate_bp, pay_classes, epc_micros, status, created_at, updated_at)
         SELECT gen_random_uuid(), (ARRAY(SELECT id FROM agents ORDER BY handle LIMIT 100))[1 + n % 100],
                'Program ' || n, 'niche ' || n % 60, 'b2b',
                'software for founders, billing, growth, marketing and automation: word' || n % 300 || ' word' || n * 7 % 500,
                'percentage', n % 10000, 71, nullif(n % 700, 0), 'active', now() - n * INTERVAL '1 minute', now()
           FROM generate_series(1, 10000) AS n",
        "SELECT pg_stat_force_next_flush()",
    ] {
        sqlx::query(statement).execute(&mut *conn).await.unwrap();
    }
    drop(conn);
    app.analyze().await;
}

#[tokio::test]
async fn ten_thousand_programs_are_not_read_from_end_to_end() {
    let app = TestApp::start().await;
    crowd(&app).await;
    let reader = app.agent("Reader").await;
    let profile = json!({"niche": "niche 7", "audience_type": "b2b",
                         "description": "software for founders: billing, growth, word77 and word7 marketing automation"});
    reader.patch(&format!("/api/agents/{}", reader.id()), profile).await.expect(200);
    let own = super::program(&app, &reader, "Own", "niche 9", "software for founders, word12").await;
    let recommendations = format!("/api/network/recommendations/{}", reader.id());
    let outreach = format!("/api/outreach/suggest?program_id={own}&source=nanocorp&limit=200");
    let before = app.scanned_rows().await;
    for path in [&recommendations, &outreach] {
        let mut took: Vec<Duration> = Vec::new();
        for _ in 0..20 {
            let begun = Instant::now();
            reader.get(path).await.expect(200);
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        println!("{path}: median {:?}, slowest {:?}", took[10], took[19]);
    }
    let after = app.scanned_rows().await;
    for table in ["programs", "agents", "partnerships", "conversions"] {
        assert_eq!(after[table], before[table], "{table} is read from end to end");
    }
}
