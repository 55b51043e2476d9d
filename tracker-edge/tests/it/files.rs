//! Lists and databases an operator puts anew while the edge runs.

use crate::harness::{Process, Publisher, TestEdge, eventually, link, metric_in, path, raw};
use crate::ship_redis::shared_url;
use ipnet::IpNet;
use mmdb_writer::{Value, Writer};
use shared::LinkRecord;
use std::path::Path;
use std::process::Command;

/// Puts a file in the place of another, as an operator should: at once and whole.
fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

fn country_database(code: &str) -> Vec<u8> {
    let mut writer = Writer::new("Test-Country");
    let record = Value::map([("country", Value::map([("iso_code", Value::from(code))]))]);
    writer.insert_value("127.0.0.0/8".parse::<IpNet>().unwrap(), record).unwrap();
    writer.to_bytes().unwrap()
}

#[test]
fn a_country_database_is_optional_and_followed() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("countries.mmdb");
    put(&database, country_database("DE"));
    let edge = TestEdge::start_with(&["--geoip-db", database.to_str().unwrap()]);
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    let loads = || edge.metric("edge_file_loads_total{file=\"countries\"}");
    assert_eq!((edge.get(&path(1)).status, loads()), (302, 1));
    put(&database, country_database("FR"));
    eventually("the new one is in force", || loads() == 2);
    edge.get(&path(1));
    put(&database, &country_database("NL")[..60]);
    eventually("the damaged one is refused", || edge.metric("edge_file_stale{file=\"countries\"}") == 1);
    edge.get(&path(1));
    let mut countries: Vec<_> = edge.shipped(3).into_iter().map(|click| click.country).collect();
    countries.sort_unstable();
    assert_eq!(countries, ["DE", "FR", "FR"]);
}

#[test]
fn a_new_list_of_user_agents_counts_from_the_next_click() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("user-agents.json");
    put(&list, r#"[{"pattern":"ShopSeer","tags":["social-preview"]}]"#);
    let edge = TestEdge::start_with(&["--user-agents", list.to_str().unwrap()]);
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    let click = || assert_eq!(edge.get_with(&path(1), &["User-Agent: ShopSeer/2"]).status, 302);
    let loads = || edge.metric("edge_file_loads_total{file=\"user_agents\"}");
    let class = |class: &str| edge.metric(&format!("edge_clicks_total{{class=\"{class}\"}}"));
    click();
    assert_eq!((class("preview"), loads()), (1, 1));
    put(&list, r#"[{"pattern":"ShopSeer","class":"scanner"}]"#);
    eventually("the new list is in force", || loads() == 2);
    click();
    assert_eq!(class("scanner"), 1);
    for (failures, bad) in [(1, "[{"), (2, r#"[{"pattern":"Instagram","tags":["social-preview"]}]"#)] {
        put(&list, bad);
        let failed = || edge.metric("edge_file_failures_total{file=\"user_agents\"}");
        eventually("a bad list is noticed", || failed() == failures);
        click();
    }
    assert_eq!((class("scanner"), loads()), (3, 2));
    assert_eq!(edge.metric("edge_file_stale{file=\"user_agents\"}"), 1);
}

#[test]
fn a_hangup_reads_the_files_and_ends_nothing() {
    let publisher = Publisher::new(&shared_url());
    publisher.set_epoch("first");
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("user-agents.json");
    put(&list, r#"[{"pattern":"ShopSeer"}]"#);
    let flags = ["--user-agents", list.to_str().unwrap()];
    let edge = Process::start(&publisher, &folder.path().join("spool"), &flags);
    let metrics =
        || raw(edge.admin, b"GET /metrics HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n").body;
    let loads = || metric_in(&metrics(), "edge_file_loads_total{file=\"user_agents\"}");
    assert_eq!(loads(), 1);
    let sent = Command::new("kill").args(["-HUP", &edge.child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    eventually("the same file is read once more", || loads() == 2);
}
