//! `seeds FOLDER`: writes the inputs each target begins with, below FOLDER, from what the tests hold golden.

#[path = "../../tracker-edge/tests/corpus/mod.rs"]
#[expect(dead_code, reason = "the tests use what is expected of each")]
mod corpus;

use shared::agent_keys::{self, AgentKey};
use shared::click::push_note;
use shared::frame::{self, FrameHeader};
use shared::{ClassSet, Click, ClickClass, LinkKey, LinkRecord, LinkStatus};
use std::io;
use std::path::{Path, PathBuf};
use uuid::Uuid;

const SEGMENT: &str =
    "tracker-edge/src/clicks/spool/tests/golden/6a09e667f3bcc908b2fb1366ea957d3e-00000002.seg";
/// Signed and forwarded heads are none of the corpus.
const HEADS: [&str; 2] = [
    "GET /api/track/00000000002nUFDa HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nX-Forwarded-For: ::ffff:127.0.0.1\r\nSec-Purpose: prefetch\r\n\r\n",
    "GET /api/track/00000000002nUFDa?a=b HTTP/1.1\r\nHost: a\r\nSignature-Agent: \"https://agent.example\"\r\nSignature-Input: sig=(\"@authority\" \"@method\" \"@path\" \"@query\" \"signature-agent\");created=1700000000;expires=1700000060;keyid=\"poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U\";alg=\"ed25519\";nonce=\"x\";tag=\"web-bot-auth\"\r\nSignature: sig=:AAAA:\r\n\r\n",
];

/// As most are.
const PLAIN: &str = "GET /api/track/00000000002nUFDa?sub1=b HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nReferer: https://b.example/c\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: keep-alive\r\n\r\n";

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "corpus".to_owned()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let place = folder.join(target);
        std::fs::create_dir_all(&place)?;
        std::fs::write(place.join(name), bytes)
    };
    for (number, case) in corpus::cases("/api/track/00000000002nUFDa").iter().enumerate() {
        // Large ones are large for the sake of their size.
        if case.bytes.len() <= 1024 {
            put("head", &format!("case-{number}"), &case.bytes)?;
            put("fast", &format!("case-{number}"), &case.bytes)?;
            put("fast", &format!("behind-{number}"), &[PLAIN.as_bytes(), &case.bytes].concat())?;
        }
    }
    for (number, head) in HEADS.iter().enumerate() {
        put("head", &format!("head-{number}"), head.as_bytes())?;
        put("fast", &format!("head-{number}"), head.as_bytes())?;
    }
    let links = links();
    for (number, link) in links.iter().enumerate() {
        put("link_record", &format!("link-{number}"), &link.encode())?;
    }
    for clicks in [0, 1, 3] {
        put("frame", &format!("clicks-{clicks}"), &frame_of(clicks))?;
    }
    let key = |n: u8, expires| AgentKey {
        id: agent_keys::thumbprint(&[n; 32]),
        public: [n; 32],
        not_before: i64::MIN,
        expires,
    };
    put("agent_keys", "two", agent_keys::write(&[key(1, 1_800_000_000), key(2, i64::MAX)]).as_bytes())?;
    // Signature, version 2, command and family, length; then addresses and an extension.
    let mut proxy = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x10\xc0\x00\x02\x07\x0a\x00\x00\x01\x30\x39\x01\xbb\x04\x00\x01\x00".to_vec();
    put("proxy_protocol", "v4", &proxy)?;
    proxy[12] = 0x20;
    put("proxy_protocol", "local", &proxy)?;
    // A preface; then SETTINGS, a request, a reset, in pieces of five bytes.
    let http2 = b"\x05PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x03\x01\x05\0\0\0\x01\x82\x87\x84\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08";
    put("http2", "reset", http2)?;
    put("domain_record", "change", &[0, 1, 2, 3])?;
    let snapshot = fuzz::folder().join("links.snapshot");
    tracker_edge::fuzzing::save_snapshot(&snapshot, &links)?;
    put("snapshot", "links", &std::fs::read(&snapshot)?)?;
    let segment = std::fs::read(root.join(SEGMENT))?;
    for kind in [0u8, 0x82, 0xfe] {
        put("spool", &format!("segment-{kind}"), &[&[kind], segment.as_slice()].concat())?;
    }
    Ok(())
}

fn links() -> Vec<LinkRecord<'static>> {
    let link = LinkRecord {
        link: LinkKey(7),
        version: 1,
        status: LinkStatus::Active,
        advertiser: 7,
        program: 8,
        affiliate: 9,
        pay_classes: ClassSet::DEFAULT,
        dedup_seconds: 10,
        click_id_param: "cid",
        has_macros: true,
        destination: "https://shop.example/x?c={click_id}",
    };
    vec![
        LinkRecord { link: LinkKey(1), status: LinkStatus::Gone, destination: "", ..link },
        LinkRecord { link: LinkKey(2), status: LinkStatus::Untracked, click_id_param: "", ..link },
        link,
    ]
}

fn frame_of(clicks: usize) -> Vec<u8> {
    let mut notes = Vec::new();
    push_note(&mut notes, shared::click::note::SUB1, "one");
    let click = |n: usize| Click {
        at_ms: 1_700_000_000_000 + n as i64,
        link: LinkKey(n as u64),
        advertiser: 7,
        visitor: 8,
        class: ClickClass::Human,
        flags: (n % 2) as u8,
        country: *b"DE",
        notes: if n == 1 { &notes } else { &[] },
    };
    let header = FrameHeader {
        spool: Uuid::from_u128(1),
        edge: 2,
        first_seq: 10,
        clock_ms: 1_700_000_000_000,
        lost_before: 3,
        last: clicks == 0,
    };
    let mut bytes = Vec::new();
    frame::encode(&header, &(0..clicks).map(click).collect::<Vec<_>>(), &mut bytes);
    bytes
}
