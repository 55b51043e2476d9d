//! What goes wrong on the way of a click: edges, spools, frames, records.

use super::scene::Scene;
use crate::say;
use crate::stack::SHARDS;
use anyhow::{Context, ensure};
use redis::aio::MultiplexedConnection;
use shared::click::{Click, ClickClass, FLAG_BILLABLE};
use shared::frame::{self, FrameHeader};
use shared::keys::{Keys, SpoolReport, shard_of};
use shared::{Clock, LinkKey, SystemClock};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const CAUSED_FOR: Duration = Duration::from_mins(1);
const EVERY: Duration = Duration::from_millis(500);
const BURST: u64 = 5_000;
const BURSTS_MAX: u32 = 60;

/// The header of the PROXY protocol, version 2: TCP over IPv4, from 203.0.113.7 port 4000 to 203.0.113.1 port 80.
const FROM_ELSEWHERE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\xcb\0\x71\x01\x0f\xa0\0\x50";

async fn add(
    redis: &mut MultiplexedConnection,
    stream: &str,
    field: &str,
    bytes: &[u8],
) -> anyhow::Result<String> {
    Ok(redis::cmd("XADD").arg(stream).arg("*").arg(field).arg(bytes).query_async(redis).await?)
}

pub(super) async fn frames(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.redis().await?;
    let stream = Keys::new("").clicks(0);
    add(&mut redis, &stream, "f", &[0x5a; 100]).await?;
    let later = add(&mut redis, &stream, "f", &[b"AOSF\xff".as_slice(), &[0; 200]].concat()).await?;
    let (stream_of_nobody, bytes) = of_nobody();
    add(&mut redis, &stream_of_nobody, "f", &bytes).await?;
    scene.fires(&["FramesParked", "FramesUnknown", "ClicksOfNobody"]).await?;
    // As a later build of the drainer would.
    redis::cmd("XDEL").arg(&stream).arg(later).query_async::<()>(&mut redis).await?;
    let database = scene.database().await?;
    let parked: Vec<i64> = sqlx::query_scalar("SELECT id FROM parked_frames").fetch_all(&database).await?;
    let ids: Vec<String> = parked.iter().map(i64::to_string).collect();
    let words = ["parked", "drop"].into_iter().chain(ids.iter().map(String::as_str)).collect::<Vec<_>>();
    let (code, said) = scene.stack.control_plane.outcome(&words)?;
    ensure!(code == Some(0), "`parked drop` ended with {code:?}: {said}");
    scene.mended(&["FramesParked", "FramesUnknown", "ClicksOfNobody"]);
    Ok(())
}

/// A frame with a click on a link, and of an account, of another deployment, and its stream.
fn of_nobody() -> (String, Vec<u8>) {
    let at_ms = SystemClock.now().timestamp_millis();
    let click = Click {
        at_ms,
        link: LinkKey::generate(),
        advertiser: 999_999,
        visitor: 1,
        class: ClickClass::Human,
        flags: FLAG_BILLABLE,
        country: [0; 2],
        notes: &[],
    };
    let spool = shared::id::EventId::generate().uuid();
    let header = FrameHeader { spool, edge: 1, first_seq: 0, clock_ms: at_ms, lost_before: 0, last: true };
    let mut bytes = Vec::new();
    frame::encode(&header, &[click], &mut bytes);
    (Keys::new("").clicks(shard_of(spool, SHARDS)), bytes)
}

pub(super) async fn later_record(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.redis().await?;
    let keys = Keys::new("");
    let number: u64 = redis::cmd("INCR").arg(keys.changes_number()).query_async(&mut redis).await?;
    let mut add = redis::cmd("XADD");
    add.arg(keys.changes()).arg("*").arg("n").arg(number).arg("r").arg([0xff_u8; 64].as_slice());
    add.query_async::<()>(&mut redis).await?;
    scene.fires(&["LinksUnreadable"]).await?;
    scene.mended(&["LinksUnreadable"]);
    Ok(())
}

pub(super) async fn small_budget(scene: &mut Scene) -> anyhow::Result<()> {
    let edge = scene.stack.edge_addr;
    for _ in 0..BURSTS_MAX {
        scene.click(edge, BURST, None).await?;
        if scene.stack.edge.metric("edge_spool_freed_early_total").await? > 0.0 {
            break;
        }
    }
    scene.fires(&["SpoolBudgetSmall"]).await?;
    scene.mended(&["SpoolBudgetSmall"]);
    Ok(())
}

/// A certificate that is valid for so many days, and its key.
fn certify(folder: &Path, days: i64) -> anyhow::Result<()> {
    let mut wanted = rcgen::CertificateParams::new(["go.example".to_owned()])?;
    let end = SystemClock.now() + chrono::TimeDelta::days(days);
    let part = |format: &str| end.format(format).to_string();
    wanted.not_after = rcgen::date_time_ymd(part("%Y").parse()?, part("%m").parse()?, part("%d").parse()?);
    let key = rcgen::KeyPair::generate()?;
    let certificate = wanted.self_signed(&key)?;
    for (name, text) in [("odd.key", key.serialize_pem()), ("odd.crt", certificate.pem())] {
        let draft = folder.join(format!("{name}.new"));
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, folder.join(name))?;
    }
    Ok(())
}

/// An edge that stands in a folder with somebody's notes, lets few in, and has a certificate that ends in five days.
pub(super) async fn odd_edge(scene: &mut Scene) -> anyhow::Result<()> {
    let folder = scene.stack.folder.clone();
    certify(&folder, 5)?;
    let [tls] = crate::stack::ground::free_ports()?.map(crate::stack::local);
    let text = |path: &Path| path.display().to_string();
    let settings = [
        ("AOS_EDGE_CONNECTIONS_PER_ADDRESS", "4".to_owned()),
        // Loopback may have as many as it likes: these say that they come from elsewhere.
        ("AOS_EDGE_PROXY_PROTOCOL", "127.0.0.0/8".to_owned()),
        ("AOS_EDGE_TLS_ADDR", tls.to_string()),
        ("AOS_EDGE_TLS_CERT", text(&folder.join("odd.crt"))),
        ("AOS_EDGE_TLS_KEY", text(&folder.join("odd.key"))),
    ];
    let (mut edge, addr, spool) = scene.another_edge(&settings).await?;
    std::fs::create_dir_all(&spool)?;
    std::fs::write(spool.join("notes.txt"), "somebody's")?;
    edge.start()?;
    edge.ready().await?;
    crowd_until(scene, addr, "ConnectionsRefused").await?;
    scene.fires(&["SpoolForeignFiles", "CertificateExpires"]).await?;
    std::fs::write(folder.join("odd.crt"), "no certificate")?;
    scene.fires(&["FileStale"]).await?;
    let pid = edge.id().context("the edge does not run")?;
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count();
    limit_files(pid, open as u64)?;
    crowd_until(scene, addr, "AcceptsFail").await?;
    limit_files(pid, 1_024)?;
    std::fs::remove_file(spool.join("notes.txt"))?;
    certify(&folder, 90)?;
    // Foreign files are counted at a start.
    edge.stop()?;
    edge.start()?;
    edge.ready().await?;
    scene.mended(&[
        "ConnectionsRefused",
        "SpoolForeignFiles",
        "CertificateExpires",
        "FileStale",
        "AcceptsFail",
    ]);
    scene.keep(edge);
    Ok(())
}

/// More connections than one address may have, again and again.
async fn crowd_until(scene: &mut Scene, addr: std::net::SocketAddr, alert: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + CAUSED_FOR;
    while !scene.has_fired(alert) {
        ensure!(Instant::now() < deadline, "{alert} did not fire");
        let mut crowd = Vec::new();
        for _ in 0..30 {
            // One that is refused is what this is about.
            let Ok(mut stream) = TcpStream::connect(addr).await else { continue };
            stream.write_all(FROM_ELSEWHERE).await.ok();
            crowd.push(stream);
        }
        tokio::time::sleep(EVERY).await;
    }
    scene.fires(&[alert]).await
}

/// Changes how many files a process may open.
fn limit_files(pid: u32, files: u64) -> anyhow::Result<()> {
    let status = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--nofile={files}:1024")])
        .status()
        .context("cannot run prlimit")?;
    ensure!(status.success(), "prlimit ended with {status}");
    Ok(())
}

pub(super) async fn wrong_clock(scene: &mut Scene) -> anyhow::Result<()> {
    let file = scene.stack.folder.join("wrong-clock");
    std::fs::write(&file, "+2d\n")?;
    let clock = scene.stack.ground.lab.clock_env(&file)?;
    let (mut edge, addr, _) = scene.another_edge(&clock).await?;
    edge.start()?;
    edge.ready().await?;
    let deadline = Instant::now() + CAUSED_FOR;
    while !scene.has_fired("EdgeClockWrong") {
        ensure!(Instant::now() < deadline, "EdgeClockWrong did not fire");
        scene.click(addr, 50, Some(50)).await?;
    }
    scene.fires(&["EdgeClockWrong"]).await?;
    edge.stop()?;
    scene.watch.edge(edge.admin(), false)?;
    scene.mended(&["EdgeClockWrong"]);
    Ok(())
}

/// The last word of one that was switched off more than ten minutes ago, with clicks on its disk.
pub(super) async fn silent_edge(scene: &mut Scene) -> anyhow::Result<()> {
    let mut redis = scene.redis().await?;
    let spool = shared::id::EventId::generate().uuid();
    let report = SpoolReport {
        accepted: 50,
        declared_loss: 0,
        live: true,
        shipped: 0,
        next_seq: 0,
        kept_from: 0,
        at_ms: (SystemClock.now() - chrono::TimeDelta::minutes(11)).timestamp_millis(),
    };
    let (reports, field) = (Keys::new("").reports(shard_of(spool, SHARDS)), spool.simple().to_string());
    redis::cmd("HSET")
        .arg(&reports)
        .arg(&field)
        .arg(report.to_string())
        .query_async::<()>(&mut redis)
        .await?;
    let told = scene.fires(&["ClicksOnSilentEdge"]).await;
    redis::cmd("HDEL").arg(&reports).arg(&field).query_async::<()>(&mut redis).await?;
    told?;
    scene.mended(&["ClicksOnSilentEdge"]);
    Ok(())
}

pub(super) async fn killed_and_copied(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.edge.kill()?;
    scene.watch_others(false)?;
    scene.fires(&["EdgeDown", "NoEdgeUp"]).await?;
    let (mut clone, addr, spool) = scene.another_edge(&[]).await?;
    let copied = Command::new("cp").arg("-r").arg(&scene.stack.spool).arg(&spool).status()?;
    ensure!(copied.success(), "cannot copy the spool");
    as_an_image(&spool)?;
    clone.start()?;
    scene.stack.edge.start()?;
    scene.stack.edge.ready().await?;
    clone.ready().await?;
    scene.mended(&["EdgeDown", "NoEdgeUp"]);
    scene.watch_others(true)?;
    scene.click(addr, 500, None).await?;
    scene.fires(&["SpoolShared"]).await?;
    clone.stop()?;
    scene.watch.edge(clone.admin(), false)?;
    scene.mended(&["SpoolShared"]);
    Ok(())
}

/// A copied folder is known by the inode that its edge's id names. A cloned disk keeps inodes; here the copy is made to
/// name its own.
fn as_an_image(spool: &Path) -> anyhow::Result<()> {
    let file = spool.join("edge");
    let text = std::fs::read_to_string(&file)?;
    let (id, _) = text.split_once(' ').context("an edge's id and an inode")?;
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&file)?);
    std::fs::write(&file, format!("{id} {inode}\n"))?;
    Ok(())
}

pub(super) async fn control_killed(scene: &mut Scene) -> anyhow::Result<()> {
    const ALERTS: [&str; 3] = ["ControlPlaneDown", "NoControlPlaneUp", "PipelineUnmeasured"];
    scene.stack.control_plane.kill()?;
    scene.watch_others(false)?;
    scene.fires(&ALERTS).await?;
    scene.stack.control_plane.start()?;
    scene.stack.control_plane.ready().await?;
    scene.watch_others(true)?;
    scene.mended(&ALERTS);
    Ok(())
}

/// Without Redis nothing is committed, so nothing makes room.
pub(super) async fn disk_full(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.redis.kill()?;
    scene.stack.disk.as_ref().context("the stack has no disk")?.fill()?;
    let edge = scene.stack.edge_addr;
    for _ in 0..BURSTS_MAX {
        scene.click(edge, BURST, None).await?;
        if scene.stack.edge.metric("edge_clicks_lost_total").await? > 0.0 {
            break;
        }
    }
    let told = scene.fires(&["SpoolDegraded", "SpoolDiskFails", "ClicksDeclaredLost"]).await;
    scene.stack.redis.start()?;
    scene.stack.disk.as_ref().context("the stack has no disk")?.empty()?;
    told?;
    scene.mended(&["SpoolDegraded", "SpoolDiskFails", "ClicksDeclaredLost"]);
    scene.fires(&["LossStored"]).await?;
    scene.mended(&["LossStored"]);
    let lost = scene.stack.edge.metric("edge_clicks_lost_total").await?;
    say(&format!("  {lost} clicks were declared lost"));
    Ok(())
}
