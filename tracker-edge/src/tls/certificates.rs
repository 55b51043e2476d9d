//! Which certificate a handshake is given: a custom domain's own, or one of the configured ones.
//!
//! The configured ones are in force all together or not at all: files that cannot be used, or whose keys
//! are not theirs, leave what was there before. Of those the first is taken that is for the name the client
//! asked for and that it can verify (ECDSA or RSA); if none is for that name, the first it can verify.

use super::validity;
use crate::domains::Domains;
use crate::files::Watched;
use arc_swap::ArcSwap;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate's file and its key's.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// All certificates, readable without a lock.
#[derive(Debug)]
pub(crate) struct Certificates {
    pairs: Vec<Pair>,
    configured: ArcSwap<Vec<Configured>>,
    domains: Arc<Domains>,
}

#[derive(Debug)]
struct Configured {
    certified: Arc<CertifiedKey>,
    /// Unix time it is valid until.
    expires: i64,
}

impl Certificates {
    pub(crate) fn read(pairs: &[Pair], domains: Arc<Domains>) -> Result<Arc<Self>, String> {
        let configured = ArcSwap::from_pointee(read(pairs)?);
        Ok(Arc::new(Self { pairs: pairs.to_vec(), configured, domains }))
    }

    /// The files, to be read again when they change.
    pub(crate) fn watched(self: &Arc<Self>) -> Option<Arc<Watched>> {
        let mut files = self.pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]);
        let (first, certificates) = (files.next()?, Arc::clone(self));
        Some(Watched::several("tls_certificates", first, files.collect(), move |_| {
            let found = read(&certificates.pairs)?;
            let count = found.len();
            certificates.configured.store(Arc::new(found));
            Ok(format!("{count} certificates"))
        }))
    }

    /// The configured certificates' files, and until when each is valid.
    pub(crate) fn expiries(&self) -> Vec<(String, i64)> {
        let paths = self.pairs.iter().map(|pair| pair.cert.display().to_string());
        paths.zip(self.configured.load().iter().map(|configured| configured.expires)).collect()
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let domain = hello.server_name().and_then(|name| self.domains.certificate(name));
        if domain.is_some() {
            return domain;
        }
        let configured = self.configured.load();
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        // rustls has taken out what the client's cipher suites cannot be used with.
        let verifiable = |configured: &&Configured| {
            configured.certified.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let mut named = configured.iter().filter(|configured| match &name {
            Some(name) => is_for(&configured.certified, name),
            None => false,
        });
        let found = named.find(verifiable).or_else(|| configured.iter().find(verifiable));
        found.map(|configured| Arc::clone(&configured.certified))
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    certificate.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}

/// Reads all pairs, or says what is wrong with the first that cannot be used.
fn read(pairs: &[Pair]) -> Result<Vec<Configured>, String> {
    pairs.iter().map(read_pair).collect()
}

fn read_pair(pair: &Pair) -> Result<Configured, String> {
    let cannot = |path: &PathBuf, why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&pair.cert).and_then(|certificates| certificates.collect());
    let chain = chain.map_err(|error| cannot(&pair.cert, &error))?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).map_err(|error| cannot(&pair.key, &error))?;
    let Some(expires) = chain.first().and_then(|certificate| validity::not_after(certificate)) else {
        return Err(cannot(&pair.cert, &"no certificate in it"));
    };
    let certified =
        certify(chain, key).map_err(|error| format!("{} with its key: {error}", pair.cert.display()))?;
    Ok(Configured { certified, expires })
}

/// A certificate and its key from their PEM texts; why they cannot be used otherwise.
pub(crate) fn from_pem(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| error.to_string())?;
    certify(chain, key).map_err(|error| error.to_string())
}

/// A certificate with its key, which must belong to it.
fn certify(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<CertifiedKey>, rustls::Error> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map(Arc::new)
}
