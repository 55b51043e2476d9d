//! Prometheus and the exporters, started for one run, and what becomes of each alert there.

use super::rules;
use crate::stack::ground::{Lab, free_ports};
use crate::stack::local;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

const LOOK_EVERY: Duration = Duration::from_millis(250);
const READY_FOR: Duration = Duration::from_secs(30);

/// What an alert has done so far: each time it began to fire, and ended.
#[derive(Default)]
struct Story {
    began: Vec<Instant>,
    ended: Vec<Instant>,
}

impl Story {
    fn fires(&self) -> bool {
        self.began.len() > self.ended.len()
    }
}

type Stories = Arc<Mutex<BTreeMap<String, Story>>>;

/// What is watched.
pub(super) struct Targets {
    pub(super) edge: SocketAddr,
    pub(super) control: SocketAddr,
    pub(super) postgres: SocketAddr,
    pub(super) redis: SocketAddr,
}

/// Prometheus, its exporters, and a look at the alerts four times a second.
pub(super) struct Watch {
    children: Vec<Child>,
    folder: PathBuf,
    addr: SocketAddr,
    http: reqwest::Client,
    stories: Stories,
    looking: JoinHandle<()>,
    edges: BTreeSet<SocketAddr>,
    controls: BTreeSet<SocketAddr>,
}

impl Watch {
    pub(super) async fn start(lab: &Lab, folder: &Path, targets: &Targets) -> anyhow::Result<Self> {
        let bin = lab.monitors.as_ref().context("Prometheus was not unpacked")?.join("bin");
        let folder = folder.join("prometheus");
        std::fs::create_dir_all(folder.join("text")).context("cannot make a folder")?;
        let [port, postgres, redis, node] = free_ports()?.map(local);
        std::fs::write(folder.join("alerts.yml"), rules::scaled())?;
        std::fs::write(folder.join("prometheus.yml"), scraping(postgres, redis, node))?;
        let mut watch = Self {
            children: Vec::new(),
            addr: port,
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
            stories: Stories::default(),
            looking: tokio::spawn(async {}),
            edges: BTreeSet::from([targets.edge]),
            controls: BTreeSet::from([targets.control]),
            folder,
        };
        watch.write_targets()?;
        watch.targets("payouts-evm", &BTreeSet::new())?;
        let source = format!("postgres://aos@{}/postgres?sslmode=disable", targets.postgres);
        let folder = watch.folder.clone();
        watch.spawn(
            Command::new(bin.join("prometheus-postgres-exporter"))
                .arg(format!("--web.listen-address={postgres}"))
                .env("DATA_SOURCE_NAME", source),
        )?;
        watch.spawn(
            Command::new(bin.join("prometheus-redis-exporter"))
                .arg(format!("--web.listen-address={redis}"))
                .arg(format!("--redis.addr=redis://{}", targets.redis)),
        )?;
        watch.spawn(
            Command::new(bin.join("prometheus-node-exporter"))
                .args(["--collector.disable-defaults", "--collector.textfile"])
                .arg(format!("--collector.textfile.directory={}", folder.join("text").display()))
                .arg(format!("--web.listen-address={node}")),
        )?;
        watch.spawn(
            Command::new(bin.join("prometheus"))
                .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address={port}")),
        )?;
        let deadline = Instant::now() + READY_FOR;
        while watch.ask("up", &[]).await.is_err() {
            ensure!(Instant::now() < deadline, "Prometheus did not start; see {}", folder.display());
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let (http, stories) = (watch.http.clone(), Arc::clone(&watch.stories));
        watch.looking = tokio::spawn(look(http, port, stories));
        Ok(watch)
    }

    fn spawn(&mut self, command: &mut Command) -> anyhow::Result<()> {
        let name =
            Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        let log = std::fs::File::create(self.folder.join(format!("{name}.log")))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.children.push(child.with_context(|| format!("cannot start {name}"))?);
        Ok(())
    }

    /// Where `control-plane reconcile --metrics` leaves its figures, for the exporter of the machine.
    pub(super) fn text_folder(&self) -> PathBuf {
        self.folder.join("text")
    }

    fn targets(&self, job: &str, addrs: &BTreeSet<SocketAddr>) -> anyhow::Result<()> {
        let file = self.folder.join(format!("{job}.json"));
        let draft = file.with_extension("new");
        std::fs::write(&draft, json!([{"targets": addrs}]).to_string())?;
        std::fs::rename(draft, file).context("cannot name the targets")
    }

    fn write_targets(&self) -> anyhow::Result<()> {
        self.targets("tracker-edge", &self.edges)?;
        self.targets("control-plane", &self.controls)
    }

    /// Watches another edge, or no longer.
    pub(super) fn edge(&mut self, addr: SocketAddr, watched: bool) -> anyhow::Result<()> {
        if watched {
            self.edges.insert(addr)
        } else {
            self.edges.remove(&addr)
        };
        self.write_targets()
    }

    /// Watches another control plane, or no longer.
    pub(super) fn control(&mut self, addr: SocketAddr, watched: bool) -> anyhow::Result<()> {
        if watched {
            self.controls.insert(addr)
        } else {
            self.controls.remove(&addr)
        };
        self.write_targets()
    }

    /// Watches these alone.
    pub(super) fn only(&mut self, edge: SocketAddr, control: SocketAddr) -> anyhow::Result<()> {
        (self.edges, self.controls) = (BTreeSet::from([edge]), BTreeSet::from([control]));
        self.write_targets()
    }

    /// Watches a `payouts-evm`, or none.
    pub(super) fn payouts(&self, addr: Option<SocketAddr>) -> anyhow::Result<()> {
        self.targets("payouts-evm", &addr.into_iter().collect())
    }

    /// Asks a query; gives its series.
    pub(super) async fn ask(&self, query: &str, further: &[(&str, &str)]) -> anyhow::Result<Vec<Value>> {
        let mut url = reqwest::Url::parse(&format!("http://{}/api/v1/query", self.addr))?;
        url.query_pairs_mut().append_pair("query", query).extend_pairs(further);
        let reply: Value = self.http.get(url).send().await?.json().await?;
        ensure!(reply["status"] == "success", "{query}: {}", reply["error"]);
        match &reply["data"]["result"] {
            Value::Array(series) => Ok(series.clone()),
            _ => anyhow::bail!("{query}: no series in {reply}"),
        }
    }

    /// When an alert fired first since then, or whether it has gone on firing.
    pub(super) fn fired(&self, alert: &str, since: Instant) -> Option<Duration> {
        let stories = self.stories.lock().unwrap_or_else(PoisonError::into_inner);
        let story = stories.get(alert)?;
        let began = story.began.iter().find(|began| **began >= since);
        began.map(|began| *began - since).or_else(|| story.fires().then_some(Duration::ZERO))
    }

    /// When an alert ended for good after then; `None` while it fires.
    pub(super) fn resolved(&self, alert: &str, since: Instant) -> Option<Duration> {
        let stories = self.stories.lock().unwrap_or_else(PoisonError::into_inner);
        let story = stories.get(alert).filter(|story| !story.fires())?;
        // One that had ended before the cause was mended, as rates do.
        Some(story.ended.iter().find(|ended| **ended >= since).map_or(Duration::ZERO, |ended| *ended - since))
    }

    /// The alerts that fire now.
    pub(super) fn firing(&self) -> Vec<String> {
        let stories = self.stories.lock().unwrap_or_else(PoisonError::into_inner);
        stories.iter().filter(|(_, story)| story.fires()).map(|(name, _)| name.clone()).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.looking.abort();
        for child in &mut self.children {
            // It may have ended by itself.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

fn scraping(postgres: SocketAddr, redis: SocketAddr, node: SocketAddr) -> String {
    let mut text = "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n\
                    rule_files: [alerts.yml]\nscrape_configs:\n"
        .to_owned();
    for job in ["tracker-edge", "control-plane", "payouts-evm"] {
        text.push_str(&format!(
            "  - job_name: {job}\n    file_sd_configs: [{{files: ['{job}.json'], refresh_interval: 1s}}]\n"
        ));
    }
    for (job, addr, every) in [("postgres", postgres, 7), ("redis", redis, 1), ("node", node, 1)] {
        // The exporter of Postgres tries for six seconds before it says that there is none.
        text.push_str(&format!(
            "  - job_name: {job}\n    scrape_interval: {every}s\n    scrape_timeout: {every}s\n    \
             static_configs: [{{targets: ['{addr}']}}]\n"
        ));
    }
    text
}

/// Looks at the alerts until the run ends.
async fn look(http: reqwest::Client, prometheus: SocketAddr, stories: Stories) {
    let url = format!("http://{prometheus}/api/v1/alerts");
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Ok(reply) = http.get(&url).send().await else { continue };
        let Ok(reply) = reply.json::<Value>().await else { continue };
        let Some(alerts) = reply["data"]["alerts"].as_array() else { continue };
        let firing: BTreeSet<&str> = alerts
            .iter()
            .filter(|alert| alert["state"] == "firing")
            .filter_map(|alert| alert["labels"]["alertname"].as_str())
            .collect();
        let mut stories = stories.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for name in &firing {
            let story = stories.entry((*name).to_owned()).or_default();
            if !story.fires() {
                story.began.push(now);
            }
        }
        for (name, story) in stories.iter_mut() {
            if story.fires() && !firing.contains(name.as_str()) {
                story.ended.push(now);
            }
        }
    }
}
