//! How many connections one client address may hold, and whose word about addresses is believed.

use dashmap::DashMap;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// TLS handshakes of one address at a time: a quarter of all, so that one cannot take every place.
pub(crate) const HANDSHAKES_MAX: usize = 64;

/// Open connections by address. Shared by all workers; touched once per connection, never per request.
pub(crate) struct Addresses {
    open: DashMap<IpAddr, Open>,
    limit: Option<u32>,
    trusted: Vec<IpNet>,
    announcing: Vec<IpNet>,
}

/// What one address has open.
#[derive(Default)]
struct Open {
    connections: u32,
    /// Made at the first TLS connection.
    handshakes: Option<Arc<Semaphore>>,
}

/// A connection's place among those of its address; gives it back when dropped.
pub(crate) struct Place {
    addresses: Arc<Addresses>,
    /// `None` for addresses that are not limited.
    address: Option<IpAddr>,
}

impl Addresses {
    /// `trusted` may forward addresses in headers, `announcing` must begin with a PROXY header.
    pub(crate) fn new(limit: Option<u32>, trusted: Vec<IpNet>, announcing: Vec<IpNet>) -> Arc<Self> {
        Arc::new(Self { open: DashMap::new(), limit, trusted, announcing })
    }

    /// Whether connections of this address begin with a PROXY header.
    #[inline]
    pub(crate) fn announces(&self, address: IpAddr) -> bool {
        self.announcing.iter().any(|network| network.contains(&address))
    }

    /// A place for a connection that no client's address is known of.
    pub(crate) fn unlimited(self: &Arc<Self>) -> Place {
        Place { addresses: Arc::clone(self), address: None }
    }

    /// Takes a place for a connection of this address, if it may have another.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let limit = self.limit.filter(|_| !address.is_loopback() && !self.is_trusted(address));
        let Some(limit) = limit else { return Some(self.unlimited()) };
        let address = network_of(address);
        let mut open = self.open.entry(address).or_default();
        if open.connections >= limit {
            return None;
        }
        open.connections += 1;
        Some(Place { addresses: Arc::clone(self), address: Some(address) })
    }

    /// Whether this is a proxy of ours.
    pub(crate) fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The client behind trusted proxies: the last address in `X-Forwarded-For` that is not one of them.
    pub(crate) fn client_of<'a>(
        &self,
        peer: IpAddr,
        forwarded: impl DoubleEndedIterator<Item = &'a str>,
    ) -> IpAddr {
        let mut client = peer;
        for hop in forwarded.rev().flat_map(|value| value.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address.to_canonical();
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }
}

impl Place {
    /// The handshakes its address may do at a time; `None` for addresses that are not limited.
    pub(crate) fn handshakes(&self) -> Option<Arc<Semaphore>> {
        let mut open = self.addresses.open.get_mut(&self.address?)?;
        Some(Arc::clone(open.handshakes.get_or_insert_with(|| Arc::new(Semaphore::new(HANDSHAKES_MAX)))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(address) = self.address
            && let dashmap::Entry::Occupied(mut open) = self.addresses.open.entry(address)
        {
            open.get_mut().connections -= 1;
            if open.get().connections == 0 {
                open.remove();
            }
        }
    }
}

/// One customer of an IPv6 provider has a /64 at least: it counts as one address.
fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from(u128::from(address) & !0xffff_ffff_ffff_ffff)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_its_limit_and_gets_places_back() {
        let addresses = Addresses::new(Some(2), vec!["10.0.0.0/8".parse().unwrap()], Vec::new());
        let first = addresses.enter(ip("192.0.2.1"));
        let second = addresses.enter(ip("192.0.2.1"));
        assert!(first.is_some() && second.is_some());
        assert!(addresses.enter(ip("192.0.2.1")).is_none());
        assert!(addresses.enter(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(addresses.enter(ip("192.0.2.1")).is_some());
        let proxies: Vec<_> = (0..5).map(|_| addresses.enter(ip("10.1.2.3"))).collect();
        assert!(proxies.iter().all(Option::is_some), "proxies are exempt");
        let network: Vec<_> =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(|text| addresses.enter(ip(text))).into();
        assert!(network[2].is_none(), "a /64 counts as one address");
        drop((second, proxies, network));
        assert!(addresses.open.is_empty());
    }

    #[test]
    fn only_trusted_hops_are_skipped() {
        let addresses = Addresses::new(None, vec!["10.0.0.0/8".parse().unwrap()], Vec::new());
        for (forwarded, client) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            (&["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
            (&["6.6.6.6", "203.0.113.9, 10.0.0.7"], "203.0.113.9"),
            (&["nonsense, 10.0.0.7"], "10.0.0.7"),
            (&["10.0.0.8"], "10.0.0.8"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(
                addresses.client_of(ip("10.0.0.1"), forwarded.iter().copied()),
                ip(client),
                "{forwarded:?}"
            );
        }
    }
}
