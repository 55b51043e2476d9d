//! Sealing what must be kept but not be readable in the database: ChaCha20-Poly1305 under a key of its
//! own each time the caller has one, with a random nonce in front.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

fn cipher(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(
        UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key is as long as the cipher wants"),
    )
}

/// Seals; the result is 28 bytes longer.
pub fn seal(key: &[u8; 32], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    getrandom::fill(&mut nonce).expect("the operating system has randomness");
    let mut sealed = plain.to_vec();
    cipher(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
        .expect("what we seal is far shorter than the cipher's limit");
    [&nonce[..], &sealed].concat()
}

/// Opens; `None` when the key is another or a bit was changed.
pub fn open(key: &[u8; 32], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut plain = sealed.to_vec();
    let len =
        cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut plain).ok()?.len();
    plain.truncate(len);
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_opens_and_only_the_right_bytes() {
        let sealed = seal(&[1; 32], b"aos_live_secret");
        assert_eq!(open(&[1; 32], &sealed).as_deref(), Some(&b"aos_live_secret"[..]));
        assert_eq!(open(&[2; 32], &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open(&[1; 32], &changed), None, "byte {at}");
        }
        assert_ne!(seal(&[1; 32], b"x"), seal(&[1; 32], b"x"), "the nonce is fresh");
        assert_eq!(open(&[1; 32], b"short"), None);
    }
}
