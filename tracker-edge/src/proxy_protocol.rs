//! The PROXY protocol, version 2: who a load balancer says the client is.
//!
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>. Version 1 is not taken: every balancer that
//! matters speaks 2, and a text header is one more thing two parsers could read differently. Pure, and never
//! panics, whatever the bytes: what cannot be a header of ours is [`Refused`], and the connection closed.
//!
//! Limits: extensions (TLVs) of [`EXTENSIONS_LEN_MAX`] bytes; their content is not looked at, but for the
//! checksum (CRC32C), which must be right when it is there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes every header begins with: signature, version and command, family, length of the rest.
pub(crate) const FIXED_LEN: usize = 16;
/// Bytes of extensions at most.
pub(crate) const EXTENSIONS_LEN_MAX: usize = 512;
/// Two paths of Unix sockets, the longest addresses there are.
const UNIX_LEN: usize = 216;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const CHECKSUM: u8 = 3;

/// Not a header we take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused;

/// Bytes that follow the fixed part.
pub(crate) fn rest_len(fixed: &[u8; FIXED_LEN]) -> Result<usize, Refused> {
    let rest = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let known = fixed.starts_with(SIGNATURE) && fixed[12] >> 4 == 2;
    if known && rest <= UNIX_LEN + EXTENSIONS_LEN_MAX { Ok(rest) } else { Err(Refused) }
}

/// Reads a whole header: the client's address, or none when the connection is the balancer's own or came to
/// it by something that has no address.
pub(crate) fn client(header: &[u8]) -> Result<Option<IpAddr>, Refused> {
    let (fixed, rest) = header.split_first_chunk::<FIXED_LEN>().ok_or(Refused)?;
    if rest_len(fixed)? != rest.len() {
        return Err(Refused);
    }
    match fixed[12] & 0xf {
        // A health check: whatever else it says does not count.
        0 => return Ok(None),
        1 => {}
        _ => return Err(Refused),
    }
    let (client, extensions) = match fixed[13] {
        // Unspecified: no addresses, and what follows has no form.
        0x00 => return Ok(None),
        0x11 => {
            let (addresses, rest) = rest.split_first_chunk::<12>().ok_or(Refused)?;
            let [a, b, c, d, ..] = *addresses;
            (Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d))), rest)
        }
        0x21 => {
            let (addresses, rest) = rest.split_first_chunk::<36>().ok_or(Refused)?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(Refused)?;
            (Some(IpAddr::V6(Ipv6Addr::from(*source)).to_canonical()), rest)
        }
        0x31 => (None, rest.get(UNIX_LEN..).ok_or(Refused)?),
        // Datagrams do not come over TCP; others do not exist.
        _ => return Err(Refused),
    };
    check(header, extensions)?;
    Ok(client)
}

/// Checks the form of the extensions, and the checksum if it is among them.
fn check(header: &[u8], extensions: &[u8]) -> Result<(), Refused> {
    if extensions.len() > EXTENSIONS_LEN_MAX {
        return Err(Refused);
    }
    let mut rest = extensions;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = after.split_at_checked(length).ok_or(Refused)?;
        if kind == CHECKSUM {
            let said = <[u8; 4]>::try_from(value).map_err(|_| Refused)?;
            let at = header.len() - after.len() - said.len();
            if crc32c(header, at) != u32::from_be_bytes(said) {
                return Err(Refused);
            }
        }
        rest = after;
    }
    if rest.is_empty() { Ok(()) } else { Err(Refused) }
}

/// CRC32C of the header with zeros for the four bytes at `at`. Bit by bit: it is once per connection, over some
/// hundred bytes.
fn crc32c(header: &[u8], at: usize) -> u32 {
    let mut sum = u32::MAX;
    for (index, byte) in header.iter().enumerate() {
        sum ^= if (at..at + 4).contains(&index) { 0 } else { u32::from(*byte) };
        for _ in 0..8 {
            sum = (sum >> 1) ^ (0x82f6_3b78 & (sum & 1).wrapping_neg());
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[0x20 | command, family], &length, rest].concat()
    }

    /// Client, server, ports, then extensions.
    fn v4(extensions: &[u8]) -> Vec<u8> {
        header(1, 0x11, &[&[192, 0, 2, 7, 10, 0, 0, 1, 0x30, 0x39, 1, 0xbb], extensions].concat())
    }

    /// With a checksum that is right.
    fn summed() -> Vec<u8> {
        let mut header = v4(&[4, 0, 1, 0, CHECKSUM, 0, 4, 0, 0, 0, 0]);
        let at = header.len() - 4;
        let sum = crc32c(&header, at);
        header[at..].copy_from_slice(&sum.to_be_bytes());
        header
    }

    #[test]
    fn the_client_is_read_from_every_family() {
        let v6: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let of_v6 = |address: Ipv6Addr| header(1, 0x21, &[&address.octets()[..], &[0; 20]].concat());
        let mapped = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped();
        for (header, expected) in [
            (v4(&[]), Some("192.0.2.7")),
            (v4(&[0xee, 0, 2, 1, 2]), Some("192.0.2.7")),
            (summed(), Some("192.0.2.7")),
            (of_v6(v6), Some("2001:db8::7")),
            (of_v6(mapped), Some("192.0.2.7")),
            (header(1, 0x31, &[0; 216]), None),
            (header(1, 0x00, &[]), None),
            (header(1, 0x00, &[7; 40]), None),
            (header(0, 0x00, &[]), None),
            (header(0, 0x11, &[7; 12]), None),
        ] {
            assert_eq!(client(&header), Ok(expected.map(|text| text.parse().unwrap())), "{header:?}");
        }
    }

    #[test]
    fn whatever_else_is_refused() {
        let mut version = v4(&[]);
        version[12] = 0x11;
        let mut wrong_sum = summed();
        *wrong_sum.last_mut().unwrap() ^= 1;
        let long = [&[0xee, 2, 0][..], &[0; 512]].concat();
        for bad in [
            b"PROXY TCP4 192.0.2.7 10.0.0.1 12345 443\r\n".to_vec(),
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            Vec::new(),
            version,
            wrong_sum,
            header(2, 0x11, &[0; 12]),
            header(1, 0x12, &[0; 12]),
            header(1, 0x41, &[0; 12]),
            header(1, 0x11, &[0; 11]),
            header(1, 0x21, &[0; 35]),
            header(1, 0x31, &[0; 215]),
            v4(&[0xee]),
            v4(&[0xee, 0, 2, 1]),
            v4(&[CHECKSUM, 0, 3, 1, 2, 3]),
            v4(&long),
            header(0, 0, &[0; UNIX_LEN + EXTENSIONS_LEN_MAX + 1]),
            [v4(&[]), vec![0]].concat(),
        ] {
            assert_eq!(client(&bad), Err(Refused), "{bad:?}");
        }
    }

    #[test]
    fn the_checksum_is_crc32c() {
        // The check value of the catalogue of CRCs; nothing of it is taken for zero.
        assert_eq!(crc32c(b"123456789", usize::MAX - 4), 0xe306_9283);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..900)) {
            let _read = client(&bytes);
            let _framed = client(&header(1, *bytes.first().unwrap_or(&0x11), &bytes));
        }

        #[test]
        fn a_changed_byte_of_a_summed_header_never_gives_another_client(at in 0usize..39, byte: u8) {
            let mut changed = summed();
            changed[at] = byte;
            let client = client(&changed);
            let same = Ok(Some(IpAddr::from([192, 0, 2, 7])));
            prop_assert!(matches!(client, Err(Refused) | Ok(None)) || client == same);
        }
    }
}
