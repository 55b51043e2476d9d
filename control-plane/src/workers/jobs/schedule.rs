//! All periodic jobs, a line each.

use super::Job;
use crate::features::{
    clicks, conversions, domains, matching, network, payments, payouts, signers, subscriptions, trade, usage,
    wallet, webhooks,
};
use crate::web::idempotency;
use crate::workers::reconcile;
use std::time::Duration;

/// The jobs of the `work` role.
pub const JOBS: &[Job] = &[
    Job {
        name: "fold clicks",
        every: Duration::from_secs(1),
        alone: false,
        run: |app| Box::pin(clicks::fold::job(app)),
    },
    Job {
        name: "fold trade",
        every: Duration::from_secs(1),
        alone: true,
        run: |app| Box::pin(trade::job(app)),
    },
    Job {
        name: "close months",
        every: Duration::from_secs(10),
        alone: true,
        run: |app| Box::pin(clicks::closing::job(app)),
    },
    Job {
        name: "make click partitions",
        every: Duration::from_hours(1),
        alone: true,
        run: |app| Box::pin(clicks::partitions::job(app)),
    },
    Job {
        name: "drop old clicks",
        every: Duration::from_hours(1),
        alone: true,
        run: |app| Box::pin(clicks::partitions::drop_old(app)),
    },
    Job {
        name: "forget ordinary hours of links",
        every: Duration::from_hours(1),
        alone: true,
        run: |app| Box::pin(usage::hammered::forget(app)),
    },
    Job {
        name: "measure the pipeline",
        every: Duration::from_secs(10),
        alone: true,
        run: |app| Box::pin(clicks::measure::job(app)),
    },
    Job {
        name: "account for what edges report",
        every: Duration::from_secs(10),
        alone: true,
        run: |app| Box::pin(reconcile::reports::job(app)),
    },
    Job {
        name: "renew subscriptions",
        every: Duration::from_secs(10),
        alone: false,
        run: |app| Box::pin(subscriptions::renewal::job(app)),
    },
    Job {
        name: "end lapsed subscriptions",
        every: Duration::from_secs(30),
        alone: false,
        run: |app| Box::pin(subscriptions::months::lapse_job(app)),
    },
    Job {
        name: "tell Stripe",
        every: Duration::from_secs(10),
        alone: false,
        run: |app| Box::pin(payments::pro::tell_job(app)),
    },
    Job {
        name: "look pending payments up",
        every: Duration::from_mins(1),
        alone: true,
        run: |app| Box::pin(payments::stripe::recover::job(app)),
    },
    Job {
        name: "forget old payment events",
        every: Duration::from_mins(10),
        alone: true,
        run: |app| Box::pin(payments::stripe::apply::forget_job(app)),
    },
    Job {
        name: "look x402 payments up",
        every: Duration::from_secs(5),
        alone: false,
        run: |app| Box::pin(payments::x402::ops::job(app)),
    },
    Job {
        name: "collect what is owed",
        every: Duration::from_secs(5),
        alone: false,
        run: |app| Box::pin(wallet::payments::collect_job(app)),
    },
    Job {
        name: "top wallets up",
        every: Duration::from_secs(5),
        alone: false,
        run: |app| Box::pin(wallet::auto_topup::job(app)),
    },
    Job {
        name: "fund payouts",
        every: Duration::from_secs(5),
        alone: false,
        run: |app| Box::pin(payouts::funding::job(app)),
    },
    Job {
        name: "refresh network figures",
        every: Duration::from_mins(5),
        alone: true,
        run: |app| Box::pin(network::job(app)),
    },
    Job {
        name: "suggest matches",
        every: Duration::from_secs(1),
        alone: true,
        run: |app| Box::pin(matching::suggest::job(app)),
    },
    Job {
        name: "forget old matching requests",
        every: Duration::from_mins(10),
        alone: true,
        run: |app| Box::pin(matching::ops::forget_job(app)),
    },
    Job {
        name: "approve overdue conversions",
        every: Duration::from_secs(30),
        alone: true,
        run: |app| Box::pin(conversions::ops::approve_job(app)),
    },
    Job {
        name: "publish keys of agents",
        every: Duration::from_secs(30),
        alone: true,
        run: |app| Box::pin(signers::ops::job(app)),
    },
    Job {
        name: "publish custom domains",
        every: Duration::from_millis(500),
        alone: true,
        run: |app| Box::pin(domains::publish::job(app)),
    },
    Job {
        name: "compare published domains",
        every: Duration::from_mins(10),
        alone: true,
        run: |app| Box::pin(domains::publish::compare_job(app)),
    },
    Job {
        name: "look claims of domains up",
        every: Duration::from_secs(1),
        alone: false,
        run: |app| Box::pin(domains::keeper::claims_job(app)),
    },
    Job {
        name: "issue certificates",
        every: Duration::from_secs(1),
        alone: false,
        run: |app| Box::pin(domains::keeper::certificates_job(app)),
    },
    Job {
        name: "follow plans of domains",
        every: Duration::from_secs(30),
        alone: true,
        run: |app| Box::pin(domains::keeper::plans_job(app)),
    },
    Job {
        name: "forget old answers",
        every: Duration::from_mins(1),
        alone: true,
        run: |app| Box::pin(idempotency::forget_job(app)),
    },
    Job {
        name: "forget old events",
        every: Duration::from_mins(10),
        alone: true,
        run: |app| Box::pin(webhooks::feed::job(app)),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = JOBS.iter().map(|job| job.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), JOBS.len());
    }
}
