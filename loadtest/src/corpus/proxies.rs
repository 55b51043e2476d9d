//! The proxies of `corpus`: their configurations, and what they count.

use super::announced::BALANCER;
use crate::stack::ground::free_ports;
use crate::stack::{Stack, local};
use anyhow::{Context, ensure};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_FOR: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(25);
const HAPROXY_DEPLOYED: &str = include_str!("../../../deploy/haproxy/haproxy.cfg");
const NGINX_DEPLOYED: &str = include_str!("../../../deploy/nginx/nginx.conf");

/// Which proxy, with whose settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Haproxy,
    /// Told to let pass what breaks HTTP.
    HaproxyLenient,
    /// With the file in `deploy/`.
    HaproxyDeployed,
    Nginx,
    /// With the file in `deploy/`.
    NginxDeployed,
    /// Says by PROXY protocol v2 who the client is, from the address that may.
    HaproxyAnnouncing,
    /// The same without looking at HTTP; itself behind a balancer that says who the client is.
    Announcing,
    /// The same, from an address that may not.
    AnnouncingFromElsewhere,
    /// From the address that must announce, and does not.
    Mute,
}

impl Kind {
    /// Those that every case goes through.
    pub(super) const ALL: [Self; 6] = [
        Self::Haproxy,
        Self::HaproxyLenient,
        Self::HaproxyDeployed,
        Self::HaproxyAnnouncing,
        Self::Nginx,
        Self::NginxDeployed,
    ];

    /// As the table calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Haproxy => "haproxy",
            Self::HaproxyLenient => "haproxy, lenient",
            Self::HaproxyDeployed => "haproxy of deploy/",
            Self::Nginx => "nginx",
            Self::NginxDeployed => "nginx of deploy/",
            Self::HaproxyAnnouncing => "haproxy, `send-proxy-v2`",
            Self::Announcing => "haproxy, TCP, `send-proxy-v2`",
            Self::AnnouncingFromElsewhere => "haproxy, TCP, `send-proxy-v2` from elsewhere",
            Self::Mute => "haproxy, TCP, without `send-proxy-v2`",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Nginx | Self::NginxDeployed => "nginx",
            _ => "haproxy",
        }
    }
}

/// A proxy that runs.
pub(super) struct Proxy {
    pub(super) kind: Kind,
    /// Where it listens.
    pub(super) addr: SocketAddr,
    counter: Counter,
    child: Child,
}

/// Where it counts the answers it had from the edge.
enum Counter {
    /// haproxy's statistics, over HTTP.
    Statistics(String),
    /// nginx's log: a line for each request, with the addresses asked and the statuses they answered.
    Log(PathBuf),
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // What is gone already is gone.
        crate::programs::signal(self.child.id(), libc::SIGTERM).ok();
        self.child.wait().ok();
    }
}

impl Proxy {
    /// How many answers it has had from the edge.
    pub(super) async fn forwarded(&self) -> anyhow::Result<u64> {
        match &self.counter {
            Counter::Statistics(url) => {
                let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
                answers_of_server(&http.get(url).send().await?.text().await?)
            }
            Counter::Log(path) => {
                let log = std::fs::read_to_string(path).context("nginx has no log")?;
                Ok(log.lines().map(answers_in_line).sum())
            }
        }
    }
}

/// Sums haproxy's counts of a server's answers by class. They are columns of a table with a head.
fn answers_of_server(table: &str) -> anyhow::Result<u64> {
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = lines.next().context("haproxy's statistics are empty")?;
    let server = lines.find(|row| row.get(1) == Some(&"edge-1")).context("haproxy knows no edge-1")?;
    let answers = head.iter().zip(server).filter(|(name, _)| name.starts_with("hrsp_"));
    Ok(answers.filter_map(|(_, count)| count.parse::<u64>().ok()).sum())
}

/// Answers of edges in a line of nginx's log: `edge status[, edge status…]`, with `-` for none.
fn answers_in_line(line: &str) -> u64 {
    // Of 502 nginx is the author: the edge was not reached, or hung up without an answer.
    let is_answer = |status: &&str| status.parse::<u16>().is_ok_and(|status| status != 502);
    let Some((upstreams, statuses)) = line.strip_prefix("edges ").and_then(|line| line.split_once(' '))
    else {
        return 0;
    };
    if upstreams == "-" { 0 } else { statuses.split([',', ' ', ':']).filter(is_answer).count() as u64 }
}

/// What starting a proxy takes.
pub(super) struct Yard<'a> {
    pub(super) packages: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) stack: &'a Stack,
}

impl Yard<'_> {
    /// Starts one and waits until it takes connections.
    pub(super) async fn start(&self, kind: Kind) -> anyhow::Result<Proxy> {
        let [port, statistics] = free_ports()?;
        let folder = self.folder.join(format!("{kind:?}"));
        std::fs::create_dir_all(&folder)?;
        let file = folder.join("config");
        let log = folder.join("requests.log");
        let config = match kind {
            Kind::Haproxy => self.haproxy(port, statistics, "", ""),
            Kind::HaproxyLenient => {
                self.haproxy(port, statistics, "  option accept-invalid-http-request\n", "")
            }
            Kind::HaproxyAnnouncing => {
                self.haproxy(port, statistics, "", &format!("source {BALANCER} send-proxy-v2"))
            }
            // Its own checks announce too: as the balancer's own connections.
            Kind::Announcing => self.haproxy_tcp(
                port,
                &format!("source {BALANCER} send-proxy-v2 check check-send-proxy inter 100ms"),
            ),
            Kind::AnnouncingFromElsewhere => self.haproxy_tcp(port, "send-proxy-v2"),
            Kind::Mute => self.haproxy_tcp(port, &format!("source {BALANCER}")),
            Kind::HaproxyDeployed => self.haproxy_deployed(port, statistics, &folder)?,
            Kind::Nginx => self.nginx(port, &log),
            Kind::NginxDeployed => self.nginx_deployed(port, &log, &folder)?,
        };
        std::fs::write(&file, config)?;
        let mut command = Command::new(self.packages.join("bin").join(kind.program()));
        let counter = if kind.program() == "haproxy" {
            command.args(["-db", "-f"]).arg(&file);
            Counter::Statistics(format!("http://{}/stats;csv", local(statistics)))
        } else {
            std::fs::write(&log, "")?;
            command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(&folder).arg("-c").arg(&file);
            Counter::Log(log)
        };
        let output = folder.join("output.log");
        let out = std::fs::File::create(&output)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("cannot start {}", kind.name()))?;
        let mut proxy = Proxy { kind, addr: local(port), counter, child };
        let deadline = Instant::now() + START_FOR;
        while std::net::TcpStream::connect(proxy.addr).is_err() {
            let said = || std::fs::read_to_string(&output).unwrap_or_default();
            ensure!(proxy.child.try_wait()?.is_none(), "{} ended: {}", kind.name(), said());
            ensure!(Instant::now() < deadline, "{} did not start: {}", kind.name(), said());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(proxy)
    }

    /// Passes TCP on, and is told by a header before each connection who its client is.
    fn haproxy_tcp(&self, port: u16, server: &str) -> String {
        format!(
            "global\n  maxconn 1000\n  nbthread 1\ndefaults\n  mode tcp\n  timeout client 60s\n  timeout server 60s\n  \
             timeout connect 2s\nlisten public\n  bind {} accept-proxy\n  server edge-1 {} {server}\n",
            local(port),
            self.stack.edge_addr
        )
    }

    fn haproxy(&self, port: u16, statistics: u16, option: &str, server: &str) -> String {
        format!(
            "global\n  maxconn 1000\n  nbthread 1\ndefaults\n  mode http\n  timeout client 10s\n  timeout server 10s\n  \
             timeout connect 2s\n  http-reuse always\n{option}frontend public\n  bind {}\n  default_backend edges\n\
             backend edges\n  server edge-1 {} {server}\nfrontend metrics\n  bind {}\n  stats enable\n  stats uri /stats\n",
            local(port),
            self.stack.edge_addr,
            local(statistics)
        )
    }

    /// The deployed file, with this stack's addresses and this machine's limits.
    fn haproxy_deployed(&self, port: u16, statistics: u16, folder: &Path) -> anyhow::Result<String> {
        let socket = folder.join("admin.sock").display().to_string();
        let ports = [
            ("check port 9080", self.stack.edge.admin()),
            ("check port 9081", self.stack.control_plane.admin()),
        ];
        let mut changes = vec![
            ("maxconn 50000".to_owned(), "maxconn 2000".to_owned()),
            ("/run/haproxy/admin.sock".to_owned(), socket),
            ("bind :80\n".to_owned(), format!("bind {}\n", local(port))),
            ("127.0.0.1:8405".to_owned(), local(statistics).to_string()),
            ("edge-1.internal:8080".to_owned(), self.stack.edge_addr.to_string()),
            ("    server edge-2 edge-2.internal:8080\n".to_owned(), String::new()),
            ("control-1.internal:8081".to_owned(), self.stack.api_addr().to_string()),
            ("    server control-2 control-2.internal:8081\n".to_owned(), String::new()),
        ];
        changes.extend(ports.map(|(from, to)| (from.to_owned(), format!("check port {}", to.port()))));
        change(HAPROXY_DEPLOYED, &changes)
    }

    fn nginx(&self, port: u16, log: &Path) -> String {
        format!(
            "{}daemon off; worker_processes 1; pid nginx.pid;\nevents {{ worker_connections 1000; }}\nhttp {{\n{}\
             proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
             upstream edges {{ server {}; keepalive 4; }}\n\
             server {{ listen {}; location / {{ proxy_pass http://edges; set $group edges; }} }}\n}}\n",
            account(),
            Self::nginx_http(log),
            self.stack.edge_addr,
            local(port)
        )
    }

    fn nginx_deployed(&self, port: u16, log: &Path, folder: &Path) -> anyhow::Result<String> {
        let changes = [
            ("worker_rlimit_nofile 65536;".to_owned(), format!("{}daemon off;", account())),
            ("/run/nginx.pid".to_owned(), folder.join("nginx.pid").display().to_string()),
            ("worker_connections 16384;".to_owned(), "worker_connections 1000;".to_owned()),
            ("    access_log off;\n".to_owned(), Self::nginx_http(log)),
            ("/var/log/nginx/error.log".to_owned(), folder.join("error.log").display().to_string()),
            ("listen 80 reuseport".to_owned(), format!("listen {} reuseport", local(port))),
            ("edge-1.internal:8080".to_owned(), self.stack.edge_addr.to_string()),
            ("        server edge-2.internal:8080 max_fails=1 fail_timeout=2s;\n".to_owned(), String::new()),
            ("control-1.internal:8081".to_owned(), self.stack.api_addr().to_string()),
            (
                "        server control-2.internal:8081 max_fails=1 fail_timeout=2s;\n".to_owned(),
                String::new(),
            ),
            (
                "location /api/track/ {".to_owned(),
                "location /api/track/ {\n            set $group edges;".to_owned(),
            ),
        ];
        change(NGINX_DEPLOYED, &changes)
    }

    /// What only a run needs: a log of answers, and places for files.
    fn nginx_http(log: &Path) -> String {
        let mut http = format!(
            "log_format answers '$group $upstream_addr $upstream_status';\n\
             access_log {} answers;\n",
            log.display()
        );
        for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            // A string takes everything.
            writeln!(http, "{what}_temp_path {what}_temp;").ok();
        }
        http
    }
}

/// Replaces each text, which must be there, and all of its kind.
fn change(config: &str, changes: &[(String, String)]) -> anyhow::Result<String> {
    changes.iter().try_fold(config.to_owned(), |config, (from, to)| {
        ensure!(config.contains(from.as_str()), "the deployed configuration has no `{from}` any more");
        Ok(config.replace(from.as_str(), to))
    })
}

/// nginx's workers otherwise become an account that may not read the folder.
fn account() -> &'static str {
    if crate::bench::is_root() { "user root;\n" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_in_a_table_and_in_a_line() {
        let table =
            "# pxname,svname,hrsp_1xx,hrsp_4xx,hrsp_other,x\npublic,FRONTEND,9,9,9,9\nedges,edge-1,0,2,1,7\n";
        assert_eq!(answers_of_server(table).unwrap(), 3);
        for (line, answers) in [
            ("edges 127.0.0.1:1 302", 1),
            ("edges 127.0.0.1:1 400", 1),
            ("edges - -", 0),
            (" - -", 0),
            (" 127.0.0.1:2 404", 0),
            ("edges 127.0.0.1:1 502", 0),
        ] {
            assert_eq!(answers_in_line(line), answers, "{line}");
        }
    }
}
