//! The rivals: redirecting servers of Debian's packages, each with one worker and settings its friends would
//! choose. What they record is counted afterwards, as the edge's clicks are.
//!
//! - `nginx return`: one constant redirect, no log: knows no links, records nothing
//! - `nginx map, buffered log`: all links in a hash; clicks in a log that a crash loses 64 KiB of
//! - `nginx map, log`: the same, each click written before the next: loses none on a crash
//! - `nginx Lua Redis`: look-up and record in one round trip to a Redis on the same core, whose CPU time counts
//! - `haproxy redirect`, `varnish synth`: one constant redirect

use super::links::{Links, destination};
use super::load::Expected;
use crate::stack::ground::{Lab, free_ports};
use crate::stack::local;
use crate::stack::servers::Redis;
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const START_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);
const FLUSHED_FOR: Duration = Duration::from_secs(5);
const FILL: usize = 1000;

/// What a server leaves of the clicks it answered.
enum Record {
    Nothing,
    /// A line each.
    Log(PathBuf),
    /// An entry each.
    Stream(MultiplexedConnection),
}

/// A rival that runs.
pub(crate) struct Rival {
    /// As the table calls it.
    pub(crate) name: &'static str,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where its redirects lead.
    pub(crate) expected: Expected,
    record: Record,
    child: Child,
    /// Another server it needs.
    redis: Option<Redis>,
}

impl Drop for Rival {
    fn drop(&mut self) {
        // What is gone already is gone.
        crate::programs::signal(self.child.id(), libc::SIGTERM).ok();
        self.child.wait().ok();
    }
}

/// What starting a rival takes.
pub(crate) struct Yard<'a> {
    /// Servers that may be started.
    pub(crate) lab: &'a Lab,
    /// Where the rivals were unpacked.
    pub(crate) packages: &'a Path,
    /// A folder for their files.
    pub(crate) folder: &'a Path,
    /// The links those that know links are given.
    pub(crate) links: &'a Links,
}

impl Rival {
    /// Its processes whose CPU time counts.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let redis = self.redis.as_ref().and_then(Redis::id);
        std::iter::once(self.child.id()).chain(redis).collect()
    }

    /// Whether `clicks` are recorded; forgets them. `None` when it records nothing.
    pub(crate) async fn recorded(&mut self, clicks: u64) -> anyhow::Result<Option<u64>> {
        match &mut self.record {
            Record::Nothing => Ok(None),
            Record::Log(path) => {
                let deadline = Instant::now() + FLUSHED_FOR;
                loop {
                    let file = std::fs::File::open(&*path).context("there is no log")?;
                    let lines = BufReader::with_capacity(1 << 20, file).split(b'\n').count() as u64;
                    if lines >= clicks || Instant::now() > deadline {
                        // Written by appending, so it begins again at the start.
                        std::fs::OpenOptions::new().write(true).open(&*path)?.set_len(0)?;
                        return Ok(Some(lines));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
            Record::Stream(conn) => {
                let (entries, _): (u64, i64) = redis::pipe()
                    .cmd("XLEN")
                    .arg("clicks")
                    .cmd("XTRIM")
                    .arg(&["clicks", "MAXLEN", "0"])
                    .query_async(conn)
                    .await?;
                Ok(Some(entries))
            }
        }
    }
}

impl Yard<'_> {
    /// The floor, which is no package.
    pub(crate) async fn floor(&self) -> anyhow::Result<Rival> {
        let [port] = free_ports()?;
        let exe = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(exe);
        command.args(["floor", "--addr", &local(port).to_string(), "--location", &first()]);
        self.spawn("bare epoll, constant", "floor", port, command, Record::Nothing).await
    }

    /// nginx with one constant redirect.
    pub(crate) async fn nginx_return(&self) -> anyhow::Result<Rival> {
        let site = format!("access_log off; location / {{ return 302 \"{}\"; }}", first());
        self.nginx("nginx `return`", "return", "", &site, Record::Nothing, Expected::First).await
    }

    /// nginx with all links in a map and a log of this kind.
    pub(crate) async fn nginx_map(&self, buffered: bool) -> anyhow::Result<Rival> {
        let (name, folder, how) = if buffered {
            ("nginx `map`, buffered log", "map-buffered", " buffer=64k flush=1s")
        } else {
            ("nginx `map`, log", "map-log", "")
        };
        let map = self.folder.join("links.map");
        if !map.exists() {
            let mut out = BufWriter::new(std::fs::File::create(&map)?);
            let mut leads_to = Vec::new();
            for link in 0..self.links.count() {
                destination(link, &mut leads_to);
                write!(out, "/api/track/{} \"", self.links.token(link))?;
                out.write_all(&leads_to)?;
                out.write_all(b"\";\n")?;
            }
            out.flush()?;
        }
        let log = self.folder.join(folder).join("clicks.log");
        let http = format!(
            "map_hash_max_size 4194304; map_hash_bucket_size 128; map $uri $to {{ include {}; }}\n\
             log_format clicks '$msec $remote_addr $uri \"$http_user_agent\" \"$http_referer\"';",
            map.display()
        );
        let site = format!("access_log {} clicks{how}; location / {{ return 302 $to; }}", log.display());
        self.nginx(name, folder, &http, &site, Record::Log(log), Expected::Own).await
    }

    /// nginx that asks a Redis for the link and gives it the click, in one round trip.
    pub(crate) async fn nginx_lua(&self) -> anyhow::Result<Rival> {
        let folder = self.folder.join("lua-redis");
        std::fs::create_dir_all(&folder)?;
        let mut redis = Redis::new(self.lab, &folder, &[])?;
        redis.start()?;
        redis.ready().await?;
        let mut conn = redis.connect().await?;
        let mut leads_to = Vec::new();
        let all: Vec<u32> = (0..self.links.count()).collect();
        for chunk in all.chunks(FILL) {
            let mut pipe = redis::pipe();
            for &link in chunk {
                destination(link, &mut leads_to);
                pipe.set(self.links.token(link), leads_to.as_slice()).ignore();
            }
            pipe.query_async::<()>(&mut conn).await?;
        }
        let http = format!("lua_package_path '{}/usr/share/lua/5.1/?.lua;;';", self.packages.display());
        let site = format!(
            "access_log off; location / {{ content_by_lua_block {{ {} }} }}",
            LUA.replace("PORT", &redis.port().to_string())
        );
        let record = Record::Stream(conn);
        let mut rival = self.nginx("nginx Lua Redis", "lua", &http, &site, record, Expected::Own).await?;
        rival.redis = Some(redis);
        Ok(rival)
    }

    /// haproxy with one constant redirect.
    pub(crate) async fn haproxy(&self) -> anyhow::Result<Rival> {
        let [port] = free_ports()?;
        let file = self.folder.join("haproxy.cfg");
        let config = format!(
            "global\n  maxconn 4096\n  nbthread 1\ndefaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  \
             timeout connect 5s\nfrontend f\n  bind {}\n  http-request redirect code 302 location '{}'\n",
            local(port),
            first()
        );
        std::fs::write(&file, config)?;
        let mut command = self.program("haproxy");
        command.args(["-db", "-f"]).arg(&file);
        self.spawn("haproxy `redirect`", "haproxy", port, command, Record::Nothing).await
    }

    /// varnish with one constant redirect.
    pub(crate) async fn varnish(&self) -> anyhow::Result<Rival> {
        let [port] = free_ports()?;
        let file = self.folder.join("redirect.vcl");
        let config = format!(
            "vcl 4.1;\nbackend default none;\nsub vcl_recv {{ return (synth(302)); }}\nsub vcl_synth {{\n  \
             set resp.http.Location = \"{}\";\n  set resp.body = \"\";\n  return (deliver);\n}}\n",
            first()
        );
        std::fs::write(&file, config)?;
        let mut command = self.program("varnishd");
        command.args(["-F", "-j", "none", "-s", "malloc,64m", "-a", &local(port).to_string()]);
        command.arg("-n").arg(self.folder.join("varnish.work")).arg("-f").arg(&file);
        self.spawn("varnish `synth`", "varnish", port, command, Record::Nothing).await
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.packages.join("bin").join(name))
    }

    async fn nginx(
        &self,
        name: &'static str,
        folder: &str,
        http: &str,
        site: &str,
        record: Record,
        expected: Expected,
    ) -> anyhow::Result<Rival> {
        let [port] = free_ports()?;
        let place = self.folder.join(folder);
        std::fs::create_dir_all(&place)?;
        let modules = self.packages.join("usr/lib/nginx/modules");
        let mut config = String::new();
        if http.contains("lua") {
            for module in ["ndk_http_module.so", "ngx_http_lua_module.so"] {
                writeln!(config, "load_module {};", modules.join(module).display())?;
            }
        }
        // Its workers otherwise become an account that may not read the folder.
        if is_root() {
            config.push_str("user root;\n");
        }
        writeln!(config, "daemon off; worker_processes 1; pid nginx.pid; error_log error.log crit;")?;
        writeln!(config, "events {{ worker_connections 16384; }}\nhttp {{")?;
        for what in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(config, "{what}_temp_path {what}_temp;")?;
        }
        writeln!(config, "keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on; {http}")?;
        writeln!(config, "server {{ listen {} backlog=4096; {site} }} }}", local(port))?;
        let file = place.join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = self.program("nginx");
        command.arg("-e").arg(place.join("error.log")).arg("-p").arg(&place).arg("-c").arg(&file);
        let mut rival = self.spawn(name, folder, port, command, record).await?;
        rival.expected = expected;
        Ok(rival)
    }

    /// Starts a server and waits until it takes connections.
    async fn spawn(
        &self,
        name: &'static str,
        file: &str,
        port: u16,
        mut command: Command,
        record: Record,
    ) -> anyhow::Result<Rival> {
        let path = self.folder.join(format!("{file}.log"));
        let log = std::fs::File::create(&path)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let addr = local(port);
        let mut rival = Rival { name, addr, expected: Expected::First, record, child, redis: None };
        let deadline = Instant::now() + START_FOR;
        while std::net::TcpStream::connect(addr).is_err() {
            let ended = rival.child.try_wait()?;
            ensure!(ended.is_none(), "{name} ended: {}", std::fs::read_to_string(&path).unwrap_or_default());
            ensure!(Instant::now() < deadline, "{name} did not start; see {}", path.display());
            tokio::time::sleep(PAUSE).await;
        }
        Ok(rival)
    }
}

/// The destination of link 0.
fn first() -> String {
    let mut leads_to = Vec::new();
    destination(0, &mut leads_to);
    String::from_utf8_lossy(&leads_to).into_owned()
}

#[expect(unsafe_code, reason = "geteuid(2) has no safe wrapper in std")]
pub(crate) fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Look-up and record are sent at once, over a connection from nginx's pool.
const LUA: &str = r#"
    local token = ngx.var.uri:sub(12)
    local function bulk(text) return "$" .. #text .. "\r\n" .. text .. "\r\n" end
    local headers = ngx.req.get_headers()
    local redis = ngx.socket.tcp()
    local ok, why = redis:connect("127.0.0.1", PORT)
    if not ok then ngx.log(ngx.CRIT, why) return ngx.exit(503) end
    redis:send("*2\r\n$3\r\nGET\r\n" .. bulk(token)
        .. "*11\r\n$4\r\nXADD\r\n$6\r\nclicks\r\n$1\r\n*\r\n$1\r\nt\r\n" .. bulk(token)
        .. "$1\r\na\r\n" .. bulk(ngx.var.remote_addr) .. "$1\r\nu\r\n" .. bulk(headers["user-agent"] or "")
        .. "$1\r\nr\r\n" .. bulk(headers["referer"] or ""))
    local length = tonumber((redis:receive() or "$-1"):sub(2))
    if length < 0 then return ngx.exit(404) end
    local to = redis:receive(length)
    redis:receive(2)
    redis:receive()
    redis:receive()
    redis:setkeepalive(60000, 256)
    return ngx.redirect(to, 302)
"#;
