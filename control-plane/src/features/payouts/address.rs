//! Addresses on the chain: 20 bytes, written as EIP-55 has it. Pure.
//!
//! The capitals of an EIP-55 address are a checksum, so one wrong character is noticed before money goes
//! to nobody. An address in small letters alone carries none and is taken as it is.

use crate::error::{Error, Result};
use sha3::{Digest, Keccak256};

/// An address, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address(String);

impl Address {
    /// Reads an address; its checksum must be right if it has one.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::invalid(
                field,
                format!("`{field}` {why}."),
                format!(
                    "Copy `{field}` once more from your wallet: 0x and 40 hexadecimal digits, capitals as shown there (EIP-55)."
                ),
            )
        };
        let digits = text.strip_prefix("0x").ok_or_else(|| refuse("does not begin with 0x"))?;
        if digits.len() != 40 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refuse("is not 40 hexadecimal digits after 0x"));
        }
        let address = checksummed(&digits.to_ascii_lowercase());
        let has_checksum = digits.bytes().any(|byte| byte.is_ascii_uppercase());
        if has_checksum && address.strip_prefix("0x") != Some(digits) {
            return Err(refuse("has a wrong checksum: a character is mistyped"));
        }
        if digits.bytes().all(|byte| byte == b'0') {
            return Err(refuse("is the zero address, from which nothing comes back"));
        }
        Ok(Self(address))
    }

    /// As EIP-55 writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Puts the capitals of EIP-55 into 40 small hexadecimal digits.
fn checksummed(digits: &str) -> String {
    let hash = hex::encode(Keccak256::digest(digits.as_bytes()));
    let letters = digits.chars().zip(hash.bytes());
    let capitals =
        letters.map(|(digit, nibble)| if nibble >= b'8' { digit.to_ascii_uppercase() } else { digit });
    format!("0x{}", capitals.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the standard.
    const EXAMPLES: [&str; 8] = [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn the_standards_examples_hold_and_one_wrong_capital_does_not() {
        for example in EXAMPLES {
            assert_eq!(Address::parse("address", example).expect(example).as_str(), example);
            let small = example.to_ascii_lowercase();
            assert_eq!(Address::parse("address", &small).expect("no checksum").as_str(), example);
            for at in 2..example.len() {
                let mut typo = example.as_bytes().to_vec();
                let flipped = if typo[at].is_ascii_uppercase() {
                    typo[at].to_ascii_lowercase()
                } else {
                    typo[at].to_ascii_uppercase()
                };
                let changed = typo[at] != flipped;
                typo[at] = flipped;
                let typo = String::from_utf8(typo).expect("ASCII");
                if changed && typo != small {
                    assert!(Address::parse("address", &typo).is_err(), "{typo}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for bad in [
            "",
            "0x",
            "0x0000000000000000000000000000000000000000",
            "0X52908400098527886E0F7030069857D2E4169EE7",
            "52908400098527886E0F7030069857D2E4169EE7",
            "0x52908400098527886E0F7030069857D2E4169EE",
            "0x52908400098527886E0F7030069857D2E4169EE77",
            "0x52908400098527886E0F7030069857D2E4169EEg",
            "0x4808...6D66",
            "vitalik.eth",
            " 0x52908400098527886E0F7030069857D2E4169EE7",
        ] {
            assert!(Address::parse("address", bad).is_err(), "{bad}");
        }
    }
}
