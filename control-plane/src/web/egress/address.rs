//! Which addresses a call to a customer's URL may reach. Pure: no socket, no resolver.
//!
//! Must stay true: an address that is not plainly public unicast is refused, whatever it is written like;
//! an IPv4 address inside an IPv6 one is judged as the IPv4 address it is. IPv6 is a list of what is
//! allowed, not of what is not, so that ranges assigned later are refused until somebody looks at them.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// Ports of the web. Others only where the operator's list allows the address: a call must not be a
/// port scanner, nor speak to a mail server or a database.
const PORTS: [u16; 2] = [80, 443];
/// Characters of a URL at most.
const URL_LEN_MAX: usize = 2048;

/// Why a URL or an address is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not an absolute http or https URL.
    Scheme,
    /// A user name or password in the URL.
    UserInfo,
    /// Longer than [`URL_LEN_MAX`].
    Length,
    /// A port other than 80 and 443.
    Port,
    /// Loopback, private, link-local, metadata, multicast, reserved: anything not public.
    Address,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "is not an absolute http or https address with a host",
            Self::UserInfo => "contains a user name or password",
            Self::Length => "is longer than 2048 characters",
            Self::Port => "uses a port other than 80 and 443",
            Self::Address => {
                "leads to an address that is not public (loopback, private, link-local, metadata or reserved)"
            }
        })
    }
}

impl std::error::Error for Refusal {}

/// What is open: the public internet, and what the operator adds to it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    allowed: Vec<IpNet>,
}

impl Policy {
    /// Public addresses and these networks.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Every address: for services that the operator names in the settings.
    pub fn of_operator() -> Self {
        let everything = ["0.0.0.0/0", "::/0"];
        Self { allowed: everything.iter().filter_map(|network| network.parse().ok()).collect() }
    }

    /// Reads a URL and refuses what can be refused without resolving its name.
    pub fn check_url(&self, text: &str) -> Result<Url, Refusal> {
        let url = Url::parse(text).map_err(|_| Refusal::Scheme)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        if url.as_str().len() > URL_LEN_MAX {
            return Err(Refusal::Length);
        }
        let port = url.port_or_known_default().ok_or(Refusal::Port)?;
        // The parser has already read every way to write a number as the address it stands for.
        match url.host().ok_or(Refusal::Scheme)? {
            Host::Ipv4(ip) => self.check(ip.into(), port)?,
            Host::Ipv6(ip) => self.check(ip.into(), port)?,
            Host::Domain(_) => {}
        }
        Ok(url)
    }

    /// Refuses an address that may not be connected to.
    pub fn check(&self, ip: IpAddr, port: u16) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if self.allowed.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        if !is_public(ip) {
            return Err(Refusal::Address);
        }
        Self::check_port(port)
    }

    /// Refuses a port that only the operator's list could open.
    pub fn check_port(port: u16) -> Result<(), Refusal> {
        if PORTS.contains(&port) { Ok(()) } else { Err(Refusal::Port) }
    }
}

/// Whether an address is public unicast.
pub fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

/// IPv4 networks that are not public: the IANA special-purpose registry, and what clouds use inside.
const DENIED_V4: &[(Ipv4Addr, u32)] = &[
    (Ipv4Addr::UNSPECIFIED, 8),         // "this network"; 0.0.0.0 reaches the own host
    (Ipv4Addr::new(10, 0, 0, 0), 8),    // private
    (Ipv4Addr::new(100, 64, 0, 0), 10), // carrier NAT; one cloud's metadata is 100.100.100.200
    (Ipv4Addr::new(127, 0, 0, 0), 8),   // loopback
    (Ipv4Addr::new(168, 63, 129, 16), 32), // a cloud's host agent, in public address space
    (Ipv4Addr::new(169, 254, 0, 0), 16), // link-local, metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12), // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),  // protocol assignments; one cloud's metadata is 192.0.0.192
    (Ipv4Addr::new(192, 0, 2, 0), 24),  // documentation
    (Ipv4Addr::new(192, 88, 99, 0), 24), // 6to4 relays
    (Ipv4Addr::new(192, 168, 0, 0), 16), // private
    (Ipv4Addr::new(198, 18, 0, 0), 15), // benchmarks
    (Ipv4Addr::new(198, 51, 100, 0), 24), // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24), // documentation
    (Ipv4Addr::new(224, 0, 0, 0), 3),   // multicast, reserved, broadcast
];

fn is_public_v4(ip: Ipv4Addr) -> bool {
    !DENIED_V4.iter().any(|(network, prefix)| {
        let mask = u32::MAX << (32 - prefix);
        ip.to_bits() & mask == network.to_bits()
    })
}

/// Only global unicast (2000::/3), without the parts of it that are not: tunnels carry an IPv4 address
/// of anybody's choice (Teredo, 6to4, ISATAP), the rest are protocol assignments and documentation.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let part = ip.segments();
    let global_unicast = part[0] & 0xe000 == 0x2000;
    let protocols_and_teredo = part[0] == 0x2001 && part[1] & 0xfe00 == 0;
    let documentation =
        (part[0] == 0x2001 && part[1] == 0x0db8) || (part[0] == 0x3fff && part[1] & 0xf000 == 0);
    let six_to_four = part[0] == 0x2002;
    let isatap = part[4] & 0xfdff == 0 && part[5] == 0x5efe;
    global_unicast && !protocols_and_teredo && !documentation && !six_to_four && !isatap
}
