//! What came of the faults: the verdict on each, and the table.

use super::catalogue::Fault;
use crate::account::Account;
use crate::clicker::Outcome;
use crate::say;
use std::time::Duration;

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
    /// How long it took, with everything around it.
    pub(super) took: Duration,
}

/// What was measured.
pub(super) struct Figures {
    /// Redirects that were read whole.
    pub(super) acknowledged: u64,
    /// What Postgres has of them.
    pub(super) account: Account,
    /// Share of the redirects that succeeded while it lasted.
    pub(super) success: f64,
    /// The redirects' p99 of each second while it lasted, sorted.
    pub(super) p99s_us: Vec<u32>,
    /// The same before.
    pub(super) baseline_p99s_us: Vec<u32>,
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

/// A machine that takes longer before anything is wrong measures itself.
const BASELINE_MAX_US: u32 = 50_000;

/// Judges by the counts. The p99 decides where `timed` says so: the median of its seconds against the median of
/// the seconds before. A second that the machine spoils for everybody moves neither; an edge that waits for what
/// has failed does, since that lasts. The worst second is in the table for whoever looks.
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
    let (p99_us, before_us) = (median(&figures.p99s_us), median(&figures.baseline_p99s_us));
    if timed && fault.success_min > 0.0 && p99_us > (2 * before_us).max(P99_FLOOR_US) {
        wrong.push(format!("p99 {p99_us} µs against {before_us} µs before"));
    }
    if wrong.is_empty() { Verdict::Passed } else { Verdict::Failed(wrong.join("; ")) }
}

/// The middle of sorted figures; 0 when there are none.
fn median(sorted: &[u32]) -> u32 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
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

/// Prints the table, as RESULTS.md has it, and how many were survived.
pub(super) fn print(rows: &[Row]) {
    say("");
    say(
        "| fault | acknowledged | stored | lost | doubled | success | p99 ms | before | worst second | caught up after, s | took, s | verdict |",
    );
    say("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let figures = row.figures.as_ref().map_or_else(|| "| ".repeat(9), Figures::line);
        let notes = if row.notes.is_empty() { String::new() } else { format!(" ({})", row.notes.join("; ")) };
        let verdict = format!("{}{notes}", row.verdict).replace('|', "/").replace('\n', " ");
        say(&format!("| {} {figures}| {:.0} | {} |", row.name, row.took.as_secs_f64(), verdict));
    }
    let count = |wanted: fn(&Verdict) -> bool| rows.iter().filter(|row| wanted(&row.verdict)).count();
    say("");
    say(&format!(
        "faults survived: {}, not survived: {}, skipped: {}; {:.0} minutes",
        count(|verdict| matches!(verdict, Verdict::Passed)),
        count(|verdict| matches!(verdict, Verdict::Failed(_))),
        count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        rows.iter().map(|row| row.took.as_secs_f64()).sum::<f64>() / 60.0
    ));
}

impl Figures {
    /// Whether the machine was too busy for its times to say anything.
    pub(super) fn measure_the_machine(&self) -> bool {
        median(&self.baseline_p99s_us) > BASELINE_MAX_US
    }

    fn line(&self) -> String {
        let account = &self.account;
        // What was declared is no loss that nobody knows of.
        let lost = account.lost.saturating_sub(account.declared_loss + account.parked);
        let ms = |us: u32| f64::from(us) / 1000.0;
        format!(
            "| {} | {} | {lost} | {} | {:.3} % | {:.1} | {:.1} | {:.1} | {:.1} ",
            self.acknowledged,
            account.stored,
            account.doubled,
            self.success * 100.0,
            ms(median(&self.p99s_us)),
            ms(median(&self.baseline_p99s_us)),
            ms(self.p99s_us.last().copied().unwrap_or(0)),
            account.caught_up_in.as_secs_f64()
        )
    }
}
