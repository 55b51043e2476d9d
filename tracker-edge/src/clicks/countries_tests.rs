//! Countries of databases written here: the three shapes there are, and damaged ones.

use super::*;
use ipnet::IpNet;
use mmdb_writer::{Value, Writer};

/// A database of these networks and records.
fn database(records: &[(&str, Value)]) -> Vec<u8> {
    let mut writer = Writer::new("Test-Country");
    for (network, value) in records {
        writer.insert_value(network.parse::<IpNet>().unwrap(), value.clone()).unwrap();
    }
    writer.to_bytes().unwrap()
}

fn country(code: &str) -> Value {
    Value::map([("country", Value::map([("iso_code", Value::from(code))]))])
}

fn loaded(bytes: &[u8]) -> (Countries, Result<String, String>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("countries.mmdb");
    std::fs::write(&path, bytes).unwrap();
    let countries = Countries::default();
    let result = countries.load(&path);
    (countries, result)
}

fn of(countries: &Countries, address: &str) -> String {
    let letters = countries.of(address.parse().unwrap());
    String::from_utf8(letters.iter().copied().filter(|letter| *letter != 0).collect()).unwrap()
}

#[test]
fn every_shape_of_database_says_its_country() {
    let registered = Value::map([("registered_country", Value::map([("iso_code", Value::from("FR"))]))]);
    let plain = Value::map([("country_code", Value::from("JP"))]);
    let (countries, result) = loaded(&database(&[
        ("192.0.2.0/24", country("DE")),
        ("198.51.100.0/25", registered),
        ("203.0.113.0/24", plain),
        ("2001:db8::/32", country("NL")),
    ]));
    assert!(result.unwrap().starts_with("Test-Country"));
    for (address, expected) in [
        ("192.0.2.77", "DE"),
        ("::ffff:192.0.2.77", "DE"),
        ("198.51.100.1", "FR"),
        ("198.51.100.200", ""),
        ("203.0.113.9", "JP"),
        ("2001:db8::7", "NL"),
        ("2001:db9::7", ""),
        ("127.0.0.1", ""),
    ] {
        assert_eq!(of(&countries, address), expected, "{address}");
    }
}

#[test]
fn what_is_no_country_is_unknown() {
    let odd = [
        country("de"),
        country("DEU"),
        country(""),
        country("D\u{e9}"),
        Value::map([("country", Value::from("DE"))]),
        Value::map([("country_code", Value::from(7_u32))]),
        Value::from("DE"),
    ];
    for (at, value) in odd.into_iter().enumerate() {
        let records = [("192.0.2.0/24", value), ("198.51.100.0/24", country("DE"))];
        let (countries, result) = loaded(&database(&records));
        result.unwrap();
        assert_eq!(of(&countries, "192.0.2.1"), "", "{at}");
    }
    assert_eq!(of(&Countries::default(), "192.0.2.1"), "");
}

#[test]
fn a_damaged_database_is_refused_and_the_one_before_stays() {
    let good = database(&[("192.0.2.0/24", country("DE"))]);
    let (countries, result) = loaded(&good);
    result.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.mmdb");
    assert!(countries.load(&path).is_err(), "missing");
    let names = Value::map([("autonomous_system_organization", Value::from("Example"))]);
    std::fs::write(&path, database(&[("192.0.2.0/24", names)])).unwrap();
    assert!(countries.load(&path).unwrap_err().contains("no database of countries"));
    for len in 0..good.len() {
        std::fs::write(&path, &good[..len]).unwrap();
        assert!(countries.load(&path).is_err(), "cut to {len} of {}", good.len());
    }
    assert_eq!(of(&countries, "192.0.2.1"), "DE");
}

#[test]
fn no_flipped_bit_ends_the_edge() {
    let good = database(&[("192.0.2.0/24", country("DE")), ("2001:db8::/32", country("NL"))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flipped.mmdb");
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let countries = Countries::default();
        if countries.load(&path).is_ok() {
            for address in ["192.0.2.1", "203.0.113.1", "2001:db8::1", "::"] {
                let country = of(&countries, address);
                assert!(country.is_empty() || country.len() == 2, "{at}: {country}");
            }
        }
    }
}
