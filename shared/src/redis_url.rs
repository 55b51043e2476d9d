//! Where Redis is, as one text that both programs read the same way.
//!
//! - `redis://[user:password@]host:port/[db]`: one server; `rediss://` over TLS
//! - `redis-cluster://[user:password@]host:port,host:port/`: a Redis Cluster by some of its nodes, TLS with
//!   `rediss-cluster://`
//! - `redis-sentinel://[user:password@]host:port,host:port/service[/db]`: the master that these Sentinels name, TLS
//!   with `rediss-sentinel://`. Name and password are the servers'; the Sentinels themselves are asked without
//!
//! Only the shape is read here. What stands between the commas is checked by whoever connects.

/// A Redis deployment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RedisUrl {
    /// One server, by its URL.
    Server(String),
    /// A cluster, by URLs of some of its nodes.
    Cluster(Vec<String>),
    /// Whatever server is the master of a service.
    Sentinel {
        /// URLs of the Sentinels.
        sentinels: Vec<String>,
        /// The service's name.
        service: String,
        /// A URL with the master's login and database, and a host that is not its own.
        login: String,
        /// Whether to talk TLS to all of them.
        tls: bool,
    },
}

/// Why a text is not the URL of a Redis.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RedisUrlError {
    /// Another scheme.
    #[error("a Redis URL starts with redis://, redis-cluster:// or redis-sentinel://, or rediss… for TLS")]
    Scheme,
    /// A list with a hole.
    #[error("a host is missing: several are separated by commas")]
    Host,
    /// No service.
    #[error("a Sentinel URL ends with the name of the service: redis-sentinel://host:port,host:port/service")]
    Service,
    /// More than there is a meaning for.
    #[error("nothing may follow the hosts of a cluster: it has no databases")]
    Rest,
}

impl RedisUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, RedisUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (kind, tls) = match scheme {
            "redis" | "rediss" | "redis+unix" | "unix" => return Ok(Self::Server(text.to_owned())),
            "redis-cluster" => ("cluster", false),
            "rediss-cluster" => ("cluster", true),
            "redis-sentinel" => ("sentinel", false),
            "rediss-sentinel" => ("sentinel", true),
            _ => return Err(RedisUrlError::Scheme),
        };
        let node_scheme = if tls { "rediss" } else { "redis" };
        // A password may hold anything but a slash, which has to be escaped in any URL.
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let at = if login.is_empty() { "" } else { "@" };
        let hosts: Vec<&str> = hosts.split(',').collect();
        if hosts.iter().any(|host| host.is_empty()) {
            return Err(RedisUrlError::Host);
        }
        let urls = |login: &str, at: &str| {
            hosts.iter().map(|host| format!("{node_scheme}://{login}{at}{host}")).collect()
        };
        if kind == "cluster" {
            return if path.is_empty() {
                Ok(Self::Cluster(urls(login, at)))
            } else {
                Err(RedisUrlError::Rest)
            };
        }
        let (service, db) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(RedisUrlError::Service);
        }
        Ok(Self::Sentinel {
            sentinels: urls("", ""),
            service: service.to_owned(),
            login: format!("{node_scheme}://{login}{at}{}/{db}", hosts[0]),
            tls,
        })
    }

    /// The URL without its login, to be shown.
    pub fn hide_login(text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else { return "(set)".to_owned() };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
        format!("{scheme}://{hosts}/{path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_deployment_has_its_form() {
        let server = "redis://user:pass@a:1/3";
        assert_eq!(RedisUrl::parse(server), Ok(RedisUrl::Server(server.to_owned())));
        let cluster = |nodes: &[&str]| {
            Ok(RedisUrl::Cluster(nodes.iter().map(|node| (*node).to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(
            RedisUrl::parse("redis-cluster://user:p%40ss@a:1,b:2/"),
            cluster(&["redis://user:p%40ss@a:1", "redis://user:p%40ss@b:2"])
        );
        assert_eq!(RedisUrl::parse("rediss-cluster://a"), cluster(&["rediss://a"]));
        assert_eq!(
            RedisUrl::parse("rediss-sentinel://:pass@a:1,b:2/clicks/4"),
            Ok(RedisUrl::Sentinel {
                sentinels: vec!["rediss://a:1".to_owned(), "rediss://b:2".to_owned()],
                service: "clicks".to_owned(),
                login: "rediss://:pass@a:1/4".to_owned(),
                tls: true,
            })
        );
        assert_eq!(
            RedisUrl::parse("redis-sentinel://a:1/clicks"),
            Ok(RedisUrl::Sentinel {
                sentinels: vec!["redis://a:1".to_owned()],
                service: "clicks".to_owned(),
                login: "redis://a:1/".to_owned(),
                tls: false,
            })
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |text, error| assert_eq!(RedisUrl::parse(text), Err(error), "{text}");
        check("http://a", RedisUrlError::Scheme);
        check("a:6379", RedisUrlError::Scheme);
        check("redis-cluster://a,,b", RedisUrlError::Host);
        check("redis-cluster://", RedisUrlError::Host);
        check("redis-cluster://a:1/2", RedisUrlError::Rest);
        check("redis-sentinel://a:1", RedisUrlError::Service);
        check("redis-sentinel://a:1//2", RedisUrlError::Service);
    }

    #[test]
    fn a_shown_url_has_no_login() {
        assert_eq!(RedisUrl::hide_login("redis-cluster://u:secret@a:1,b:2/"), "redis-cluster://a:1,b:2/");
        assert_eq!(RedisUrl::hide_login("redis://a:1/3"), "redis://a:1/3");
        assert_eq!(RedisUrl::hide_login("nonsense"), "(set)");
    }
}
