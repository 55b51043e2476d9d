//! AI agents that sign, by a public package, and an edge that knows their key or does not.

use crate::harness::{Reply, TestEdge, eventually, link, path};
use redis::Commands;
use shared::LinkRecord;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

/// The public test key of RFC 9421, which `peers/agents/sign.mjs` signs with.
const DIRECTORY: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}]}"#;
const ORIGIN: &[&str] = &["--tracking-origin", "https://go.example,https://t.example"];
const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0";

/// Headers of signed requests to a path of ours.
fn sign(path: &str, count: usize, signature_agent: Option<&str>) -> Vec<Vec<String>> {
    let peers = std::env::var_os("AOS_TEST_PEERS").expect("run `cargo xtask test`");
    let peers = PathBuf::from(peers);
    let signed = Command::new(peers.join(".venv/bin/node"))
        .arg(peers.join("agents/sign.mjs"))
        .args([&format!("https://t.example{path}"), &count.to_string()])
        .args(signature_agent)
        .output()
        .unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    let requests: Vec<BTreeMap<String, String>> = serde_json::from_slice(&signed.stdout).unwrap();
    let lines = |headers: BTreeMap<String, String>| {
        headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    };
    requests.into_iter().map(lines).collect()
}

fn send(edge: &TestEdge, path: &str, user_agent: &str, signed: &[String]) -> Reply {
    let mut headers = vec![user_agent];
    headers.extend(signed.iter().map(String::as_str));
    let reply = edge.get_with(path, &headers);
    assert_eq!((reply.status, reply.location()), (302, "https://shop.example/"), "{reply:?}");
    reply
}

fn classes(edge: &TestEdge, count: usize) -> Vec<&'static str> {
    let mut classes: Vec<_> = edge.shipped(count).iter().map(|click| click.class).collect();
    classes.sort_unstable();
    classes
}

fn verdicts(edge: &TestEdge, verdict: &str) -> u64 {
    edge.metric(&format!("edge_agent_signatures_total{{verdict=\"{verdict}\"}}"))
}

#[test]
fn a_signature_made_by_a_public_package_makes_a_verified_agent_once() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("agents.json");
    std::fs::write(&keys, DIRECTORY).unwrap();
    let edge = TestEdge::start_with(&[ORIGIN, &["--agent-keys", keys.to_str().unwrap()]].concat());
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    let plain = sign(&path(1), 2, None);
    let named = sign(&path(1), 1, Some("\"https://agent.test\""));
    send(&edge, &path(1), BROWSER, &plain[0]);
    send(&edge, &path(1), "User-Agent: curl/8.5.0", &named[0]);
    // A search engine that signs is still one.
    send(&edge, &path(1), "User-Agent: Mozilla/5.0 (compatible; bingbot/2.0)", &plain[1]);
    assert_eq!(classes(&edge, 3), ["agent_verified", "agent_verified", "crawler"]);
    assert_eq!(verdicts(&edge, "verified"), 3);
    // Repeated, forged, signed for another site, nonsense: the click is what it would be unsigned.
    send(&edge, &path(1), BROWSER, &plain[0]);
    assert_eq!(verdicts(&edge, "repeated"), 1);
    let mut forged = named[0].clone();
    let agent = forged.iter_mut().find(|line| line.starts_with("Signature-Agent")).unwrap();
    *agent = agent.replace("agent.test", "other.test");
    send(&edge, &path(1), BROWSER, &forged);
    send(&edge, &path(1), BROWSER, &["Signature-Input: ((".to_owned()]);
    assert_eq!(verdicts(&edge, "invalid"), 2);
    assert_eq!(classes(&edge, 6), ["agent_verified", "agent_verified", "crawler", "human", "human", "human"]);
    // Looking is not clicking.
    let head = edge.send("HEAD", &path(1), &plain[1].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(head.status, 302);
    assert_eq!((verdicts(&edge, "verified"), verdicts(&edge, "repeated")), (3, 1));
}

#[test]
fn keys_come_and_go_while_the_edge_runs() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("agents.json");
    let edge = TestEdge::start_with(&[ORIGIN, &["--agent-keys", keys.to_str().unwrap()]].concat());
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    let signed = sign(&path(1), 3, None);
    let stale = || edge.metric("edge_file_stale{file=\"agent_keys\"}");
    // The file is missing: the edge serves and says so.
    assert_eq!(stale(), 1);
    send(&edge, &path(1), BROWSER, &signed[0]);
    assert_eq!(verdicts(&edge, "unknown_key"), 1);
    std::fs::write(&keys, DIRECTORY).unwrap();
    eventually("the key is known", || edge.metric("edge_agent_keys") == 1);
    assert_eq!(stale(), 0);
    send(&edge, &path(1), BROWSER, &signed[0]);
    assert_eq!(verdicts(&edge, "verified"), 1);
    std::fs::write(&keys, "{\"keys\":").unwrap();
    eventually("the file is known to be bad", || stale() == 1);
    send(&edge, &path(1), BROWSER, &signed[1]);
    assert_eq!(verdicts(&edge, "verified"), 2, "the keys before stay");
    std::fs::write(&keys, "{\"keys\":[]}").unwrap();
    eventually("the key is taken back", || edge.metric("edge_agent_keys") == 0);
    send(&edge, &path(1), BROWSER, &signed[2]);
    assert_eq!(verdicts(&edge, "unknown_key"), 2);
    assert_eq!(classes(&edge, 4), ["agent_verified", "agent_verified", "human", "human"]);
}

#[test]
fn keys_published_by_the_control_plane_are_known() {
    let publisher = crate::harness::Publisher::new(&crate::ship_redis::shared_url());
    publisher.set_epoch("first");
    let () = publisher.connection().set(publisher.keys.agent_keys(), DIRECTORY).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let edge = TestEdge::start_on(publisher, &crate::ship_redis::shared_url(), folder, ORIGIN);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    eventually("the key is known", || edge.metric("edge_agent_keys") == 1);
    send(&edge, &path(1), BROWSER, &sign(&path(1), 1, None)[0]);
    assert_eq!(classes(&edge, 1), ["agent_verified"]);
}
