//! What came of the faults: the verdict on each, and the table.

use super::catalogue::Fault;
use crate::account::Account;
use crate::clicker::Outcome;
use crate::say;

/// What came of one fault.
pub(super) struct Row {
    /// Its name.
    pub(super) name: &'static str,
    /// What was measured, when there was a load.
    pub(super) figures: Option<Figures>,
    /// What else was measured.
    pub(super) notes: Vec<String>,
    /// Whether it was survived.
    pub(super) verdict: Verdict,
}

/// What was measured.
pub(super) struct Figures {
    /// Redirects that were read whole.
    pub(super) acknowledged: u64,
    /// What Postgres has of them.
    pub(super) account: Account,
    /// Share of the redirects that succeeded while it lasted.
    pub(super) success: f64,
    /// Of the redirects while it lasted.
    pub(super) p99_us: u32,
    /// Of the redirects before.
    pub(super) baseline_p99_us: u32,
    /// What `control-plane reconcile --settled` said, when it was not content.
    pub(super) reconcile: Option<String>,
}

/// Whether a fault was survived.
pub(super) enum Verdict {
    /// It was.
    Passed,
    /// It was not, and why.
    Failed(String),
    /// It cannot be caused here, and why.
    Skipped(String),
}

/// Below it two noisy cores prove nothing about a p99.
const P99_FLOOR_US: u32 = 10_000;

/// Judges by the counts. The p99 decides where `timed` says so: on a machine that nobody else works on.
pub(super) fn judge(fault: &Fault, figures: &Figures, during: &Outcome, timed: bool) -> Verdict {
    let account = &figures.account;
    let kept_back = account.declared_loss + account.parked;
    let mut wrong = Vec::new();
    if let Some(reply) = during.wrong.first() {
        wrong.push(format!("a reply was not the redirect: {reply:?}"));
    }
    if account.lost > kept_back {
        wrong.push(format!("{} lost, {kept_back} of them declared or parked", account.lost));
    }
    if !fault.may_declare && kept_back > 0 {
        wrong.push(format!("{} declared lost, {} parked", account.declared_loss, account.parked));
    }
    if account.doubled > 0 {
        wrong.push(format!("{} doubled", account.doubled));
    }
    if account.accepted != account.stored + kept_back {
        wrong.push(format!(
            "accepted {} ≠ stored {} + parked {} + declared {}",
            account.accepted, account.stored, account.parked, account.declared_loss
        ));
    }
    if account.used != account.stored {
        wrong.push(format!("usage {} ≠ stored {}", account.used, account.stored));
    }
    if let Some(said) = &figures.reconcile {
        wrong.push(format!("reconcile: {said}"));
    }
    if figures.success < fault.success_min {
        wrong.push(format!("only {:.3} % of redirects succeeded", figures.success * 100.0));
    }
    let p99_limit_us = (2 * figures.baseline_p99_us).max(P99_FLOOR_US);
    if timed && fault.success_min > 0.0 && figures.p99_us > p99_limit_us {
        wrong.push(format!("p99 {} µs against {} µs before", figures.p99_us, figures.baseline_p99_us));
    }
    if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed(wrong.join("; ")) }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed => f.write_str("passed"),
            Self::Failed(why) => write!(f, "FAILED: {why}"),
            Self::Skipped(why) => write!(f, "skipped: {why}"),
        }
    }
}

/// Prints the table, and how many were survived.
pub(super) fn print(rows: &[Row]) {
    say("");
    say(&format!(
        "{:<28} {:>8} {:>8} {:>5} {:>7} {:>9} {:>9} {:>9} {:>7}  verdict",
        "fault", "acked", "stored", "lost", "doubled", "success", "p99 ms", "base ms", "heal s"
    ));
    for row in rows {
        let figures = row.figures.as_ref().map_or_else(|| " ".repeat(70), Figures::line);
        let notes = if row.notes.is_empty() { String::new() } else { format!(" ({})", row.notes.join("; ")) };
        say(&format!("{:<28} {figures}  {}{notes}", row.name, row.verdict));
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    say(&format!(
        "faults survived: {}, not survived: {}, skipped: {}",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_)))
    ));
}

impl Figures {
    fn line(&self) -> String {
        let account = &self.account;
        // What was declared is no loss that nobody knows of.
        let lost = account.lost.saturating_sub(account.declared_loss + account.parked);
        format!(
            "{:>8} {:>8} {lost:>5} {:>7} {:>8.3}% {:>9.2} {:>9.2} {:>7.1}",
            self.acknowledged,
            account.stored,
            account.doubled,
            self.success * 100.0,
            f64::from(self.p99_us) / 1000.0,
            f64::from(self.baseline_p99_us) / 1000.0,
            account.caught_up_in.as_secs_f64()
        )
    }
}
