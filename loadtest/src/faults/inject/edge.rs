//! Faults of the edge: its process and its disk.

use crate::faults::scene::Scene;
use anyhow::{Context, ensure};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Redis and the control plane are away for so long while an edge starts.
const ALONE_FOR: Duration = Duration::from_secs(3);

pub(in crate::faults) async fn killed(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        scene.stack.edge.kill()?;
        scene.stack.edge.start()?;
        scene.stack.edge.ready().await?;
    }
    Ok(())
}

pub(in crate::faults) async fn drained(scene: &mut Scene) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes.min(3) {
        scene.breath().await;
        scene.stack.edge.stop()?;
        scene.stack.edge.start()?;
        scene.stack.edge.ready().await?;
    }
    Ok(())
}

/// Appends nothing and removes nothing: writes garbage after the last record of every segment, as a torn
/// page would leave it.
pub(in crate::faults) async fn torn_spool(scene: &mut Scene) -> anyhow::Result<()> {
    scene.breath().await;
    scene.stack.edge.kill()?;
    for path in files_below(&scene.stack.spool)? {
        let bytes = std::fs::read(&path)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let at = used.next_multiple_of(64);
        if at + 64 <= bytes.len() && used > 4096 {
            let mut file = std::fs::OpenOptions::new().write(true).open(&path)?;
            file.seek(SeekFrom::Start(at as u64))?;
            file.write_all(&[0xa5; 48])?;
        }
    }
    scene.stack.edge.start()?;
    scene.stack.edge.ready().await
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).context("cannot read the spool")? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

pub(in crate::faults) async fn cold_start_alone(scene: &mut Scene) -> anyhow::Result<()> {
    let stack = &mut scene.stack;
    // A snapshot is written when the edge stops.
    stack.edge.stop()?;
    stack.control_plane.kill()?;
    stack.redis.kill()?;
    stack.edge.start()?;
    tokio::time::sleep(ALONE_FOR).await;
    stack.redis.start()?;
    stack.control_plane.start()?;
    stack.control_plane.ready().await?;
    stack.edge.ready().await
}

/// Lets a spool's disk run full before the edge starts on it: it serves, and declares what it cannot keep.
pub(in crate::faults) async fn disk_full_at_start(scene: &mut Scene) -> anyhow::Result<()> {
    scene.stack.edge.stop()?;
    // It shipped everything. Old segments would give it room: they are its own to remove.
    for path in files_below(&scene.stack.spool)? {
        let kept = path.file_name().is_some_and(|name| name == "edge" || name == "links.snapshot");
        if !kept {
            std::fs::remove_file(path)?;
        }
    }
    scene.disk()?.fill()?;
    scene.stack.edge.start()?;
    scene.stack.edge.ready().await?;
    scene.outage().await;
    scene.disk()?.empty()?;
    heal_spool(scene).await
}

/// Fills the disk while the edge writes, and clicks until there is no room left. Without Redis nothing is
/// committed, so nothing makes room.
pub(in crate::faults) async fn disk_full(scene: &mut Scene) -> anyhow::Result<()> {
    scene.breath().await;
    scene.stack.redis.kill()?;
    scene.disk()?.fill()?;
    let addr = scene.stack.edge_addr;
    for _ in 0..BURSTS_MAX {
        scene.click(addr, BURST).await?;
        if scene.stack.edge.metric("edge_clicks_lost_total").await? > 0.0 {
            break;
        }
    }
    let lost = scene.stack.edge.metric("edge_clicks_lost_total").await?;
    ensure!(lost > 0.0, "the disk was never full");
    scene.stack.redis.start()?;
    scene.disk()?.empty()?;
    heal_spool(scene).await
}

/// Clicks of one burst, and bursts at most, until a small disk must be full.
const BURST: u64 = 5_000;
const BURSTS_MAX: u32 = 60;
/// The spool looks for room again and again.
const SPOOL_HEALED_FOR: Duration = Duration::from_secs(20);

async fn heal_spool(scene: &mut Scene) -> anyhow::Result<()> {
    let edge = &scene.stack.edge;
    let healed = Scene::until("the spool has room again", SPOOL_HEALED_FOR, || async {
        Ok(edge.metric("edge_spool_degraded").await? == 0.0)
    })
    .await?;
    let lost = scene.stack.edge.metric("edge_clicks_lost_total").await?;
    scene.note(format!("{lost} declared lost, room again after {:.1} s", healed.as_secs_f64()));
    Ok(())
}

/// Copies the spool of an edge that was killed, and runs both.
pub(in crate::faults) async fn cloned_spool(scene: &mut Scene) -> anyhow::Result<()> {
    scene.breath().await;
    scene.stack.edge.kill()?;
    let (mut clone, addr, spool) = scene.stack.another_edge(None)?;
    let copied = std::process::Command::new("cp").arg("-r").arg(&scene.stack.spool).arg(&spool).status()?;
    ensure!(copied.success(), "cannot copy the spool");
    clone.start()?;
    scene.stack.edge.start()?;
    scene.stack.edge.ready().await?;
    clone.ready().await?;
    scene.click(addr, 500).await?;
    // The folder of an edge that runs is nobody else's.
    let (mut third, _, _) = scene.stack.another_edge(None)?;
    third.set_env("AOS_EDGE_SPOOL_DIR", &spool.display().to_string());
    let (code, said) = third.outcome(&[])?;
    ensure!(code != Some(0), "an edge started on a folder in use: {said}");
    scene.note("a third edge on the folder in use is refused");
    clone.stop()
}

/// Connections opened at once, and the memory the edge may hold with them.
const CROWD: usize = 10_000;
const CROWD_RESIDENT_MAX: u64 = 200 << 20;

/// Ten thousand visitors stay connected.
pub(in crate::faults) async fn crowd(scene: &mut Scene) -> anyhow::Result<()> {
    let before = scene.stack.edge.resident_bytes()?;
    let mut visitors = Vec::with_capacity(CROWD);
    for chunk in 0..CROWD / 100 {
        let joined: Vec<_> =
            (0..100).map(|_| tokio::spawn(visit(scene.stack.edge_addr, scene.target.path.clone()))).collect();
        for visitor in joined {
            visitors.push(visitor.await?.with_context(|| format!("connection {}", chunk * 100))?);
        }
    }
    let resident = scene.stack.edge.resident_bytes()?;
    scene.outage().await;
    scene.note(format!(
        "{} connections, {} MiB resident ({} before)",
        visitors.len(),
        resident >> 20,
        before >> 20
    ));
    ensure!(
        resident <= CROWD_RESIDENT_MAX,
        "{} MiB resident with {CROWD} connections, {} before",
        resident >> 20,
        before >> 20
    );
    Ok(())
}

/// Connects and asks once, without a click.
async fn visit(addr: std::net::SocketAddr, path: String) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await?;
    let mut reply = [0; 16];
    let _read = stream.read(&mut reply).await?;
    ensure!(reply.starts_with(b"HTTP/1.1 302"), "not a redirect");
    Ok(stream)
}

/// More visitors than the edge has descriptors.
pub(in crate::faults) async fn no_descriptors(scene: &mut Scene) -> anyhow::Result<()> {
    let mut waiting = Vec::new();
    for _ in 0..2_000 {
        waiting.push(TcpStream::connect(scene.stack.edge_addr).await.context("the kernel's queue is full")?);
    }
    scene.outage().await;
    drop(waiting);
    let (addr, path) = (scene.stack.edge_addr, scene.target.path.clone());
    let recovered = Scene::until("a new visitor is served", RECOVERED_FOR, || {
        let path = path.clone();
        async move {
            Ok(tokio::time::timeout(Duration::from_secs(1), visit(addr, path))
                .await
                .is_ok_and(|visit| visit.is_ok()))
        }
    })
    .await?;
    scene.note(format!("new visitors served after {:.2} s", recovered.as_secs_f64()));
    Ok(())
}

const RECOVERED_FOR: Duration = Duration::from_secs(5);

/// Every msync of the edge answers EIO for a while; what it synced before is never believed again.
pub(in crate::faults) async fn sync_error(scene: &mut Scene) -> anyhow::Result<()> {
    scene.breath().await;
    let pid = scene.stack.edge.id().context("the edge does not run")?;
    let mut tracer = std::process::Command::new("strace")
        .args(["-f", "-qq", "-e", "trace=msync", "-e", "inject=msync:error=EIO", "-p", &pid.to_string()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .context("cannot start strace")?;
    let failed = Scene::until("a sync fails", SYNC_FAILED_FOR, || async {
        Ok(scene.stack.edge.metric("edge_spool_sync_errors_total").await? > 0.0)
    })
    .await;
    scene.outage().await;
    // It lets go of what it traces.
    crate::programs::signal(tracer.id(), libc::SIGINT)?;
    tracer.wait().context("cannot wait for strace")?;
    failed?;
    let errors = scene.stack.edge.metric("edge_spool_sync_errors_total").await?;
    scene.note(format!("{errors} syncs answered EIO"));
    Ok(())
}

const SYNC_FAILED_FOR: Duration = Duration::from_secs(5);

/// The old edge and the new one take turns at a socket that neither of them owns.
pub(in crate::faults) async fn handed_over(scene: &mut Scene) -> anyhow::Result<()> {
    take_over(scene, true).await
}

/// The new edge has a socket of its own on the same address; who waits at the old one's is sent away.
pub(in crate::faults) async fn beside(scene: &mut Scene) -> anyhow::Result<()> {
    take_over(scene, false).await
}

async fn take_over(scene: &mut Scene, hand: bool) -> anyhow::Result<()> {
    for _ in 0..scene.pace.strokes {
        scene.breath().await;
        let (mut new, _, _) = scene.stack.another_edge(Some(scene.stack.edge_addr))?;
        if hand {
            for socket in &scene.stack.edge.listeners {
                new.listeners.push(socket.try_clone().context("cannot copy the socket")?);
            }
        }
        new.start()?;
        new.ready().await?;
        let mut old = std::mem::replace(&mut scene.stack.edge, new);
        // Waiting for its end must not hold the clicks up.
        tokio::task::spawn_blocking(move || old.stop()).await.context("the stop panicked")??;
    }
    Ok(())
}
