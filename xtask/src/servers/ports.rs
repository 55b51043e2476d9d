//! Ports: whether one is free, and who has it if not.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

use anyhow::{Context, Result};

use crate::layout;
use crate::process::describe;

/// Linux hands out 32768 and up; below 20000 live the well-known ones.
const RANGE: Range<u16> = 20_000..32_000;

/// Whether nothing listens on the port of loopback.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Ports that were free a moment ago, all different, from a range that the kernel does not hand out
/// to outgoing connections. Another program may still take one before it is used; the caller's start
/// then fails with a message that says so.
pub fn free<const N: usize>() -> Result<[u16; N]> {
    // Random, so that two test runs at once do not reach for the same.
    let first = u64::from_str_radix(&layout::random_hex::<4>()?, 16).context("random digits are digits")?;
    let span = u64::from(RANGE.end - RANGE.start);
    let mut candidates = (0..span)
        .filter_map(|step| u16::try_from((first + step) % span).ok())
        .map(|offset| RANGE.start + offset)
        .filter(|port| is_free(*port));
    let mut ports = [0; N];
    for port in &mut ports {
        *port = candidates.next().context("no free port on loopback")?;
    }
    Ok(ports)
}

/// Who listens on a port, in words, as far as `/proc` tells: other people's processes keep it quiet.
pub fn holder(port: u16) -> Option<String> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .collect();
    let pid = fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        fs::read_dir(entry.path().join("fd")).ok()?.flatten().find_map(|file| {
            let target = fs::read_link(file.path()).ok()?;
            let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
            sockets.contains(&inode).then_some(pid)
        })
    })?;
    Some(format!("process {pid}, {}", describe(pid)))
}

/// Inodes of the sockets listening on a port, from the text of `/proc/net/tcp`.
fn listening(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
            (local.ends_with(&suffix) && *state == "0A").then(|| (*inode).to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_its_holder() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(!is_free(port));
        let holder = holder(port).unwrap();
        assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    }

    #[test]
    fn free_ports_differ() {
        let [one, two, three] = free::<3>().unwrap();
        assert!(one != two && two != three && one != three);
    }

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             1: 0100007F:1F90 0100007F:C000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n\
             2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1\n";
        assert_eq!(listening(table, 8080), ["4711"]);
        assert!(listening(table, 80).is_empty());
    }
}
