//! Where a request comes from.
//!
//! The connection's other end, unless that is one of the operator's own proxies (`AOS_TRUSTED_PROXIES`):
//! then the last address in `X-Forwarded-For` that no trusted proxy wrote for another. What a client writes
//! into that header itself is further left and never reached. Addresses are used, never kept: what is stored
//! is a keyed hash of the network.

use crate::app::App;
use crate::web::server::Peer;
use axum::extract::FromRequestParts;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;
use sha2::Sha256;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The client's network, as a keyed hash: an IPv4 address, or the /64 a site gets of IPv6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientNetwork(String);

impl ClientNetwork {
    /// The network of a request.
    pub fn of(app: &App, parts: &Parts) -> Self {
        let peer =
            parts.extensions.get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip());
        let address = resolve(peer, &parts.headers, &app.config().trusted_proxies);
        let key = app.config().secret.derive("client network v1");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("HMAC takes any key");
        mac.update(&network(address).to_bits().to_be_bytes());
        Self(hex::encode(&mac.finalize().into_bytes()[..16]))
    }

    /// The hash, 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromRequestParts<App> for ClientNetwork {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        Ok(Self::of(app, parts))
    }
}

fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let trusts = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut address = peer.to_canonical();
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let hops = forwarded.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for hop in hops.collect::<Vec<_>>().into_iter().rev() {
        if !trusts(address) {
            break;
        }
        match hop.trim().parse::<IpAddr>() {
            Ok(hop) => address = hop.to_canonical(),
            Err(_) => break,
        }
    }
    address
}

/// The IPv6 form with the last 64 bits cut off; an IPv4 address whole.
fn network(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_what_trusted_proxies_wrote_counts() {
        let trusted: Vec<IpNet> =
            ["10.0.0.0/8", "fd00::/8"].iter().map(|text| text.parse().unwrap()).collect();
        let check = |peer: &str, forwarded: &[&str], client: &str| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", HeaderValue::from_str(value).unwrap());
            }
            let resolved = resolve(peer.parse().unwrap(), &headers, &trusted);
            assert_eq!(resolved, client.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        };
        check("203.0.113.9", &[], "203.0.113.9");
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        check("10.0.0.1", &["198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["6.6.6.6, 198.51.100.1"], "198.51.100.1");
        check("10.0.0.1", &["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1");
        check("10.0.0.1", &["junk"], "10.0.0.1");
        check("10.0.0.1", &["198.51.100.1, junk, 10.0.0.2"], "10.0.0.2");
        check("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1");
    }

    #[test]
    fn a_site_has_one_network() {
        let same =
            |left: &str, right: &str| network(left.parse().unwrap()) == network(right.parse().unwrap());
        assert!(same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"));
        assert!(!same("2001:db8:1:2::1", "2001:db8:1:3::1"));
        assert!(!same("203.0.113.9", "203.0.113.10"));
    }
}
