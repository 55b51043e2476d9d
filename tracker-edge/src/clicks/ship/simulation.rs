//! Hundreds of edges and dozens of streams in one process and in no time: what shipping, watermarks and leases ask of
//! Redis and Postgres as a deployment grows, and that it grows in proportion. Deterministic: nothing waits.
//!
//! Real are the window of each spool, which stream it goes to, when its watermark is asked for, and all pauses between.
//! Modelled are the clicks (an even rate), the spool (a counter), Redis (queues that count commands), and drainers by the
//! control plane's rules: those alive share the streams by rank, 64 entries a batch, a watermark for each spool in it,
//! leases renewed every 2 s and held for 6 s.

use super::reports::REPORT_EVERY;
use super::sender::TICK;
use super::watermarks::{CLAIM, KEYS_MAX, POLL, POLL_ALL, is_due};
use super::window::{Heard, Sent, Window};
use shared::keys::{Watermark, shard_of};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

const STEP: Duration = Duration::from_millis(10);
const RUN_FOR: Duration = Duration::from_secs(40);
/// Clicks stop so long before the end, so that everything can be committed.
const QUIET_FOR: Duration = Duration::from_secs(8);
const SPOOLS_PER_EDGE: usize = 2;
/// Of each spool.
const CLICKS_A_SECOND: u64 = 100;
const CLICKS_IN_A_FRAME_MAX: u64 = 512;
/// The drainer's.
const ENTRIES_MAX: usize = 64;
const COMMIT_FOR: Duration = Duration::from_millis(10);
const IDLE_FOR: Duration = Duration::from_millis(50);
const RENEW_EVERY: Duration = Duration::from_secs(2);
const LEASE_FOR: Duration = Duration::from_secs(6);
/// Statements of a renewal.
const RENEWAL: u64 = 5;

#[derive(Clone, Copy)]
struct Deployment {
    edges: usize,
    shards: u16,
    drainers: usize,
    /// When the first drainer dies without a word.
    dies_at: Option<Duration>,
}

/// Commands and statements of a run.
#[derive(Default, Debug)]
struct Traffic {
    clicks: u64,
    pipelines: u64,
    frames: u64,
    polls: u64,
    reports: u64,
    claims: u64,
    stall_asks: u64,
    batches: u64,
    marks: u64,
    lease_statements: u64,
    lease_rows: u64,
    /// The most frames that waited in all streams together.
    waiting_max: usize,
}

struct Spool {
    edge: usize,
    shard: u16,
    window: Window,
    accepted: u64,
    cut: u64,
    /// What the edge last read.
    heard: Option<u64>,
    /// What Redis says.
    published: u64,
    /// What Postgres has.
    committed: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    spool: usize,
    start: u64,
    end: u64,
}

#[derive(Clone)]
struct Drainer {
    seen_at: Option<Instant>,
    held: BTreeSet<u16>,
    turn_at: Instant,
    renew_at: Instant,
    alive: bool,
}

struct World {
    deployment: Deployment,
    began: Instant,
    spools: Vec<Spool>,
    of_edge: Vec<Vec<usize>>,
    streams: Vec<VecDeque<Entry>>,
    drainers: Vec<Drainer>,
    /// Holder and end of each stream's lease.
    leases: Vec<Option<(usize, Instant)>>,
    traffic: Traffic,
}

/// Whether something that comes every `every`, shifted for each so that not all fall on one moment, is due.
fn falls(now: Duration, every: Duration, nth: usize) -> bool {
    let shift = STEP * (nth % (every.as_millis() / STEP.as_millis()) as usize) as u32;
    (now + shift).as_millis().is_multiple_of(every.as_millis())
}

impl World {
    fn new(deployment: Deployment) -> Self {
        let began = Instant::now();
        let mut of_edge = vec![Vec::new(); deployment.edges];
        let mut spools = Vec::new();
        for nth in 0..deployment.edges * SPOOLS_PER_EDGE {
            let id =
                Uuid::from_u128((nth as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            let (edge, shard) = (nth % deployment.edges, shard_of(id, deployment.shards));
            of_edge[edge].push(nth);
            let window = Window::new(began);
            spools.push(Spool {
                edge,
                shard,
                window,
                accepted: 0,
                cut: 0,
                heard: None,
                published: 0,
                committed: 0,
            });
        }
        let drainer =
            Drainer { seen_at: None, held: BTreeSet::new(), turn_at: began, renew_at: began, alive: true };
        Self {
            deployment,
            began,
            spools,
            of_edge,
            streams: vec![VecDeque::new(); usize::from(deployment.shards)],
            drainers: vec![drainer; deployment.drainers],
            leases: vec![None; usize::from(deployment.shards)],
            traffic: Traffic::default(),
        }
    }

    fn run(mut self) -> (Traffic, Self) {
        let steps = (RUN_FOR.as_millis() / STEP.as_millis()) as u32;
        for step in 0..steps {
            let at = STEP * step;
            let now = self.began + at;
            if self.deployment.dies_at == Some(at) {
                self.drainers[0].alive = false;
            }
            for spool in 0..self.spools.len() {
                self.click_and_ship(spool, at, now);
            }
            for edge in 0..self.deployment.edges {
                self.look_around(edge, at);
            }
            for drainer in 0..self.drainers.len() {
                self.drain(drainer, now);
            }
            let waiting = self.streams.iter().map(VecDeque::len).sum();
            self.traffic.waiting_max = self.traffic.waiting_max.max(waiting);
        }
        (std::mem::take(&mut self.traffic), self)
    }

    /// A sender's turn.
    fn click_and_ship(&mut self, nth: usize, at: Duration, now: Instant) {
        let spool = &mut self.spools[nth];
        if at + QUIET_FOR < RUN_FOR && falls(at, Duration::from_secs(1) / CLICKS_A_SECOND as u32, nth) {
            spool.accepted += 1;
            self.traffic.clicks += 1;
        }
        if !falls(at, TICK, nth) {
            return;
        }
        if let Some(next_seq) = spool.heard {
            let heard = spool.window.heard(Watermark { epoch: 1, next_seq }, now);
            assert_ne!(heard, Heard::Back, "no database goes back here");
        }
        if let Some(oldest) = spool.window.stalled(now) {
            self.traffic.stall_asks += 1;
            let start = oldest.start;
            let is_there = self.streams[usize::from(spool.shard)]
                .iter()
                .any(|entry| entry.spool == nth && entry.start == start);
            assert!(is_there || start < spool.committed, "a frame is in its stream until it is committed");
        }
        let mut frames = 0;
        while spool.cut < spool.accepted && spool.window.room() > 0 {
            let end = spool.accepted.min(spool.cut + CLICKS_IN_A_FRAME_MAX);
            let start = std::mem::replace(&mut spool.cut, end);
            self.streams[usize::from(spool.shard)].push_back(Entry { spool: nth, start, end });
            spool.window.sent(Sent { start, end, entry: String::new() }, now);
            frames += 1;
        }
        self.traffic.frames += frames;
        self.traffic.pipelines += u64::from(frames > 0);
    }

    /// An edge asks for watermarks, reports and claims its id.
    fn look_around(&mut self, edge: usize, at: Duration) {
        if falls(at, POLL, edge) {
            let all = falls(at, POLL_ALL, edge);
            let mut asked: BTreeMap<u16, usize> = BTreeMap::new();
            for nth in &self.of_edge[edge] {
                let spool = &mut self.spools[*nth];
                let committed = spool.window.watermark().map_or(0, |mark| mark.next_seq);
                if all || spool.heard.is_none() || is_due(committed, spool.accepted) {
                    *asked.entry(spool.shard).or_default() += 1;
                    spool.heard = Some(spool.published);
                }
            }
            self.traffic.polls += asked.values().map(|keys| keys.div_ceil(KEYS_MAX) as u64).sum::<u64>();
        }
        if falls(at, REPORT_EVERY, edge) {
            let shards: BTreeSet<u16> =
                self.of_edge[edge].iter().map(|nth| self.spools[*nth].shard).collect();
            self.traffic.reports += shards.len() as u64;
        }
        self.traffic.claims += u64::from(falls(at, CLAIM, edge));
    }

    fn drain(&mut self, me: usize, now: Instant) {
        if !self.drainers[me].alive {
            return;
        }
        if now >= self.drainers[me].renew_at {
            self.renew(me, now);
        }
        if now < self.drainers[me].turn_at {
            return;
        }
        let mut batch = Vec::new();
        let held = self.drainers[me].held.clone();
        let mut active: Vec<u16> =
            held.into_iter().filter(|shard| !self.streams[usize::from(*shard)].is_empty()).collect();
        while !active.is_empty() && batch.len() < ENTRIES_MAX {
            let share = ((ENTRIES_MAX - batch.len()) / active.len()).max(1);
            for shard in &active {
                let stream = &mut self.streams[usize::from(*shard)];
                let room = ENTRIES_MAX - batch.len();
                batch.extend(stream.drain(..share.min(room).min(stream.len())));
            }
            active.retain(|shard| !self.streams[usize::from(*shard)].is_empty());
        }
        self.drainers[me].turn_at = now + if batch.is_empty() { IDLE_FOR } else { COMMIT_FOR };
        let mut mentioned = BTreeSet::new();
        for entry in &batch {
            let spool = &mut self.spools[entry.spool];
            assert_eq!(entry.start, spool.committed, "a spool's frames come in order, once");
            spool.committed = entry.end;
            spool.published = entry.end;
            mentioned.insert(entry.spool);
        }
        self.traffic.batches += u64::from(!batch.is_empty());
        self.traffic.marks += mentioned.len() as u64;
    }

    fn renew(&mut self, me: usize, now: Instant) {
        self.drainers[me].renew_at = now + RENEW_EVERY;
        self.drainers[me].seen_at = Some(now);
        let lives =
            |drainer: &Drainer| drainer.seen_at.is_some_and(|seen| now.duration_since(seen) < LEASE_FOR);
        let alive: Vec<usize> = (0..self.drainers.len()).filter(|nth| lives(&self.drainers[*nth])).collect();
        let rank = alive.iter().position(|nth| *nth == me).unwrap_or(0);
        let mut held = BTreeSet::new();
        for (shard, lease) in self.leases.iter_mut().enumerate() {
            let mine = shard % alive.len() == rank;
            match lease {
                Some((holder, _)) if *holder == me && !mine => *lease = None,
                Some((holder, until)) if mine && *holder != me && now < *until => {}
                _ if mine => {
                    *lease = Some((me, now + LEASE_FOR));
                    held.insert(shard as u16);
                }
                _ => {}
            }
        }
        self.traffic.lease_statements += RENEWAL;
        self.traffic.lease_rows += 1 + held.len() as u64;
        self.drainers[me].held = held;
    }
}

impl Traffic {
    fn redis(&self) -> u64 {
        self.pipelines + self.polls + self.reports + self.claims + self.stall_asks + self.batches + self.marks
    }

    fn a_second(count: u64) -> f64 {
        count as f64 / RUN_FOR.as_secs_f64()
    }

    fn show(&self, deployment: Deployment) {
        let per_edge = Self::a_second(self.redis()) / deployment.edges as f64;
        println!(
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {per_edge:.1} | {:.1} | {:.0} | {} |",
            deployment.edges,
            deployment.shards,
            deployment.drainers,
            Self::a_second(self.clicks),
            Self::a_second(self.frames),
            Self::a_second(self.polls),
            Self::a_second(self.marks),
            Self::a_second(self.redis()),
            Self::a_second(self.lease_statements),
            Self::a_second(self.lease_rows),
            self.waiting_max,
        );
    }
}

/// Runs a deployment; everything it accepted must be committed and known to be.
fn of(deployment: Deployment) -> Traffic {
    let (traffic, world) = World::new(deployment).run();
    traffic.show(deployment);
    for spool in &world.spools {
        assert_eq!(spool.committed, spool.accepted, "a click of edge {} was lost", spool.edge);
        assert!(spool.window.is_empty(), "edge {} does not know what is committed", spool.edge);
    }
    traffic
}

fn differs_by(one: u64, other: u64, scale: f64) -> f64 {
    (other as f64 / (one as f64 * scale) - 1.0).abs()
}

#[test]
fn traffic_of_watermarks_grows_with_the_edges_and_that_of_leases_does_not() {
    let base = Deployment { edges: 25, shards: 64, drainers: 8, dies_at: None };
    let few = of(base);
    for edges in [50, 100, 200] {
        let many = of(Deployment { edges, ..base });
        let scale = edges as f64 / base.edges as f64;
        for (what, one, other) in [
            ("clicks", few.clicks, many.clicks),
            ("questions for watermarks", few.polls, many.polls),
            ("watermarks told", few.marks, many.marks),
            ("commands", few.redis(), many.redis()),
        ] {
            let off = differs_by(one, other, scale);
            assert!(off < 0.15, "{what} of {edges} edges: {:.0} % off the line", 100.0 * off);
        }
        assert_eq!(many.lease_statements, few.lease_statements, "leases do not depend on edges");
        assert_eq!(many.lease_rows, few.lease_rows);
    }
}

#[test]
fn more_streams_and_drainers_cost_what_they_are() {
    let base = Deployment { edges: 200, shards: 16, drainers: 4, dies_at: None };
    let few = of(base);
    for (shards, drainers) in [(64, 8), (256, 16)] {
        let many = of(Deployment { shards, drainers, ..base });
        let off = differs_by(few.polls, many.polls, 1.0);
        assert!(off < 0.15, "streams do not multiply questions: {:.0} % off", 100.0 * off);
        assert_eq!(many.lease_statements * 4, few.lease_statements * drainers as u64);
        assert!(many.lease_rows <= (u64::from(shards) + drainers as u64) * RUN_FOR.as_secs() / 2);
    }
}

#[test]
fn a_drainer_that_dies_leaves_no_storm_and_no_click_behind() {
    let deployment =
        Deployment { edges: 200, shards: 64, drainers: 8, dies_at: Some(Duration::from_secs(10)) };
    let spools = deployment.edges * SPOOLS_PER_EDGE;
    let traffic = of(deployment);
    // Only spools of its streams wait, for six seconds and a renewal: they ask after 1, 2 and 4 s.
    assert!(traffic.stall_asks > 0, "nobody noticed");
    assert!(traffic.stall_asks <= 4 * spools as u64, "{} questions", traffic.stall_asks);
    assert!(
        traffic.waiting_max <= spools * super::window::FRAMES_MAX,
        "Redis holds a window per spool at most"
    );
}
