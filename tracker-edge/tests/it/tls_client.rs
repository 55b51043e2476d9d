//! Certificates of a test's own, and clients that verify them.

use crate::harness::{Reply, SOON, connect, parse};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
    SupportedProtocolVersion,
};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Who signs a test's certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as files.
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        // Named unlike what it signs: some would take that for signed by itself.
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// PEM of a certificate for these names, and of its key.
    pub(crate) fn issue(&self, names: &[&str], key: &KeyPair) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let cert = CertificateParams::new(names).unwrap().signed_by(key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    /// Puts a new ECDSA certificate and its key into a folder, each at once and whole.
    pub(crate) fn put(&self, folder: &Path, name: &str, names: &[&str]) -> Files {
        self.put_key(folder, name, names, &KeyPair::generate().unwrap())
    }

    /// The same with an RSA key. ring makes none: this one was made for the tests and is used nowhere else.
    pub(crate) fn put_rsa(&self, folder: &Path, name: &str, names: &[&str]) -> Files {
        let key = include_bytes!("../data/rsa-for-tests.key");
        let key = PrivateKeyDer::from_pem_slice(key).unwrap();
        self.put_key(folder, name, names, &KeyPair::try_from(&key).unwrap())
    }

    fn put_key(&self, folder: &Path, name: &str, names: &[&str], key: &KeyPair) -> Files {
        let (cert_pem, key_pem) = self.issue(names, key);
        let at = |end: &str| folder.join(format!("{name}.{end}"));
        for (path, text) in [(at("crt"), &cert_pem), (at("key"), &key_pem)] {
            std::fs::write(path.with_extension("new"), text).unwrap();
            std::fs::rename(path.with_extension("new"), path).unwrap();
        }
        Files { cert: at("crt"), key: at("key"), der: Self::der(&cert_pem) }
    }

    /// The first certificate of a PEM text.
    pub(crate) fn der(pem: &str) -> Vec<u8> {
        CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
    }

    /// Its own certificate, as others read it.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A client that believes this authority.
    pub(crate) fn client(&self) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        Client {
            roots: Arc::new(roots),
            versions: rustls::ALL_VERSIONS.to_vec(),
            schemes: None,
            alpn: Vec::new(),
        }
    }
}

impl Files {
    /// The flags for these files.
    pub(crate) fn flags(files: &[&Self]) -> [String; 3] {
        let list = |path: fn(&Self) -> &PathBuf| {
            files.iter().map(|files| path(files).display().to_string()).collect::<Vec<_>>().join(",")
        };
        [
            "--tls-addr=127.0.0.1:0".to_owned(),
            format!("--tls-cert={}", list(|files| &files.cert)),
            format!("--tls-key={}", list(|files| &files.key)),
        ]
    }
}

/// What a client is made with.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    /// Signatures it can verify; all when not given.
    pub(crate) schemes: Option<Vec<SignatureScheme>>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Client {
    /// rustls' settings; share them to go on with sessions.
    pub(crate) fn config(&self, resumption: Resumption) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let roots = Arc::clone(&self.roots);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().unwrap();
        let schemes = self.schemes.clone().unwrap_or_else(|| verifier.supported_verify_schemes());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Picky { verifier, schemes }))
            .with_no_client_auth();
        config.resumption = resumption;
        config.enable_early_data = true;
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    /// A new session with the name, up to the end of the handshake.
    pub(crate) fn connect(&self, addr: SocketAddr, name: &str) -> std::io::Result<TlsStream> {
        shake_hands(addr, name, &self.config(Resumption::disabled()))
    }
}

/// Connects and shakes hands.
pub(crate) fn shake_hands(
    addr: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> std::io::Result<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut socket = connect(addr);
    socket.set_read_timeout(Some(SOON)).unwrap();
    while session.is_handshaking() {
        session.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(session, socket))
}

/// The certificate a session was shown.
pub(crate) fn shown(stream: &TlsStream) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// One GET on a connection that stays open.
pub(crate) fn get(stream: &mut TlsStream, host: &str, path: &str) -> Reply {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed in the middle of an answer");
        answer.push(byte[0]);
    }
    let head = parse(&answer);
    let length = head.headers("content-length").first().map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Reply { body: String::from_utf8(body).unwrap(), ..head }
}

/// Verifies certificates as usual, but only some signatures.
#[derive(Debug)]
struct Picky {
    verifier: Arc<WebPkiServerVerifier>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for Picky {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier.verify_server_cert(certificate, chain, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
