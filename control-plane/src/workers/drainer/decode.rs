//! From the bytes of a stream entry to what can be done with it. Pure; every version this build knows.

use shared::frame::{self, Frame, FrameError, Peek};

/// An entry, read.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// A frame.
    Frame(Frame<'a>),
    /// A frame of a later format: left where it is for a build that knows it.
    Unknown(u8),
    /// Damaged on the way: the edge has the good one and sends it again.
    Damaged(Option<Peek>),
    /// What the edge wrote, and would send again, but breaks the format.
    Malformed(Option<Peek>, FrameError),
    /// No frame at all.
    Foreign,
}

/// Reads an entry's bytes.
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    match frame::decode(bytes) {
        Ok(frame) => Decoded::Frame(frame),
        Err(FrameError::UnknownVersion(version)) => Decoded::Unknown(version),
        Err(FrameError::Magic) => Decoded::Foreign,
        Err(FrameError::Checksum) => Decoded::Damaged(frame::peek(bytes)),
        Err(error @ FrameError::Layout(_)) => Decoded::Malformed(frame::peek(bytes), error),
    }
}
