//! Keys and certificates of custom domains: what is asked for, and whether that is what came. Pure.

use super::model;
use chrono::{DateTime, Utc};
use instant_acme::CertificateIdentifier;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData};
use rustls::pki_types::CertificateDer;
use shared::domain_record::{CHAIN_LEN_MAX, KEY_LEN_MAX};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

/// What a certificate says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Certified {
    /// When it expires.
    pub(super) expires_at: DateTime<Utc>,
    /// When a third of its life is left.
    pub(super) renew_at: DateTime<Utc>,
}

/// A fresh key on P-256.
pub(super) fn generate_key() -> Result<Zeroizing<String>, rcgen::Error> {
    Ok(Zeroizing::new(KeyPair::generate()?.serialize_pem()))
}

/// The request for a certificate for this name and key: PKCS #10, DER.
pub(super) fn request(host: &str, key_pem: &str) -> Result<Vec<u8>, rcgen::Error> {
    let key = KeyPair::from_pem(key_pem)?;
    let mut params = CertificateParams::new(vec![host.to_owned()])?;
    // The name stands where clients look for it; a subject could not hold more than 64 bytes of it.
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

/// Checks that a chain begins with a certificate for this name and key; what an authority sends is not believed.
pub(super) fn inspect(host: &str, key_pem: &str, chain_pem: &str) -> Result<Certified, &'static str> {
    if chain_pem.len() > CHAIN_LEN_MAX || key_pem.len() > KEY_LEN_MAX {
        return Err("the chain is too long");
    }
    let key = KeyPair::from_pem(key_pem).map_err(|_| "the key cannot be read")?;
    let pem = first(chain_pem).ok_or("there is no certificate in it")?;
    let certificate = pem.parse_x509().map_err(|_| "the certificate cannot be read")?;
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err("the certificate is for another key");
    }
    let names = certificate.subject_alternative_name().ok().flatten().ok_or("the certificate has no name")?;
    let ours = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(name) if *name == host);
    if !names.value.general_names.iter().any(ours) {
        return Err("the certificate is for another name");
    }
    let at = |seconds| DateTime::from_timestamp(seconds, 0).ok_or("the certificate's dates are out of range");
    let validity = certificate.validity();
    let (not_before, not_after) = (at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?);
    if not_after <= not_before {
        return Err("the certificate is never valid");
    }
    Ok(Certified { expires_at: not_after, renew_at: model::renewal(not_before, not_after) })
}

/// How an authority that says when to renew knows the certificate by.
pub(super) fn identifier(chain_pem: &str) -> Option<CertificateIdentifier<'static>> {
    let pem = first(chain_pem)?;
    CertificateIdentifier::try_from(&CertificateDer::from(pem.contents)).ok()
}

fn first(chain_pem: &str) -> Option<Pem> {
    Pem::iter_from_buffer(chain_pem.as_bytes()).find_map(Result::ok).filter(|pem| pem.label == "CERTIFICATE")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(host: &str, key_pem: &str) -> String {
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        params.self_signed(&KeyPair::from_pem(key_pem).unwrap()).unwrap().pem()
    }

    #[test]
    fn only_a_certificate_for_the_name_and_the_key_is_taken() {
        let (key, other) = (generate_key().unwrap(), generate_key().unwrap());
        let good = chain("go.example.com", &key);
        let certified = inspect("go.example.com", &key, &good).unwrap();
        assert_eq!(certified.expires_at.to_rfc3339(), "2026-04-01T00:00:00+00:00");
        assert_eq!(certified.renew_at.to_rfc3339(), "2026-03-02T00:00:00+00:00");
        assert!(inspect("www.example.com", &key, &good).is_err(), "another name");
        assert!(inspect("go.example.com", &other, &good).is_err(), "another key");
        for bad in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &"x".repeat(70_000)]
        {
            assert!(inspect("go.example.com", &key, bad).is_err());
        }
        assert!(!request("go.example.com", &key).unwrap().is_empty());
    }
}
