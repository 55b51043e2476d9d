//! What a person sees while something takes long: one line per step, with seconds.
//!
//! On a terminal the line turns until the step ends; elsewhere (CI, a pipe) it is written at the
//! start, every ten seconds, and at the end. Progress goes to stderr, results to stdout.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Ten a second looks alive and costs nothing.
const FRAME: Duration = Duration::from_millis(100);
/// CI systems kill jobs that are silent for minutes; ten seconds keeps logs short.
const HEARTBEAT: Duration = Duration::from_secs(10);
const FRAMES: [char; 4] = ['|', '/', '-', '\\'];

/// Writes a line of results. A closed pipe (`| head`) is not an error worth a panic.
pub fn say(line: impl AsRef<str>) {
    drop(writeln!(std::io::stdout(), "{}", line.as_ref()));
}

/// Writes a line of progress.
pub fn note(line: impl AsRef<str>) {
    drop(writeln!(std::io::stderr(), "{}", line.as_ref()));
}

/// A step under way. Dropping it without [`Step::done`] leaves it marked as failed.
#[derive(Debug)]
pub struct Step {
    title: String,
    started: Instant,
    ticker: Option<(Sender<()>, JoinHandle<()>)>,
    /// The step shares the terminal with a program that draws its own progress.
    quiet: bool,
    ended: bool,
}

impl Step {
    /// Starts a step whose line turns until it ends.
    pub fn start(title: impl Into<String>) -> Self {
        let title = title.into();
        let (stop, stopped) = mpsc::channel();
        let shown = title.clone();
        let started = Instant::now();
        if !std::io::stderr().is_terminal() {
            note(format!("  … {shown}"));
        }
        let thread = std::thread::spawn(move || {
            let terminal = std::io::stderr().is_terminal();
            let pause = if terminal { FRAME } else { HEARTBEAT };
            for frame in FRAMES.iter().cycle() {
                if terminal {
                    draw(&format!("  {frame} {shown} {:.0} s", started.elapsed().as_secs_f32()));
                }
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                if !terminal {
                    note(format!("  … {shown} ({:.0} s)", started.elapsed().as_secs_f32()));
                }
            }
        });
        Self { title, started, ticker: Some((stop, thread)), quiet: false, ended: false }
    }

    /// Starts a step during which another program (cargo) shows its own progress.
    pub fn start_quiet(title: impl Into<String>) -> Self {
        let title = title.into();
        note(format!("  … {title}"));
        Self { title, started: Instant::now(), ticker: None, quiet: true, ended: false }
    }

    /// Ends the step well; `detail` is shown behind it when not empty.
    pub fn done(mut self, detail: impl AsRef<str>) {
        self.end("✓", detail.as_ref());
    }

    /// Ends a step that was not taken.
    pub fn skipped(mut self, reason: impl AsRef<str>) {
        self.end("-", reason.as_ref());
    }

    /// Ends the step badly.
    pub fn failed(mut self, detail: impl AsRef<str>) {
        self.end("✗", detail.as_ref());
    }

    fn end(&mut self, mark: &str, detail: &str) {
        self.ended = true;
        if let Some((stop, thread)) = self.ticker.take() {
            drop(stop);
            drop(thread.join());
        }
        if std::io::stderr().is_terminal() && !self.quiet {
            draw("");
        }
        let gap = if detail.is_empty() { "" } else { ": " };
        note(format!("  {mark} {}{gap}{detail} ({:.1} s)", self.title, self.started.elapsed().as_secs_f32()));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.ended {
            self.end("✗", "");
        }
    }
}

/// Replaces the terminal's current line.
fn draw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    drop(write!(stderr, "\r\x1b[2K{text}"));
    drop(stderr.flush());
}
