//! What a connection's HTTP/2 frames cost and earn. Pure: no I/O, nothing of the rest of the crate.
//!
//! Most of what floods an HTTP/2 server is cheap to send, allowed by the protocol and bounded by nothing but the
//! line: resets, PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, frames of unknown kinds. So every connection has
//! a credit. A request earns some, every other frame costs some, and so does every reset that the edge is made to
//! send, whichever way it was made to. What a browser or a proxy sends beside its requests is earned many times over,
//! and a little comes back with time; without requests some hundred frames are the end.
//!
//! Only the nine bytes before each frame are read. They may be split anywhere.

/// What a connection begins with, and has at most.
const CREDIT_MAX: i32 = 512;
/// What comes back with every tick of half a second: two PINGs a second are for nothing.
const CREDIT_PER_TICK: u32 = 4;
/// What a request earns: its page may well be acknowledged by two WINDOW_UPDATE.
const EARNED: i32 = 4;
/// Bytes of a header block in its first frame; a larger one is no request that we would want more of.
const EARNING_LEN_MAX: u32 = 4096;
/// Bytes a client says before its first frame.
const PREFACE_LEN: u32 = 24;
const HEAD_LEN: usize = 9;
const END_HEADERS: u8 = 0x4;

/// The frames of RFC 9113.
mod kind {
    pub(super) const DATA: u8 = 0;
    pub(super) const HEADERS: u8 = 1;
    pub(super) const PRIORITY: u8 = 2;
    pub(super) const RST_STREAM: u8 = 3;
    pub(super) const SETTINGS: u8 = 4;
    pub(super) const PING: u8 = 6;
    pub(super) const WINDOW_UPDATE: u8 = 8;
    pub(super) const CONTINUATION: u8 = 9;
}

/// What stands before each frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    len: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

impl Head {
    const fn read(bytes: [u8; HEAD_LEN]) -> Self {
        Self {
            len: u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]),
            kind: bytes[3],
            flags: bytes[4],
            // The first bit means nothing.
            stream: u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) & (u32::MAX >> 1),
        }
    }
}

/// One direction of a connection, cut into frames.
#[derive(PartialEq, Eq, Debug)]
struct Frames {
    /// Bytes to come that are no part of a head.
    skip: u32,
    head: [u8; HEAD_LEN],
    have: usize,
}

impl Frames {
    const fn new(before: u32) -> Self {
        Self { skip: before, head: [0; HEAD_LEN], have: 0 }
    }

    /// Takes the next bytes. Says `None` where a frame begins, and its head where that ends.
    fn take(&mut self, mut bytes: &[u8], mut seen: impl FnMut(Option<Head>)) {
        loop {
            let skipped = bytes.len().min(self.skip as usize);
            self.skip -= skipped as u32;
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            if self.have == 0 {
                seen(None);
            }
            let room = self.head.get_mut(self.have..).unwrap_or_default();
            let copied = bytes.len().min(room.len());
            let (copy, rest) = bytes.split_at_checked(copied).unwrap_or((bytes, b""));
            room.iter_mut().zip(copy).for_each(|(to, from)| *to = *from);
            self.have += copied;
            bytes = rest;
            if self.have < HEAD_LEN {
                return;
            }
            let head = Head::read(self.head);
            (self.have, self.skip) = (0, head.len);
            seen(Some(head));
        }
    }

    const fn is_whole(&self) -> bool {
        self.have == 0 && self.skip == 0
    }
}

/// What a connection may still send.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Meter {
    received: Frames,
    sent: Frames,
    credit: i32,
    /// The highest stream a request was made on.
    newest: u32,
    /// A header block goes on in the next frame.
    in_block: bool,
    /// When the frame or header block that comes began.
    began: u32,
    /// When credit came back last.
    counted: u32,
}

impl Meter {
    /// For a connection that begins at this tick.
    pub(crate) const fn new(tick: u32) -> Self {
        Self {
            received: Frames::new(PREFACE_LEN),
            sent: Frames::new(0),
            credit: CREDIT_MAX,
            newest: 0,
            in_block: false,
            began: tick,
            counted: tick,
        }
    }

    /// Counts what the client sent.
    pub(crate) fn received(&mut self, bytes: &[u8], tick: u32) {
        let back = tick.wrapping_sub(self.counted).saturating_mul(CREDIT_PER_TICK);
        self.counted = tick;
        self.credit = self.credit.saturating_add(back.min(CREDIT_MAX as u32) as i32).min(CREDIT_MAX);
        let Self { received, credit, newest, in_block, began, .. } = self;
        received.take(bytes, |seen| match seen {
            None if *in_block => {}
            None => *began = tick,
            Some(head) => {
                if matches!(head.kind, kind::HEADERS | kind::CONTINUATION) {
                    *in_block = head.flags & END_HEADERS == 0;
                }
                let is_request = head.kind == kind::HEADERS && head.stream > *newest;
                *newest = if is_request { head.stream } else { *newest };
                let change =
                    if is_request && head.len <= EARNING_LEN_MAX { EARNED } else { -cost(head.kind) };
                *credit = credit.saturating_add(change).min(CREDIT_MAX);
            }
        });
    }

    /// Counts what it was sent.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let Self { sent, credit, .. } = self;
        sent.take(bytes, |seen| {
            if seen.is_some_and(|head| head.kind == kind::RST_STREAM) {
                *credit = credit.saturating_sub(cost(kind::RST_STREAM));
            }
        });
    }

    /// Whether it has sent too much that is of no use.
    pub(crate) const fn is_flood(&self) -> bool {
        self.credit < 0
    }

    /// When the frame or header block began of which the end has not come yet; `None` between two of them.
    pub(crate) const fn unfinished(&self) -> Option<u32> {
        if self.in_block || !self.received.is_whole() { Some(self.began) } else { None }
    }
}

/// What a frame costs that is no request.
const fn cost(kind: u8) -> i32 {
    match kind {
        kind::PRIORITY | kind::WINDOW_UPDATE => 1,
        // Nothing we serve takes a body.
        kind::DATA => 2,
        // A second one on a stream, or a very large one; and what is made of many pieces.
        kind::HEADERS | kind::CONTINUATION | kind::PING => 4,
        kind::RST_STREAM | kind::SETTINGS => 8,
        // Of kinds that nobody knows, clients send a few to see that they are ignored.
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn request(stream: u32) -> Vec<u8> {
        frame(kind::HEADERS, END_HEADERS | 1, stream, &[0x82, 0x87])
    }

    fn opened() -> Meter {
        let mut meter = Meter::new(0);
        meter.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0);
        meter
    }

    #[test]
    fn f57_every_kind_of_frame_without_requests_is_a_flood_within_a_thousand() {
        for kind in (0..=u8::MAX).filter(|kind| *kind != kind::HEADERS) {
            let mut meter = opened();
            let frames = (1..=1000).find(|_| {
                meter.received(&frame(kind, END_HEADERS, 1, &[0; 4]), 0);
                meter.is_flood()
            });
            assert!(frames.is_some_and(|frames| frames > 60), "{kind}: {frames:?}");
        }
    }

    #[test]
    fn f57_resets_cost_more_than_their_requests_earn_whoever_sends_them() {
        let reset = |stream| frame(kind::RST_STREAM, 0, stream, &[0; 4]);
        for by_client in [true, false] {
            let mut meter = opened();
            let requests = (0..1000).find(|number| {
                let stream = 2 * number + 1;
                meter.received(&request(stream), 0);
                if by_client {
                    meter.received(&reset(stream), 0);
                } else {
                    meter.sent(&reset(stream));
                }
                meter.is_flood()
            });
            assert!(requests.is_some(), "{by_client}");
        }
    }

    #[test]
    fn a_stream_earns_once_and_large_header_blocks_earn_nothing() {
        let mut meter = opened();
        (0..1000).for_each(|_| meter.received(&request(1), 0));
        assert!(meter.is_flood(), "headers again and again");
        let mut meter = opened();
        for number in 0..1000 {
            meter.received(&frame(kind::HEADERS, END_HEADERS, 2 * number + 1, &[0; 5000]), 0);
        }
        assert!(meter.is_flood(), "large ones");
    }

    #[test]
    fn what_browsers_and_proxies_send_is_no_flood() {
        let mut meter = opened();
        meter.received(&frame(kind::SETTINGS, 0, 0, &[0; 18]), 0);
        meter.received(&frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), 0);
        (3..13).for_each(|stream| meter.received(&frame(kind::PRIORITY, 0, stream, &[0; 5]), 0));
        for number in 0..100_000 {
            let stream = 2 * number + 13;
            meter.received(&request(stream), 0);
            // A page: what it took of both windows is given back.
            meter.received(&frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), 0);
            meter.received(&frame(kind::WINDOW_UPDATE, 0, stream, &[0; 4]), 0);
            if number % 10 == 0 {
                // Go's client asks whether anybody is there when it cancels.
                meter.received(&frame(kind::RST_STREAM, 0, stream, &[0; 4]), 0);
                meter.received(&frame(kind::PING, 0, 0, &[0; 8]), 0);
            }
            assert!(!meter.is_flood(), "{number}");
        }
        // A connection that is only kept alive.
        for second in 0..10_000 {
            meter.received(&frame(kind::PING, 0, 0, &[0; 8]), 2 * second);
            assert!(!meter.is_flood(), "{second}");
        }
    }

    #[test]
    fn what_is_unfinished_is_known_since_it_began() {
        let mut meter = Meter::new(3);
        assert_eq!(meter.unfinished(), Some(3), "the preface");
        meter.received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 4);
        assert_eq!(meter.unfinished(), None);
        let request = request(1);
        let (first, second) = request.split_at(4);
        meter.received(first, 5);
        assert_eq!(meter.unfinished(), Some(5));
        meter.received(second, 6);
        assert_eq!(meter.unfinished(), None);
        meter.received(&frame(kind::HEADERS, 0, 3, &[]), 7);
        meter.received(&frame(kind::CONTINUATION, 0, 3, &[0x82]), 8);
        assert_eq!(meter.unfinished(), Some(7), "a header block is one thing, whatever it is made of");
        meter.received(&frame(kind::CONTINUATION, END_HEADERS, 3, &[]), 9);
        assert_eq!(meter.unfinished(), None);
        // The second half of one and the first of the next: the next is what has not come whole.
        meter.received(&[0, 0, 8, kind::PING], 10);
        meter.received(&[&[0; 13][..], &[0, 0, 8]].concat(), 20);
        assert_eq!(meter.unfinished(), Some(20));
    }

    /// Heads as somebody reads them who has everything at once.
    fn at_once(mut bytes: &[u8]) -> Vec<Head> {
        let mut heads = Vec::new();
        while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() {
            let head = Head::read(*head);
            bytes = rest.get(head.len as usize..).unwrap_or_default();
            heads.push(head);
        }
        heads
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(
            frames in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u32>(), 0usize..40), 0..20),
            cuts in proptest::collection::vec(1usize..30, 1..50),
            tail in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let mut bytes: Vec<u8> =
                frames.iter().flat_map(|(kind, flags, stream, len)| frame(*kind, *flags, *stream, &vec![7; *len])).collect();
            bytes.extend(tail);
            let (mut whole, mut heads) = (Frames::new(0), Vec::new());
            whole.take(&bytes, |seen| heads.extend(seen));
            prop_assert_eq!(&heads, &at_once(&bytes));
            let (mut cut, mut found, mut begun) = (Frames::new(0), Vec::new(), 0);
            let (mut rest, mut sizes) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                cut.take(part, |seen| match seen {
                    Some(head) => found.push(head),
                    None => begun += 1,
                });
                rest = after;
            }
            prop_assert_eq!(&found, &heads);
            prop_assert_eq!((cut.skip, cut.have), (whole.skip, whole.have));
            prop_assert_eq!(begun, found.len() + usize::from(cut.have > 0));
        }
    }

    #[test]
    fn a_connection_may_be_cut_at_every_byte() {
        let bytes =
            [frame(kind::PING, 0, 0, &[0; 8]), request(1), frame(kind::DATA, 0, 1, b"hello")].concat();
        for cut in 0..=bytes.len() {
            let (mut frames, mut heads) = (Frames::new(0), Vec::new());
            frames.take(&bytes[..cut], |seen| heads.extend(seen));
            frames.take(&bytes[cut..], |seen| heads.extend(seen));
            assert_eq!((heads, frames.is_whole()), (at_once(&bytes), true), "{cut}");
        }
    }
}
