//! The spool: clicks on local disk until Postgres has them. This page is its specification.
//!
//! # What callers may rely on
//!
//! - [`Writer::append`] never waits, takes no lock, makes no system call and allocates nothing. When it
//!   returns [`Appended::Stored`], the click is in the page cache: it outlives this process however it ends,
//!   and the machine once the next sync is done ([`SpoolConfig::sync_interval`]; with
//!   [`SpoolConfig::strict`] the answer waits for that, in [`Writer::commit`]).
//! - Every click takes the next sequence of its spool, also one that could not be kept. So
//!   `accepted = committed + kept + lost` is a sum over sequences, and a loss is declared with its exact
//!   place and size, to the drainer, through the frames ([`shared::frame`]).
//! - Nothing is freed before Postgres has committed it, and then only after [`SpoolConfig::retain_for`],
//!   unless the disk is full: then committed segments go early, the longest committed first.
//! - No fault of the disk reaches the redirect. A full disk: clicks are declared lost, and kept again when there is
//!   room. A refused sync: the segment is left for another one and nothing it says later is believed.
//!   There is no SIGBUS, because every mapped byte is allocated before it is mapped.
//!
//! # Spools, segments, files
//!
//! A spool belongs to one writer of one process: its id is 128 random bits, its sequences start at 0. It
//! is never continued: after a restart it is *recovered*, shipped to its end, and freed. Its clicks are in
//! segments, files named `<spool id, 32 hex digits>-<index, 8 digits>.seg`, index from 0. Beside them the folder
//! holds `edge` (the edge's id and the inode of that file: in a copied folder they disagree, and the
//! copy takes a new id) and `damaged/` (bytes of unreadable records, for a person). The process holds a
//! lock on the folder itself. Everything else in it is left alone and counted.
//!
//! # Format of a segment, version 1
//!
//! Little-endian. A header of 4096 bytes, then slots of 64 bytes to the end of the file. The file is
//! allocated whole ([`posix_fallocate`]) and zero where nothing was written; recovery shortens the last
//! segment of a spool to what it holds.
//!
//! ```text
//! header
//!      0  magic "AOSS"        4
//!      4  version = 1         1
//!      5  0                   3
//!      8  spool id           16
//!     24  edge id             8
//!     32  index               8
//!     40  bytes of the file   8   as it was made
//!     48  0                   8
//!     56  checksum            8   XXH3-64 of the 56 bytes before
//!    512  numbers            32   FIRST SEQ, SEALED, LOST AFTER, FLOOR: a checked word each
//!   2048  the same again     32   in another sector; the larger readable copy counts
//!
//! record: one slot, and as many more as its notes need
//!      0  commit word         8   XXH3-64 of byte 16 to the record's end, XOR the segment's seed;
//!                                 never 0. Written last: 0 is "no record"
//!      8  cut word            8   checked word: the clock (ms) of the frame that ends with this
//!                                 record. 0: none does, or not yet. Not part of the checksum
//!     16  time, ms            8
//!     24  link                8
//!     32  visitor             8
//!     40  advertiser          4
//!     44  number              4   in the segment, from 0: sequence = FIRST SEQ + number
//!     48  class               1
//!     49  flags               1
//!     50  country             2
//!     52  bytes of notes      2
//!     54  notes                   to the end of the last slot, 0 after them
//!
//! checked word: value (48 bits) << 16 | 16 bits of XXH3-64 of seed, salt, value (1 for 0)
//!     salt: the number's place (0 to 3), or 2^32 + record number for a cut word
//! seed of a segment: XXH3-64 of spool id and index (4 bytes)
//! ```
//!
//! The seed ties everything in a segment to it. It comes from random bits that are never shown, so that a visitor
//! cannot write a note that passes for a record.
//!
//! - **FIRST SEQ** is written when the writer takes the segment into use. Without it, and without a record, a
//!   segment is unused, and removed at the next start.
//! - **SEALED** is the number of records, written once, when nothing more will come: the writer took the next
//!   segment, or is gone; or recovery found the end.
//! - **LOST AFTER** counts sequences taken after the last record and lost. A segment with it takes no more records,
//!   so a loss for want of room always lies between two segments.
//! - **FLOOR** is a number of records that were written for sure. A sync writes it first: what a power cut
//!   or a shortened file takes below it is known to be missing.
//!
//! # Order of writes
//!
//! 1. Upkeep makes the file: allocate, header, `fsync` of file and folder, map, populate every page.
//! 2. The writer stores FIRST SEQ, then records: all words of a record, then its commit word with release
//!    ordering. A reader that sees the commit word sees the record; so does the file after `kill -9`, for
//!    the page cache is one memory.
//! 3. The sync thread stores FLOOR and calls `msync` on what was written, every interval. In a power cut
//!    sectors reach the disk in any order: the checksum tells which records are whole.
//! 4. Shipping stores a cut word before the frame that ends there leaves. Whoever reads again, in this
//!    process or a later one, cuts the same frame. (A power cut may take cut words that were used: then
//!    frames overlap, which the drainer resolves.)
//!
//! # Reading, and damage
//!
//! A record is read where the one before ended, and must verify and carry the next number. Otherwise the slots
//! after it are searched for the next record that does, whose number lies ahead by at most the slots passed;
//! the numbers between are lost, counted once as `damaged`, their bytes kept. So a flipped bit costs its record,
//! a vanished page the records on it, a vanished file the sequences up to the next one's FIRST SEQ.
//!
//! Where no readable record follows:
//! - in a segment being written, that is the end for now;
//! - at a **torn tail** (commit word 0) the end: the record was never acknowledged;
//! - at a commit word that does not verify, one click was acknowledged and is lost;
//! - short of SEALED or FLOOR, so many clicks as are missing are lost.
//!
//! A damaged header costs nothing: the file's name says the same, and the records prove it. A segment whose FIRST
//! SEQ is gone in both copies follows the one before it, or precedes the next; without neighbours it is left alone.
//!
//! Recovery writes down what it found (SEALED, a derived FIRST SEQ) and shortens the file after its last record, so
//! `recover(recover(x)) = recover(x)`. A newer version's segment is left alone, to be shipped by a newer build.
//!
//! # Limits
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | notes of a click | 612 bytes | kept without its notes |
//! | a record | 11 slots, 704 bytes | |
//! | a segment | 64 KiB to 1 GiB, 8 MiB by default | the next one, made ready before |
//! | all segments | [`SpoolConfig::disk_budget_bytes`] | committed ones go early, then declared loss |
//! | a full disk | the smallest segment still fits 64 KiB | declared loss; tried again every interval |
//! | sequences | 2^48 | as a click id holds them |
//!
//! Not survived: losing the disk; a file system that does not keep what it allocated (copy-on-write ones such
//! as btrfs and ZFS may still run out on a store: use ext4, XFS or tmpfs); somebody shortening a file that is
//! mapped. With no segment at all, neither one in use nor room for 64 KiB, the count of lost clicks is in memory
//! only until shipping has sent it.
//!
//! [`posix_fallocate`]: https://pubs.opengroup.org/onlinepubs/9799919799/functions/posix_fallocate.html

pub mod config;
mod folder;
mod format;
pub mod fs;
pub mod mapping;
pub(crate) mod metrics;
mod quarantine;
pub(crate) mod reader;
mod recovery;
mod segment;
mod set;
pub(crate) mod state;
mod upkeep;
mod writer;

pub use config::SpoolConfig;
pub use set::{OpenError, SpoolReport, SpoolSet};
pub use writer::{Appended, Durability, Slot, Writer};

#[cfg(test)]
mod tests;
