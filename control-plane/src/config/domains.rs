//! Settings of custom domains: what is read of them and what is shown.

use super::{Config, Problems, Settings};
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// How custom domains are served.
#[derive(Clone, Debug)]
pub struct DomainSettings {
    /// What they are to lead to: a name, or an address.
    pub target: String,
    /// The name server to ask instead of the system's.
    pub dns_server: Option<SocketAddr>,
    /// Who issues certificates; without it there are no custom domains.
    pub acme: Option<AcmeSettings>,
}

/// Who issues certificates.
#[derive(Clone, Debug)]
pub struct AcmeSettings {
    /// Its directory.
    pub directory: String,
    /// A mail address.
    pub contact: Option<String>,
    /// What its own certificate is signed with, when that is not a public authority: PEM.
    pub root_pem: Option<Vec<u8>>,
}

impl Config {
    pub(super) fn describe_domains(&self) -> String {
        let DomainSettings { target, dns_server, acme } = &self.domains;
        let directory = acme.as_ref().map_or("", |acme| &acme.directory);
        let contact = acme.as_ref().and_then(|acme| acme.contact.as_deref()).unwrap_or_default();
        let root = acme.as_ref().is_some_and(|acme| acme.root_pem.is_some());
        [
            format!("AOS_EDGE_DOMAIN_TARGET={target}"),
            format!("AOS_DNS_SERVER={}", dns_server.map(|server| server.to_string()).unwrap_or_default()),
            format!("AOS_ACME_DIRECTORY={directory}"),
            format!("AOS_ACME_CONTACT={contact}"),
            format!("AOS_ACME_ROOT={}", if root { "(set)" } else { "" }),
        ]
        .join("\n")
    }
}

impl Problems {
    /// Where domains lead, who is asked about them, who certifies them.
    pub(super) fn domains(&mut self, settings: &Settings) -> Option<DomainSettings> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let target = match given(&settings.edge_domain_target) {
            Some(text) => self.take("AOS_EDGE_DOMAIN_TARGET", host(&text)),
            // A wrong one is reported under its own name.
            None => Url::parse(&settings.tracking_origin).ok().and_then(|url| url.host_str().map(bare)),
        };
        let dns_server = match given(&settings.dns_server) {
            Some(text) => Some(self.take("AOS_DNS_SERVER", name_server(&text))?),
            None => None,
        };
        // Without one there is none, or there is a problem more, and then these settings are not taken.
        let acme = self.acme(settings);
        Some(DomainSettings { target: target?, dns_server, acme })
    }

    fn acme(&mut self, settings: &Settings) -> Option<AcmeSettings> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let Some(directory) = given(&settings.acme_directory) else {
            for (name, value) in
                [("AOS_ACME_CONTACT", &settings.acme_contact), ("AOS_ACME_ROOT", &settings.acme_root)]
            {
                if given(value).is_some() {
                    self.0.push(format!("{name}: set without AOS_ACME_DIRECTORY"));
                }
            }
            return None;
        };
        let directory = self.take("AOS_ACME_DIRECTORY", secure(&directory));
        let contact = given(&settings.acme_contact);
        if contact.as_ref().is_some_and(|address| !address.contains('@') || address.contains([' ', ':', ',']))
        {
            self.0.push("AOS_ACME_CONTACT: not a mail address".to_owned());
        }
        let root_pem = match given(&settings.acme_root) {
            Some(path) => Some(self.take("AOS_ACME_ROOT", root(&path))?),
            None => None,
        };
        Some(AcmeSettings { directory: directory?, contact, root_pem })
    }
}

/// An address without the brackets a URL puts around it.
fn bare(host: &str) -> String {
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match Host::parse(text.trim_end_matches('.')) {
        Ok(Host::Domain(name)) if name.contains('.') => Ok(name),
        Ok(Host::Ipv4(address)) => Ok(address.to_string()),
        _ => Err("a host name such as edge.example.com, or an address".to_owned()),
    }
}

fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    text.parse()
        .or_else(|_| with_port())
        .map_err(|_| "an address such as 192.0.2.53 or 192.0.2.53:53".to_owned())
}

fn secure(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "https" || url.host().is_none() || !url.username().is_empty() {
        return Err("an https address".to_owned());
    }
    Ok(url.into())
}

/// Certificates from a file.
pub(super) fn root(path: &str) -> Result<Vec<u8>, String> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let pem = std::fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    if certificates.is_ok_and(|found| !found.is_empty()) {
        return Ok(pem);
    }
    Err(format!("{path} holds no certificate in PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_servers_are_names_and_addresses() {
        for (text, read) in [
            ("edge.example.com.", Some("edge.example.com")),
            ("192.0.2.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("edge", None),
            ("https://edge.example.com", None),
        ] {
            assert_eq!(host(text).ok().as_deref(), read, "{text}");
        }
        assert_eq!(name_server("192.0.2.53").map(|server| server.port()), Ok(53));
        assert_eq!(name_server("[::1]:5353").map(|server| server.port()), Ok(5353));
        assert!(name_server("ns.example.com").is_err());
        assert!(secure("http://acme.example/directory").is_err());
        assert_eq!(bare("[::1]"), "::1");
    }
}
