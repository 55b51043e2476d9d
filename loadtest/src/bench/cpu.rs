//! Which core a process runs on, and how much of it it used.
//!
//! CPU time comes from the process's own clock (clock_getcpuclockid(3)): it counts nanoseconds, threads that
//! ended included, and is far steadier than requests per second on a machine that others use too.

use anyhow::{Context, ensure};
use std::time::Duration;

/// The server's core and the load's. With one core only, they share it.
pub(crate) fn cores() -> (usize, usize) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (0, usize::from(cores > 1))
}

/// Puts a process, all its threads and all its children on one core.
pub(crate) fn pin(pid: u32, core: usize) -> anyhow::Result<()> {
    for process in family(pid) {
        for thread in threads(process) {
            pin_thread(thread, core)?;
        }
    }
    Ok(())
}

#[expect(unsafe_code, reason = "sched_setaffinity(2) has no safe wrapper in std")]
fn pin_thread(thread: u32, core: usize) -> anyhow::Result<()> {
    // SAFETY: a cpu_set_t is plain bits, for which zero means no core.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: CPU_SET writes within the set for a core below its 1,024 bits; ours is 0 or 1.
    unsafe { libc::CPU_SET(core, &mut set) };
    let thread = i32::try_from(thread).context("a thread id fits an i32")?;
    // SAFETY: the set is read only, and its size is given.
    let done = unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) };
    // A thread that ended meanwhile needs no core.
    let gone = std::io::Error::last_os_error().raw_os_error() == Some(libc::ESRCH);
    ensure!(done == 0 || gone, "cannot pin a thread: {}", std::io::Error::last_os_error());
    Ok(())
}

/// CPU time a process and its children used so far, in user space and in the kernel.
pub(crate) fn used(pid: u32) -> anyhow::Result<Duration> {
    family(pid).into_iter().map(used_alone).sum()
}

#[expect(unsafe_code, reason = "another process's clock has no safe wrapper in std")]
fn used_alone(pid: u32) -> anyhow::Result<Duration> {
    let pid = i32::try_from(pid).context("a process id fits an i32")?;
    let mut clock = 0;
    // SAFETY: writes one clock id.
    let found = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    ensure!(found == 0, "process {pid} has no clock: {}", std::io::Error::from_raw_os_error(found));
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    let read = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(read == 0, "cannot read the clock of {pid}: {}", std::io::Error::last_os_error());
    Ok(Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Bytes a process and its children hold, pages of files included.
pub(crate) fn resident_bytes(pid: u32) -> u64 {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
    };
    family(pid).into_iter().map(of).sum()
}

/// Share of a core's time that the host gave to others, between two readings of [`stolen`].
pub(crate) fn stolen(core: usize) -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().find_map(|line| line.strip_prefix(&format!("cpu{core} "))).unwrap_or_default();
    // user nice system idle iowait irq softirq steal, in ticks of 10 ms (proc(5)).
    let ticks = line.split_whitespace().nth(7).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

fn threads(pid: u32) -> Vec<u32> {
    let folder = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    folder.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process and everything it started that still runs.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    for thread in threads(pid) {
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/children")).unwrap_or_default();
        all.extend(children.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family));
    }
    all
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = if self.middle < 100.0 { 2 } else { 0 };
        write!(f, "{:.digits$} ({:.digits$} to {:.digits$})", self.middle, self.least, self.most)
    }
}

/// The median of some rounds, and their extremes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    /// The median.
    pub(crate) middle: f64,
    least: f64,
    most: f64,
}

impl Spread {
    /// Of these values; `None` when there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let middle = *values.get(values.len() / 2)?;
        Some(Self { middle, least: *values.first()?, most: *values.last()? })
    }
}
