//! All periodic jobs, a line each.

use super::Job;
use crate::features::clicks;
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
        name: "make click partitions",
        every: Duration::from_hours(1),
        alone: true,
        run: |app| Box::pin(clicks::partitions::job(app)),
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
