//! Clients of HTTP/2 that ask for nothing, frame by frame: each is sent away or costs next to nothing, and others are
//! served meanwhile.

use crate::harness::{eventually, path};
use crate::http2_client::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, Http2, PING, PRIORITY, RST_STREAM,
    Raw, SETTINGS, WINDOW_UPDATE, block, frame, get, reason, request,
};
use crate::tls::Tls;
use h2::Reason;
use http::Method;
use std::time::{Duration, Instant};

/// Rounds of a flood: it must be over before.
const ROUNDS: u32 = 1000;
/// `SETTINGS_INITIAL_WINDOW_SIZE` of nothing: pages are asked for and not taken.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

/// One GET that is answered, so that what ends the connection is not that nothing was asked.
fn opened(tls: &Tls, settings: &[u8]) -> Raw {
    let mut raw = Raw::connect(tls, settings);
    raw.write(&get(1, &path(1)));
    assert!(raw.until(HEADERS, 1).is_some());
    raw
}

/// Floods an edge, `make` giving the bytes of a round and the stream it may use; a good client is served meanwhile.
/// Gives the reason the flood was ended for, when it was said in time, and what the edge counted.
#[track_caller]
fn flood(settings: &[u8], make: impl Fn(u32) -> Vec<u8>) -> (Option<Reason>, u64, u64) {
    let tls = Tls::start();
    let mut good = Http2::connect(&tls);
    let mut raw = opened(&tls, settings);
    let started = Instant::now();
    for round in 0..ROUNDS {
        raw.write(&make(3 + 2 * round));
        if round % 200 == 0 {
            assert_eq!(good.get(&path(1)).status, 302);
        }
    }
    let said = reason(&raw.rest());
    assert!(started.elapsed() < Duration::from_secs(9), "that was no deadline: {:?}", started.elapsed());
    assert_eq!(good.get(&path(1)).status, 302, "others are served as before");
    assert_eq!(tls.edge.get(&path(1)).status, 302, "and without TLS");
    assert_eq!(tls.edge.metric("edge_connections_timed_out_total"), 0);
    assert_eq!(tls.edge.metric("edge_panics_total"), 0);
    let refused = tls.edge.metric("edge_responses_total{answer=\"refused\"}");
    (said, tls.edge.metric("edge_http2_floods_total"), refused)
}

/// Ended for what it is.
#[track_caller]
fn is_flood(settings: &[u8], make: impl Fn(u32) -> Vec<u8>) {
    let (said, floods, _) = flood(settings, make);
    assert!(matches!(said, None | Some(Reason::ENHANCE_YOUR_CALM)), "{said:?}");
    assert_eq!(floods, 1);
}

/// Ended because no client may send it.
#[track_caller]
fn is_nonsense(settings: &[u8], make: impl Fn(u32) -> Vec<u8>) {
    let (said, floods, refused) = flood(settings, make);
    assert!(said != Some(Reason::NO_ERROR), "{said:?}");
    assert_eq!((floods, refused), (0, 1));
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8u32.to_be_bytes())
}

#[test]
fn f57_rapid_reset() {
    is_flood(&[], |stream| [get(stream, &path(1)), reset(stream)].concat());
}

#[test]
fn f57_rapid_reset_of_pages_nobody_takes() {
    is_flood(NO_WINDOW, |stream| [get(stream, "/"), reset(stream)].concat());
}

#[test]
fn f57_made_you_reset_by_a_window_that_grows_by_nothing() {
    is_nonsense(NO_WINDOW, |stream| [get(stream, "/"), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat());
}

#[test]
fn f57_made_you_reset_by_a_window_too_large() {
    let much = (u32::MAX >> 1).to_be_bytes();
    is_flood(&[], |stream| {
        let update = frame(WINDOW_UPDATE, 0, stream, &much);
        // Open until its body has come: the window is that of the answer.
        let open = frame(HEADERS, END_HEADERS, stream, &block("GET", "/", &[]));
        [open, update.clone(), update].concat()
    });
}

#[test]
fn f57_made_you_reset_by_a_stream_that_depends_on_itself() {
    is_flood(NO_WINDOW, |stream| {
        let itself = [&stream.to_be_bytes()[..], &[0]].concat();
        [get(stream, "/"), frame(PRIORITY, 0, stream, &itself)].concat()
    });
}

#[test]
fn f57_made_you_reset_by_a_priority_of_a_wrong_length() {
    is_nonsense(NO_WINDOW, |stream| [get(stream, "/"), frame(PRIORITY, 0, stream, &[0; 4])].concat());
}

#[test]
fn f57_made_you_reset_by_data_after_the_end() {
    is_nonsense(NO_WINDOW, |stream| [get(stream, "/"), frame(DATA, 0, stream, b"more")].concat());
}

#[test]
fn f57_made_you_reset_by_headers_after_the_end() {
    is_nonsense(NO_WINDOW, |stream| [get(stream, "/"), get(stream, "/")].concat());
}

#[test]
fn f57_made_you_reset_by_headers_that_are_malformed() {
    is_flood(&[], |stream| {
        let block = block("GET", "/", &[("transfer-encoding", "chunked")]);
        frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
    });
}

#[test]
fn f57_bodies_of_requests_that_take_none() {
    is_flood(&[], |stream| {
        let post = frame(HEADERS, END_HEADERS, stream, &block("POST", &path(1), &[]));
        [post, frame(DATA, 0, stream, b"x"), frame(DATA, 0, stream, b"")].concat()
    });
}

#[test]
fn f57_streams_that_are_never_ended() {
    // Each is answered and reset: nothing of it stays.
    is_flood(&[], |stream| frame(HEADERS, END_HEADERS, stream, &block("GET", &path(1), &[])));
}

#[test]
fn f57_continuations() {
    // The second is a field, over and over.
    for piece in [&b""[..], b"\x90"] {
        is_flood(&[], |round| match round {
            3 => frame(HEADERS, END_STREAM, 3, &[0x82]),
            _ => frame(CONTINUATION, 0, 3, piece),
        });
    }
}

#[test]
fn f57_header_blocks_in_many_pieces() {
    is_flood(&[], |stream| {
        let block = block("GET", &path(1), &[]);
        let pieces = block.chunks(block.len().div_ceil(5)).collect::<Vec<_>>();
        let (first, rest) = pieces.split_first().unwrap();
        let mut frames = frame(HEADERS, END_STREAM, stream, first);
        for piece in rest {
            frames.extend(frame(CONTINUATION, 0, stream, piece));
        }
        [frames, frame(CONTINUATION, END_HEADERS, stream, &[])].concat()
    });
}

#[test]
fn f57_pings() {
    is_flood(&[], |_| frame(PING, 0, 0, b"01234567"));
}

#[test]
fn f57_pings_nobody_asked_for() {
    is_flood(&[], |_| frame(PING, ACK, 0, b"01234567"));
}

#[test]
fn f57_settings() {
    is_flood(&[], |_| frame(SETTINGS, 0, 0, &[]));
}

#[test]
fn f57_settings_that_move_every_window() {
    is_flood(&[], |round| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, (round % 2) as u8, 0]));
}

#[test]
fn f57_priorities() {
    is_flood(&[], |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 0]));
}

#[test]
fn f57_window_updates() {
    is_flood(&[], |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()));
}

#[test]
fn f57_resets_of_what_is_over() {
    is_flood(&[], |_| reset(1));
}

#[test]
fn f57_frames_nobody_knows() {
    is_flood(&[], |_| frame(0xbe, 0, 0, b""));
}

#[test]
fn f57_empty_and_small_data() {
    for data in [&b""[..], b"x"] {
        is_flood(&[], |stream| match stream {
            3 => frame(HEADERS, END_HEADERS, 3, &block("POST", &path(1), &[("content-length", "100000")])),
            _ => frame(DATA, 0, 3, data),
        });
    }
}

#[test]
fn f57_heads_that_are_too_large() {
    let large = "x".repeat(15_900);
    let head = |stream| {
        let block = block("GET", &path(1), &[("x-large", &large), ("x-more", &large)]);
        let (first, rest) = block.split_at(16_000);
        [frame(HEADERS, END_STREAM, stream, first), frame(CONTINUATION, END_HEADERS, stream, rest)].concat()
    };
    let tls = Tls::start();
    let mut raw = opened(&tls, &[]);
    raw.write(&[head(3), get(5, &path(1))].concat());
    let refused = raw.until(HEADERS, 3).unwrap();
    // 431 as a literal, of which the digits are in Huffman's code or are not.
    assert_eq!(refused.payload[0] & 0xbf, 0x08, "{refused:?}");
    assert!(raw.until(HEADERS, 5).is_some(), "the connection goes on");
    assert_eq!(tls.edge.shipped(2).len(), 2);
    is_flood(&[], head);
}

#[test]
fn f57_a_bomb_of_headers() {
    // One large field goes into the table, and is then named by a byte, thousands of times.
    let (said, floods, _) = flood(&[], |round| {
        let large = "x".repeat(4000);
        let mut block = block("GET", &path(1), &[]);
        if round == 3 {
            block.push(0x40);
            block.extend(crate::http2_client::text(b"x-large"));
            block.extend(crate::http2_client::text(large.as_bytes()));
        }
        block.extend(vec![0xbe; 4000]);
        frame(HEADERS, END_STREAM | END_HEADERS, round, &block)
    });
    assert!(matches!(said, None | Some(Reason::ENHANCE_YOUR_CALM)), "{said:?}");
    assert_eq!(floods, 1);
}

#[test]
fn f57_streams_run_out() {
    let tls = Tls::start();
    let mut raw = opened(&tls, &[]);
    raw.write(&get(u32::MAX >> 1, &path(1)));
    assert!(raw.until(HEADERS, u32::MAX >> 1).is_some(), "the last one there is");
    raw.write(&get(3, &path(1)));
    let said = reason(&raw.rest());
    assert!(matches!(said, None | Some(Reason::PROTOCOL_ERROR | Reason::STREAM_CLOSED)), "{said:?}");
    assert_eq!(tls.edge.shipped(2).len(), 2);
}

#[test]
fn f57_pages_that_are_not_taken_are_few_and_given_up_within_ten_seconds() {
    let tls = Tls::start();
    let mut good = Http2::connect(&tls);
    let mut raw = opened(&tls, NO_WINDOW);
    raw.stream.sock.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let started = Instant::now();
    for stream in 0..128 {
        raw.write(&get(3 + 2 * stream, "/"));
    }
    for stream in 0..128 {
        assert!(raw.until(HEADERS, 3 + 2 * stream).is_some());
    }
    raw.write(&get(301, &path(1)));
    let refused = raw.until(RST_STREAM, 301).unwrap();
    assert_eq!(refused.payload, 7u32.to_be_bytes(), "refused, to be sent again");
    // One page after all, a byte at a time, and then room for another request; that buys no time.
    raw.write(&frame(WINDOW_UPDATE, 0, 3, &1u32.to_be_bytes()));
    assert_eq!(raw.until(DATA, 3).unwrap().payload, b"<");
    raw.write(&frame(WINDOW_UPDATE, 0, 3, &10_000u32.to_be_bytes()));
    assert!(raw.until(DATA, 3).unwrap().payload.starts_with(b"!doctype html>"));
    raw.write(&get(303, &path(1)));
    assert!(raw.until(HEADERS, 303).is_some(), "an answer without a page needs no window");
    assert_eq!(good.get(&path(1)).status, 302);
    let frames = raw.rest();
    assert_eq!(reason(&frames), Some(Reason::NO_ERROR));
    let took = started.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_millis(11_500)).contains(&took), "{took:?}");
    assert_eq!(tls.edge.metric("edge_connections_timed_out_total"), 1);
}

#[test]
fn f53_a_request_in_pieces_is_given_up_within_five_seconds_whatever_comes_before() {
    let tls = Tls::start();
    let started = Instant::now();
    let mut half = opened(&tls, &[]);
    half.write(&frame(HEADERS, END_STREAM, 3, &[0x82]));
    let mut silent = Raw::connect(&tls, &[]);
    silent.write(&frame(PING, 0, 0, b"01234567"));
    for raw in [half, silent] {
        assert_eq!(reason(&raw.rest()), Some(Reason::NO_ERROR));
    }
    assert!(started.elapsed() < Duration::from_millis(5_900), "{:?}", started.elapsed());
    eventually("counted", || tls.edge.metric("edge_connections_timed_out_total") == 2);
}

#[test]
fn a_connection_that_rests_is_ended_whatever_it_sends_but_requests() {
    // Nearly full: who rests has a second.
    let tls = Tls::start_flags(&["--threads", "1", "--connections", "5"]);
    let mut raws: Vec<_> = (0..4).map(|_| opened(&tls, &[])).collect();
    let mut busy = raws.remove(0);
    for number in 0u32..40 {
        busy.write(&[frame(PING, 0, 0, b"01234567"), get(2 * number + 3, &path(1))].concat());
        assert!(busy.until(HEADERS, 2 * number + 3).is_some(), "who asks is served: {number}");
        for raw in &mut raws {
            raw.write(&frame(PING, 0, 0, b"01234567"));
        }
        if tls.edge.metric("edge_connections_timed_out_total") >= 3 {
            break;
        }
        std::thread::park_timeout(Duration::from_millis(60));
    }
    for raw in raws {
        let frames = raw.rest();
        assert!(frames.iter().any(|frame| frame.kind == GOAWAY), "{frames:?}");
        assert_eq!(reason(&frames), Some(Reason::NO_ERROR));
    }
}

#[test]
fn f57_many_floods_at_once_hold_nobody_up() {
    let tls = Tls::start();
    let mut good = Http2::connect(&tls);
    let slowest = std::thread::scope(|scope| {
        let floods: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let mut raw = opened(&tls, &[]);
                        for round in 0..ROUNDS {
                            raw.write(&[get(3 + 2 * round, &path(1)), reset(3 + 2 * round)].concat());
                        }
                        raw.rest();
                    }
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        while floods.iter().any(|flood| !flood.is_finished()) {
            let asked = Instant::now();
            assert_eq!(good.ask(request(Method::GET, &path(1))).unwrap().status, 302);
            slowest = slowest.max(asked.elapsed());
        }
        for flood in floods {
            flood.join().unwrap();
        }
        slowest
    });
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert_eq!(tls.edge.metric("edge_http2_floods_total"), 40);
}
