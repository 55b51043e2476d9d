//! The faults, in the order of their numbers in the fault matrix.

use super::inject::{
    clients, control, crowds, edge, failover, frames, http2, links, postgres, redis, time, tls,
};
use super::scene::Scene;
use crate::stack::disk::Disk;
use crate::stack::ground::Ground;
use crate::stack::{Clock, DiskFor, Options};
use anyhow::{Context, ensure};
use std::pin::Pin;
use std::process::Command;

/// What causing a fault gives.
pub(super) type Injecting<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One fault.
pub(super) struct Fault {
    /// Number in the matrix and a name.
    pub(super) name: &'static str,
    /// What is done.
    pub(super) summary: &'static str,
    /// Part of the run for every change.
    pub(super) quick: bool,
    /// Share of redirects that must succeed while it lasts; 0 where the edge itself is the victim.
    pub(super) success_min: f64,
    /// Clicks may be declared lost or parked, exactly.
    pub(super) may_declare: bool,
    /// Every click comes over a connection of its own.
    pub(super) one_each: bool,
    /// Connections that may be refused.
    pub(super) refused_max: u64,
    /// Its p99 counts in a full run.
    pub(super) timed: bool,
    /// What the machine must have or allow.
    pub(super) needs: &'static [Need],
    /// Sets the system up for it.
    pub(super) prepare: Option<fn(&mut Options)>,
    /// How it is caused.
    pub(super) cause: Cause,
}

/// How a fault is caused.
pub(super) enum Cause {
    /// Under load; heals it, too.
    Load(fn(&mut Scene) -> Injecting<'_>),
    /// By tests, which cause it at an instant no load can hit.
    Tests(&'static [Tests]),
}

/// Tests of one package.
pub(super) struct Tests {
    /// The package.
    pub(super) package: &'static str,
    /// Which of its test programs.
    pub(super) target: &'static [&'static str],
    /// A part of their names.
    pub(super) filter: &'static str,
}

/// What a machine must have or allow for a fault to be caused on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Need {
    /// A small disk can be mounted.
    Disk,
    /// The library that fakes the time is there.
    Faketime,
    /// strace is there and may trace.
    Strace,
    /// slowhttptest and h2load are there.
    Attackers,
}

impl Need {
    /// An error is the reason why it cannot be caused here.
    pub(super) fn check(self, ground: &Ground) -> anyhow::Result<()> {
        match self {
            Self::Disk => Disk::probe(),
            Self::Faketime => {
                let found = ground.lab.faketime.as_ref().map(drop);
                found.context("libfaketime is not on this machine and could not be unpacked")
            }
            Self::Strace => strace(),
            Self::Attackers => {
                let found = ground.lab.attackers.as_ref().map(drop);
                found.context("slowhttptest and h2load are not on this machine and could not be unpacked")
            }
        }
    }
}

/// Whether a tracer can look at a process of ours.
fn strace() -> anyhow::Result<()> {
    let traced = Command::new("strace").args(["-e", "trace=none", "true"]).output();
    let traced = traced.context("strace is not installed")?;
    ensure!(traced.status.success(), "{}", String::from_utf8_lossy(&traced.stderr).trim());
    Ok(())
}

const ALL: f64 = 0.9999;
const ANY: f64 = 0.0;

const fn fault(name: &'static str, summary: &'static str, inject: fn(&mut Scene) -> Injecting<'_>) -> Fault {
    Fault {
        name,
        summary,
        quick: true,
        success_min: ALL,
        may_declare: false,
        one_each: false,
        refused_max: u64::MAX,
        timed: true,
        needs: &[],
        prepare: None,
        cause: Cause::Load(inject),
    }
}

fn proxies(options: &mut Options) {
    options.proxies = true;
}

/// Proved by tests; they run with all others before every change, so a quick run leaves them out.
const fn tested(name: &'static str, summary: &'static str, tests: &'static [Tests]) -> Fault {
    Fault { quick: false, cause: Cause::Tests(tests), ..fault(name, summary, |_| Box::pin(async { Ok(()) })) }
}

fn handed_socket(options: &mut Options) {
    options.hand_socket = true;
}

fn small_spool(options: &mut Options) {
    options.disk = Some((DiskFor::Spool, 24));
    let settings = [("AOS_EDGE_SPOOL_SEGMENT_MIB", "1"), ("AOS_EDGE_SPOOL_MIB", "16")];
    options.edge.extend(settings.map(|(name, value)| (name, value.to_owned())));
}

fn append_only(options: &mut Options) {
    options.disk = Some((DiskFor::Redis, 64));
    options.redis.extend(["--appendonly", "yes", "--appendfsync", "everysec"].map(str::to_owned));
}

fn small_tables(options: &mut Options) {
    options.disk = Some((DiskFor::Postgres, 96));
}

fn few_files(options: &mut Options) {
    options.edge_files_max = Some(512);
}

fn edge_clock(options: &mut Options) {
    options.clock = Some(Clock::Edge);
}

fn month_end(options: &mut Options) {
    options.clock = Some(Clock::MonthEnd);
}

fn room_for_idle(options: &mut Options) {
    let settings = [
        ("AOS_EDGE_CONNECTIONS", "65536"),
        ("AOS_EDGE_SPOOL_SEGMENT_MIB", "1"),
        ("AOS_EDGE_SPOOL_MIB", "16"),
    ];
    options.edge.extend(settings.map(|(name, value)| (name, value.to_owned())));
}

fn with_tls(options: &mut Options) {
    options.tls = true;
}

fn cluster(options: &mut Options) {
    options.cluster = true;
}

/// Every fault this runner can cause.
pub(super) const CATALOGUE: &[Fault] = &[
    Fault {
        success_min: ANY,
        ..fault("f01_edge_killed", "kill -9 of the edge, again and again", |scene| {
            Box::pin(edge::killed(scene))
        })
    },
    Fault {
        quick: false,
        success_min: ANY,
        ..fault("f02_edge_drained", "SIGTERM of the edge, again and again", |scene| {
            Box::pin(edge::drained(scene))
        })
    },
    Fault {
        one_each: true,
        refused_max: 0,
        success_min: 1.0,
        prepare: Some(handed_socket),
        ..fault(
            "f03_handed_over",
            "a new edge takes the old one's sockets, one connection a click",
            |scene| Box::pin(edge::handed_over(scene)),
        )
    },
    Fault {
        quick: false,
        one_each: true,
        success_min: ALL,
        ..fault("f03_beside", "a new edge listens beside the old one, one connection a click", |scene| {
            Box::pin(edge::beside(scene))
        })
    },
    tested(
        "f04_power_cut",
        "a power cut drops what was not synced, in a model",
        &[Tests { package: "tracker-edge", target: &["--lib"], filter: "f4_" }],
    ),
    Fault {
        success_min: ANY,
        may_declare: true,
        needs: &[Need::Disk],
        prepare: Some(small_spool),
        ..fault("f05_disk_full_at_start", "the edge starts on a full disk", |scene| {
            Box::pin(edge::disk_full_at_start(scene))
        })
    },
    Fault {
        quick: false,
        may_declare: true,
        needs: &[Need::Disk],
        prepare: Some(small_spool),
        ..fault("f05_disk_full", "the spool's disk runs full under way", |scene| {
            Box::pin(edge::disk_full(scene))
        })
    },
    Fault {
        success_min: ANY,
        // What stands where the next record would is counted as one click that cannot be read.
        may_declare: true,
        ..fault("f06_torn_spool", "the spool's last bytes are garbage after a kill", |scene| {
            Box::pin(edge::torn_spool(scene))
        })
    },
    tested(
        "f07_bit_flip",
        "every byte of a record is flipped",
        &[Tests { package: "tracker-edge", target: &["--lib"], filter: "f7_" }],
    ),
    Fault {
        quick: false,
        timed: false,
        needs: &[Need::Strace],
        ..fault("f08_sync_error", "msync of the spool answers EIO (strace)", |scene| {
            Box::pin(edge::sync_error(scene))
        })
    },
    Fault {
        quick: false,
        success_min: ANY,
        ..fault("f09_cloned_spool", "two edges on copies of one spool", |scene| {
            Box::pin(edge::cloned_spool(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f10_memory", "10,000 connections at once, memory measured", |scene| {
            Box::pin(edge::crowd(scene))
        })
    },
    Fault {
        quick: false,
        prepare: Some(few_files),
        ..fault("f11_no_descriptors", "2,000 connections, 512 descriptors", |scene| {
            Box::pin(edge::no_descriptors(scene))
        })
    },
    tested(
        "f12_request_panics",
        "a request panics",
        &[Tests { package: "tracker-edge", target: &["--lib"], filter: "f12_" }],
    ),
    Fault {
        success_min: ANY,
        ..fault(
            "f13_cold_start_alone",
            "the edge restarts while Redis and the control plane are down",
            |scene| Box::pin(edge::cold_start_alone(scene)),
        )
    },
    fault("f14_redis_down", "Redis is down and comes back empty", |scene| Box::pin(redis::down(scene))),
    Fault {
        quick: false,
        ..fault("f15_redis_stopped", "Redis is stopped (SIGSTOP)", |scene| Box::pin(redis::stopped(scene)))
    },
    Fault {
        quick: false,
        prepare: Some(proxies),
        ..fault("f16_redis_slow", "200 ms more each way between edge and Redis", |scene| {
            Box::pin(redis::slow(scene))
        })
    },
    fault("f17_flushall", "FLUSHALL, again and again", |scene| Box::pin(redis::flushall(scene))),
    Fault {
        quick: false,
        ..fault(
            "f18_redis_restarted",
            "kill -9 of Redis and an immediate restart, again and again",
            |scene| Box::pin(redis::restarted(scene)),
        )
    },
    Fault {
        quick: false,
        prepare: Some(proxies),
        ..fault(
            "f19_failover_to_lagging_replica",
            "a Redis replica that lags takes its primary's place",
            |scene| Box::pin(failover::to_a_replica_that_lags(scene)),
        )
    },
    Fault {
        quick: false,
        prepare: Some(cluster),
        ..fault("f19_cluster_failover", "masters of a Redis Cluster die and are replaced", |scene| {
            Box::pin(failover::in_a_cluster(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f20_redis_full", "Redis refuses writes: out of memory", |scene| Box::pin(redis::full(scene)))
    },
    Fault {
        quick: false,
        ..fault("f21_redis_readonly", "Redis becomes a replica of nobody and refuses writes", |scene| {
            Box::pin(redis::readonly(scene))
        })
    },
    Fault {
        quick: false,
        needs: &[Need::Disk],
        prepare: Some(append_only),
        ..fault("f22_redis_disk_full", "the disk of Redis' append-only file is full", |scene| {
            Box::pin(redis::disk_full(scene))
        })
    },
    Fault {
        prepare: Some(proxies),
        ..fault("f23_reply_lost", "commands reach Redis, their replies are lost", |scene| {
            Box::pin(redis::reply_lost(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f24_stream_trimmed", "streams lose entries that nobody has read", |scene| {
            Box::pin(redis::stream_trimmed(scene))
        })
    },
    Fault {
        quick: false,
        prepare: Some(proxies),
        ..fault("f25_redis_silent", "connections to Redis are there and carry nothing", |scene| {
            Box::pin(redis::silent(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f26_holder_killed", "a drainer holds clicks back and dies", |scene| {
            Box::pin(control::holder_killed(scene))
        })
    },
    Fault {
        prepare: Some(proxies),
        ..fault("f27_message_lost", "the message of a link's change is lost on its way", |scene| {
            Box::pin(links::message_lost(scene))
        })
    },
    fault("f28_control_plane_killed", "kill -9 of the control plane, again and again", |scene| {
        Box::pin(control::killed(scene))
    }),
    tested(
        "f29_crash_before_commit",
        "a drainer dies at every step",
        &[Tests { package: "control-plane", target: &["--test", "it"], filter: "f29_" }],
    ),
    Fault {
        quick: false,
        ..fault("f30_two_drainers", "a second drainer on the same streams", |scene| {
            Box::pin(control::two_drainers(scene))
        })
    },
    fault("f31_replayed_frames", "frames are added again, in another order", |scene| {
        Box::pin(frames::replayed(scene))
    }),
    fault("f32_poison_frames", "random bytes in every stream", |scene| Box::pin(frames::poison(scene))),
    Fault {
        quick: false,
        ..fault("f33_unknown_version", "a frame of a version nobody knows yet", |scene| {
            Box::pin(frames::unknown_version(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f34_postgres_killed", "kill -9 of all of Postgres", |scene| {
            Box::pin(postgres::killed(scene))
        })
    },
    fault("f35_backend_killed", "kill -9 of single Postgres backends", |scene| {
        Box::pin(postgres::backend_killed(scene))
    }),
    Fault {
        needs: &[Need::Disk],
        prepare: Some(small_tables),
        ..fault("f36_postgres_disk_full", "the disk of Postgres' tables is full", |scene| {
            Box::pin(postgres::disk_full(scene))
        })
    },
    tested(
        "f37_deadlock",
        "requests and batches that lose a race",
        &[Tests { package: "control-plane", target: &["--test", "it"], filter: "f37_" }],
    ),
    Fault {
        quick: false,
        ..fault("f38_postgres_stopped", "Postgres is stopped (SIGSTOP)", |scene| {
            Box::pin(postgres::stopped(scene))
        })
    },
    Fault {
        quick: false,
        prepare: Some(proxies),
        ..fault("f38_postgres_partitioned", "the line to Postgres carries nothing", |scene| {
            Box::pin(postgres::partitioned(scene))
        })
    },
    Fault {
        prepare: Some(proxies),
        ..fault("f39_failover", "a standby that lags takes the primary's place", |scene| {
            Box::pin(postgres::failed_over(scene))
        })
    },
    Fault {
        prepare: Some(proxies),
        ..fault("f40_restored", "a payout is made, then a backup from before it is restored", |scene| {
            Box::pin(postgres::restored(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f41_reads_hang", "40 reads hang on a read pool of 8, money goes on", |scene| {
            Box::pin(control::reads_hang(scene))
        })
    },
    fault("f42_hang_ups", "clients hang up in the middle of money requests", |scene| {
        Box::pin(control::hang_ups(scene))
    }),
    Fault {
        quick: false,
        ..fault("f43_migration", "tables change while they are used", |scene| {
            Box::pin(control::migration(scene))
        })
    },
    Fault {
        quick: false,
        ..fault("f44_dangerous_settings", "servers that may lose what they acknowledged", |scene| {
            Box::pin(control::dangerous_settings(scene))
        })
    },
    Fault {
        quick: false,
        needs: &[Need::Faketime],
        prepare: Some(edge_clock),
        ..fault("f45_clock_jumps", "the edge's clock jumps an hour ahead and an hour back", |scene| {
            Box::pin(time::jumps(scene))
        })
    },
    Fault {
        quick: false,
        needs: &[Need::Faketime],
        prepare: Some(month_end),
        ..fault("f46_month_ends", "the month ends under load", |scene| Box::pin(time::month_ends(scene)))
    },
    Fault {
        quick: false,
        ..fault("f47_late_spool", "clicks of last month come in now", |scene| Box::pin(frames::late(scene)))
    },
    tested(
        "f48_token_ages",
        "tokens at the edges of their lives",
        &[
            Tests { package: "control-plane", target: &["--test", "it"], filter: "attribution_v1" },
            Tests { package: "control-plane", target: &["--lib"], filter: "slat" },
        ],
    ),
    fault("f49_links_follow", "links made, changed, paused, deleted; two edges follow", |scene| {
        Box::pin(links::followed_by_all(scene))
    }),
    Fault {
        // Five thousand at once share the cores with the load: the row has a limit of its own.
        timed: false,
        prepare: Some(proxies),
        ..fault("f50_herd", "5,000 first hits at once of a link no edge knows yet", |scene| {
            Box::pin(clients::herd(scene))
        })
    },
    fault("f51_made_up_tokens", "20,000 made-up tokens a second", |scene| {
        Box::pin(links::made_up_tokens(scene))
    }),
    fault("f52_slow_readers", "pipelined requests whose answers nobody reads", |scene| {
        Box::pin(clients::slow_readers(scene))
    }),
    Fault {
        needs: &[Need::Attackers],
        ..fault(
            "f53_slow_senders",
            "slowhttptest -H and -B, requests that drip, and clients that say nothing",
            |scene| Box::pin(crowds::slow_senders(scene)),
        )
    },
    fault("f54_large_heads", "heads that are too large, and many that are never ended", |scene| {
        Box::pin(clients::large_heads(scene))
    }),
    Fault {
        quick: false,
        prepare: Some(room_for_idle),
        ..fault("f55_idle_crowd", "100,000 idle connections on six edges", |scene| {
            Box::pin(crowds::idle(scene))
        })
    },
    Fault {
        // Handshakes one after another take a core from the load, as they do in f56.
        timed: false,
        prepare: Some(with_tls),
        ..fault("f55_idle_tls", "connections that rest over TLS, with HTTP/1.1 and HTTP/2", |scene| {
            Box::pin(tls::idle(scene))
        })
    },
    Fault {
        // The matrix gives it three times the baseline's p99; it is in the table.
        timed: false,
        prepare: Some(with_tls),
        ..fault("f56_handshakes", "500 TLS handshakes a second, and half ones beside them", |scene| {
            Box::pin(tls::handshakes(scene))
        })
    },
    Fault {
        timed: false,
        needs: &[Need::Attackers],
        prepare: Some(with_tls),
        ..fault("f57_http2_floods", "HTTP/2 clients that ask for nothing, of eight kinds; h2load", |scene| {
            Box::pin(http2::floods(scene))
        })
    },
    tested(
        "f58_corpus",
        "nearly 900 malformed and unusual requests; behind proxies by `loadtest corpus`",
        &[Tests { package: "tracker-edge", target: &["--test", "it"], filter: "f58_" }],
    ),
    Fault {
        quick: false,
        ..fault("f60_churn", "2,000 more connections a second, one for each click", |scene| {
            Box::pin(clients::churn(scene))
        })
    },
    fault("f61_pipelines_cut", "64 requests at once, and gone before they are answered", |scene| {
        Box::pin(clients::pipelines_cut(scene))
    }),
    fault("f62_lookers", "a storm of HEAD, OPTIONS and prefetches", |scene| {
        Box::pin(clients::lookers(scene))
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_pipeline_has_its_row() {
        // By `bench`: a ratio of throughputs is nothing a machine under load can tell.
        let elsewhere = [59];
        for number in (1..=62).filter(|number| !elsewhere.contains(number)) {
            let prefix = format!("f{number:02}_");
            assert!(CATALOGUE.iter().any(|fault| fault.name.starts_with(&prefix)), "{prefix} is missing");
        }
        let mut names: Vec<_> = CATALOGUE.iter().map(|fault| fault.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len(), "two faults of one name");
    }
}
