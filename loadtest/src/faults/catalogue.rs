//! The faults, in the order of their numbers in the fault matrix.

use super::inject;
use crate::stack::{Options, Stack};
use std::pin::Pin;

/// What causing a fault gives.
pub(super) type Injecting<'a> = Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send + 'a>>;

/// One fault.
pub(super) struct Fault {
    /// Number in the matrix and a name.
    pub(super) name: &'static str,
    /// What is done.
    pub(super) summary: &'static str,
    /// Part of the eight-minute run.
    pub(super) quick: bool,
    /// Share of redirects that must succeed while it lasts; 0 where the edge itself is the victim.
    pub(super) success_min: f64,
    /// Clicks may be declared lost or parked, exactly.
    pub(super) may_declare: bool,
    /// Sets the system up for it; an error is the reason why this machine cannot cause it.
    pub(super) prepare: Option<fn(&mut Options) -> anyhow::Result<()>>,
    /// Causes and heals it.
    pub(super) inject: fn(&mut Stack) -> Injecting<'_>,
}

const ALL: f64 = 0.9999;
const ANY: f64 = 0.0;

const fn fault(name: &'static str, summary: &'static str, inject: fn(&mut Stack) -> Injecting<'_>) -> Fault {
    Fault { name, summary, quick: true, success_min: ALL, may_declare: false, prepare: None, inject }
}

#[expect(clippy::unnecessary_wraps, reason = "a preparation may find that the machine cannot do it")]
fn proxies(options: &mut Options) -> anyhow::Result<()> {
    options.proxies = true;
    Ok(())
}

/// Every fault this runner can cause.
pub(super) const CATALOGUE: &[Fault] = &[
    Fault {
        success_min: ANY,
        ..fault("f01_edge_killed", "kill -9 of the edge, five times", |stack| {
            Box::pin(inject::edge_killed(stack))
        })
    },
    Fault {
        success_min: ANY,
        ..fault("f02_edge_drained", "SIGTERM of the edge, three times", |stack| {
            Box::pin(inject::edge_drained(stack))
        })
    },
    Fault {
        success_min: ANY,
        // What stands where the next record would is counted as one click that cannot be read.
        may_declare: true,
        ..fault("f06_torn_spool", "the spool's last bytes are garbage after a kill", |stack| {
            Box::pin(inject::torn_spool(stack))
        })
    },
    Fault {
        success_min: ANY,
        ..fault(
            "f13_cold_start_alone",
            "the edge restarts while Redis and the control plane are down",
            |stack| Box::pin(inject::cold_start_alone(stack)),
        )
    },
    fault("f14_redis_down", "Redis is down for eight seconds and comes back empty", |stack| {
        Box::pin(inject::redis_down(stack))
    }),
    fault("f15_redis_stopped", "Redis is stopped (SIGSTOP) for eight seconds", |stack| {
        Box::pin(inject::redis_stopped(stack))
    }),
    Fault {
        prepare: Some(proxies),
        ..fault("f16_redis_slow", "200 ms more each way between edge and Redis", |stack| {
            Box::pin(inject::redis_slow(stack))
        })
    },
    fault("f17_flushall", "FLUSHALL, three times", |stack| Box::pin(inject::flushall(stack))),
    fault("f18_redis_restarted", "kill -9 of Redis and an immediate restart, three times", |stack| {
        Box::pin(inject::redis_restarted(stack))
    }),
    fault("f20_redis_full", "Redis refuses writes: out of memory", |stack| {
        Box::pin(inject::redis_full(stack))
    }),
    fault("f21_redis_readonly", "Redis becomes a replica of nobody and refuses writes", |stack| {
        Box::pin(inject::redis_readonly(stack))
    }),
    Fault {
        prepare: Some(proxies),
        ..fault("f23_reply_lost", "commands reach Redis, their replies are lost", |stack| {
            Box::pin(inject::reply_lost(stack))
        })
    },
    fault("f24_stream_trimmed", "streams lose entries that nobody has read", |stack| {
        Box::pin(inject::stream_trimmed(stack))
    }),
    Fault {
        prepare: Some(proxies),
        ..fault("f25_redis_silent", "connections to Redis are there and carry nothing", |stack| {
            Box::pin(inject::redis_silent(stack))
        })
    },
    fault("f28_control_plane_killed", "kill -9 of the control plane, five times", |stack| {
        Box::pin(inject::control_plane_killed(stack))
    }),
    fault("f30_two_drainers", "a second drainer on the same streams", |stack| {
        Box::pin(inject::two_drainers(stack))
    }),
    fault("f31_replayed_frames", "frames are added again, in another order", |stack| {
        Box::pin(inject::replayed_frames(stack))
    }),
    fault("f32_poison_frames", "random bytes in every stream", |stack| {
        Box::pin(inject::poison_frames(stack))
    }),
    fault("f33_unknown_version", "a frame of a version nobody knows yet", |stack| {
        Box::pin(inject::unknown_version(stack))
    }),
    fault("f34_postgres_killed", "kill -9 of all of Postgres", |stack| {
        Box::pin(inject::postgres_killed(stack))
    }),
    fault("f35_backend_killed", "kill -9 of single Postgres backends", |stack| {
        Box::pin(inject::backend_killed(stack))
    }),
    fault("f38_postgres_stopped", "Postgres is stopped (SIGSTOP) for eight seconds", |stack| {
        Box::pin(inject::postgres_stopped(stack))
    }),
];
