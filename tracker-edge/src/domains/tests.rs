//! Hosts, versions, limits, and what survives on disk.

use super::*;
use shared::domain_record::Certificate;
use tempfile::TempDir;

fn domains(folder: &TempDir) -> Arc<Domains> {
    let secret = Secret::parse(&"5a".repeat(32)).unwrap();
    let own = [Origin::parse("https://go.example").unwrap()];
    Domains::new(&secret, Keys::new(""), folder.path().join(snapshot::FILE), &own)
}

fn record(host: &str, owner: u32, version: u64) -> DomainRecord {
    DomainRecord { host: host.to_owned(), owner, version, removed: false, certificate: None }
}

fn take(domains: &Domains, records: &[DomainRecord], whole: bool) {
    domains.take(records.iter().map(|record| record.encode(&domains.key)).collect(), whole);
}

#[test]
fn a_host_is_found_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let domains = domains(&folder);
    assert_eq!(domains.site(b"shop.example"), Site::Ours);
    take(&domains, &[record("shop.example", 7, 1), record("go.example", 8, 1)], true);
    for host in ["shop.example", "SHOP.example", "shop.example:8443", "Shop.Example.:443", "shop.example."] {
        assert_eq!(domains.site(host.as_bytes()), Site::Of(7), "{host}");
    }
    let long = "a".repeat(300);
    for host in ["", "go.example", "shop.example.evil", "ashop.example", "[::1]:80", &long, "shop", "\u{fc}"]
    {
        assert_eq!(domains.site(host.as_bytes()), Site::Ours, "{host}: no custom domain, or one of ours");
    }
}

#[test]
fn the_newer_record_counts_and_only_a_whole_reading_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let domains = domains(&folder);
    take(&domains, &[record("a.example", 1, 5), record("b.example", 2, 5)], true);
    take(&domains, &[record("a.example", 9, 4)], false);
    assert_eq!(domains.site(b"a.example"), Site::Of(1), "an older one changes nothing");
    take(&domains, &[DomainRecord { removed: true, ..record("a.example", 1, 6) }], false);
    assert_eq!((domains.site(b"a.example"), domains.site(b"b.example")), (Site::Removed, Site::Of(2)));
    take(&domains, &[record("a.example", 3, 7)], true);
    assert_eq!((domains.site(b"a.example"), domains.site(b"b.example")), (Site::Of(3), Site::Ours));
}

#[test]
fn what_cannot_be_read_is_counted_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let domains = domains(&folder);
    let foreign = DomainKey::new(&Secret::parse(&"5b".repeat(32)).unwrap());
    let sound = record("a.example", 1, 1);
    domains.take(vec![b"".to_vec(), sound.encode(&foreign), sound.encode(&domains.key), vec![9; 80]], true);
    assert_eq!(domains.site(b"a.example"), Site::Of(1));
    assert_eq!((domains.shown().unreadable, domains.shown().domains), (3, 1));
    let nonsense =
        Certificate { chain_pem: "none".to_owned(), key_pem: "none".to_owned().into(), not_after_unix: 0 };
    take(&domains, &[DomainRecord { certificate: Some(nonsense), ..record("b.example", 2, 1) }], false);
    for _ in 0..3 {
        assert!(domains.certificate("b.example").is_none());
    }
    assert_eq!(domains.shown().unusable, 1, "looked at once");
    assert_eq!(domains.site(b"b.example"), Site::Of(2));
}

#[test]
fn a_snapshot_holds_everything_sealed_and_a_damaged_one_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let before = domains(&folder);
    let certificate = Certificate {
        chain_pem: "chain".to_owned(),
        key_pem: "very private".to_owned().into(),
        not_after_unix: 5,
    };
    take(&before, &[DomainRecord { certificate: Some(certificate), ..record("a.example", 1, 1) }], true);
    snapshot::save(&before).unwrap();
    let path = folder.path().join(snapshot::FILE);
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(12).any(|window| window == b"very private"));
    let after = domains(&folder);
    snapshot::load(&after);
    assert_eq!(after.site(b"a.example"), Site::Of(1));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        for bad in [&damaged[..], &bytes[..at]] {
            std::fs::write(&path, bad).unwrap();
            let after = domains(&folder);
            snapshot::load(&after);
            assert_eq!(after.site(b"a.example"), Site::Ours, "byte {at}");
        }
    }
}

#[test]
fn thousands_of_domains_come_and_go_without_leaving_anything() {
    let folder = tempfile::tempdir().unwrap();
    let domains = domains(&folder);
    let round = |version: u64| -> Vec<_> {
        (0..2000).map(|number| record(&format!("d{number}.example"), number, version)).collect()
    };
    take(&domains, &round(1), true);
    let bytes = domains.shown().bytes;
    for version in 2..12 {
        take(&domains, &round(version), false);
    }
    assert_eq!((domains.shown().domains, domains.shown().bytes), (2000, bytes));
    take(&domains, &[], true);
    assert_eq!((domains.shown().domains, domains.shown().bytes), (0, 0));
}
