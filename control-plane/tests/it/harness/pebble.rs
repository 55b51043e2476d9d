//! Pebble, the ACME test server of Debian's packages: one for one test, with a name server and a port to validate at
//! that the test chooses. `cargo xtask test` finds or unpacks it.

use super::database::setting;
use super::providers::free_port;
use serde_json::json;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; dropping it kills it.
pub(crate) struct Pebble {
    child: Child,
    /// Where its directory is.
    pub(crate) directory: String,
    /// What its own certificate is signed with.
    pub(crate) root_pem: String,
    management: String,
    _files: tempfile::TempDir,
}

impl Pebble {
    /// A server that asks `names` and validates at `http_port`; its certificates live for so long.
    pub(crate) async fn start(names: SocketAddr, http_port: u16, validity: Duration) -> Self {
        Self::start_with(names, http_port, validity, &[]).await
    }

    /// The same with further settings in its environment.
    pub(crate) async fn start_with(
        names: SocketAddr,
        http_port: u16,
        validity: Duration,
        settings: &[(&str, &str)],
    ) -> Self {
        let files = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let certificate_file = files.path().join("cert.pem");
        std::fs::write(&certificate_file, certificate.pem()).unwrap();
        std::fs::write(files.path().join("key.pem"), key.serialize_pem()).unwrap();
        let (port, management) = (free_port(), free_port());
        let config = json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": certificate_file,
            "privateKey": files.path().join("key.pem"),
            "httpPort": http_port,
            "tlsPort": free_port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": validity.as_secs(),
        }});
        let config_file = files.path().join("pebble.json");
        std::fs::write(&config_file, config.to_string()).unwrap();
        let mut command = Command::new(setting("AOS_TEST_PEBBLE"));
        command.arg("-config").arg(&config_file).args(["-dnsserver", &names.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").envs(settings.iter().copied());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let child = child.spawn().expect("pebble starts");
        let listening = async {
            for port in [port, management] {
                while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.expect("pebble listens");
        Self {
            child,
            directory: format!("https://127.0.0.1:{port}/dir"),
            root_pem: certificate.pem(),
            management: format!("https://127.0.0.1:{management}"),
            _files: files,
        }
    }

    /// Ends it: the authority is away.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// The root of the certificates it issues, PEM.
    pub(crate) async fn issuer(&self) -> String {
        rustls::crypto::ring::default_provider().install_default().ok();
        let own = reqwest::Certificate::from_pem(self.root_pem.as_bytes()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([own]).build().unwrap();
        http.get(format!("{}/roots/0", self.management)).send().await.unwrap().text().await.unwrap()
    }
}
