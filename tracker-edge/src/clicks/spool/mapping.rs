//! A mapped segment, as words. The only unsafe code of the hot path is in this file.
//!
//! Everything in a mapping is read and written as `AtomicU64`: a record is stored with relaxed words and
//! its commit word last with release, so that two threads on one segment are never a data race. On the
//! machines we run on, these are plain moves.
//!
//! Must stay true: a file is mapped at its full length, that length has been allocated, and nobody shortens
//! it while it is mapped. Only then does a store never raise SIGBUS. Recovery shortens files, before it
//! or anyone else maps them.

use memmap2::{Advice, MmapOptions, MmapRaw};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;

/// A file mapped shared and writable.
#[derive(Debug)]
pub struct Mapping {
    map: MmapRaw,
    words: usize,
}

impl Mapping {
    /// Maps `len` bytes of a file that has them all allocated.
    pub(super) fn new(file: &File, len: usize) -> io::Result<Self> {
        if file.metadata()?.len() < len as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "file is shorter than its mapping"));
        }
        let map = MmapOptions::new().len(len).map_raw(file)?;
        Ok(Self { map, words: len / 8 })
    }

    /// Makes every page present and writable now, so that no later store waits for one.
    ///
    /// Kernels before 5.14 don't know how; there the first store to a page takes about 1 µs longer.
    pub(super) fn populate(&self) -> io::Result<()> {
        match self.map.advise(Advice::PopulateWrite) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
            done => done,
        }
    }

    /// The mapped words.
    #[expect(unsafe_code, reason = "shared memory becomes a slice of atomics here and nowhere else")]
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping starts at a page")]
    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, hence aligned for `AtomicU64`, `words * 8` bytes long, and
        // lives as long as `self`, which the slice borrows. Every access in this process goes through
        // this function, hence is atomic; `AtomicU64` allows any bit pattern and any other writer.
        unsafe { std::slice::from_raw_parts(self.map.as_mut_ptr().cast::<AtomicU64>(), self.words) }
    }

    /// Writes the first `len` bytes to the disk and waits for it.
    pub(super) fn sync(&self, len: usize) -> io::Result<()> {
        self.map.flush_range(0, len.min(self.words * 8))
    }
}

/// Gives a file all its disk blocks now, or fails: a store into a hole of a full disk would be SIGBUS.
#[expect(unsafe_code, reason = "the standard library cannot allocate a file's blocks")]
pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(io::Error::other)?;
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed; the call touches no memory.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}
