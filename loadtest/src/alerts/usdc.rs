//! What goes wrong with payouts in usdc: a real chain, a real `payouts-evm`, and payouts made through the API.

use super::chain::{self, Chain};
use super::scene::Scene;
use crate::api::{Cast, text};
use crate::programs::Program;
use crate::proxy::Proxy;
use crate::stack::ground::free_ports;
use crate::stack::local;
use anyhow::ensure;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const CAUSED_FOR: Duration = Duration::from_mins(1);
const CONFIRMATIONS: u64 = 3;
/// A hundred payouts' worth, in millionths.
const FUNDED: u64 = 1_000_000_000;
/// A node that is away and back for a moment, so often that pauses between tries stay below two seconds.
const AWAY_FOR: Duration = Duration::from_millis(1_500);
const BACK_FOR: Duration = Duration::from_millis(2_200);

/// An advertiser with money, an affiliate with an address, a chain with both, and the program that pays.
struct Paying {
    chain: Chain,
    /// Between the program and the node.
    node: Proxy,
    program: Program,
    cast: Cast,
}

impl Paying {
    /// Starts it all and watches the program; the paying address has so many millionths. Each has a chain, addresses and
    /// agents of its own.
    async fn start(scene: &Scene, micros: u64, further: &[(&'static str, String)]) -> anyhow::Result<Self> {
        let stack = &scene.stack;
        let cast = stack.api()?.cast().await?;
        cast.advertiser.call("POST", "/api/wallet/topup", Some(json!({"amount": 100}))).await?;
        let chain = Chain::start(&stack.ground.lab, &stack.folder).await?;
        let address = format!("/api/agents/{}/payout-address", cast.affiliate_id);
        cast.affiliate.call("PUT", &address, Some(json!({"address": chain.payee}))).await?;
        if micros > 0 {
            chain.fund(micros).await?;
        }
        let node = Proxy::start(chain.addr).await?;
        let mut settings = vec![
            ("AOS_USDC_RPC_URL", format!("http://{}/", node.addr)),
            ("AOS_USDC_CHAIN_ID", chain::ID.to_string()),
            ("AOS_USDC_TOKEN", chain.token.clone()),
            ("AOS_USDC_KEY", chain.key.clone()),
            ("AOS_USDC_CONFIRMATIONS", CONFIRMATIONS.to_string()),
            ("AOS_USDC_POLL_MS", "200".to_owned()),
        ];
        settings.extend_from_slice(further);
        let (mut program, _) = stack.second("payouts-evm", &settings)?;
        program.start()?;
        program.ready().await?;
        scene.watch.payouts(Some(program.admin()))?;
        Ok(Self { chain, node, program, cast })
    }

    /// A payout of ten dollars that is due; its id.
    async fn ten_dollars(&self) -> anyhow::Result<String> {
        let sale = json!({"tracking_token": self.cast.token, "event_type": "sale", "revenue_amount": 50});
        let advertiser = &self.cast.advertiser;
        let sale = text(&advertiser.call("POST", "/api/conversions/track", Some(sale)).await?, "id")?;
        let approved = json!({"status": "approved"});
        advertiser.call("PATCH", &format!("/api/conversions/{sale}"), Some(approved)).await?;
        self.pay_out().await
    }

    /// Pays what is approved; the payout's id.
    async fn pay_out(&self) -> anyhow::Result<String> {
        let order = json!({"program_id": self.cast.program, "method": "usdc"});
        let made = self.cast.advertiser.call("POST", "/api/payouts/process", Some(order)).await?;
        text(&made["payouts"][0], "id")
    }

    async fn status(&self, payout: &str) -> anyhow::Result<String> {
        text(&self.cast.affiliate.call("GET", &format!("/api/payouts/{payout}"), None).await?, "status")
    }

    /// Waits until it is signed and a node has it.
    async fn sent(&self, scene: &Scene, payout: &str) -> anyhow::Result<()> {
        let database = scene.database().await?;
        Scene::until("a transfer is submitted", CAUSED_FOR, || async {
            let sent = "SELECT EXISTS (SELECT FROM usdc_transfers WHERE payout_id = $1::UUID AND state = 'submitted')";
            Ok(sqlx::query_scalar(sent).bind(payout).fetch_one(&database).await?)
        })
        .await
    }

    /// Makes blocks until it is paid.
    async fn paid(&self, payout: &str) -> anyhow::Result<()> {
        Scene::until("a payout is paid", CAUSED_FOR, || async {
            self.chain.mine(1).await?;
            Ok(self.status(payout).await? == "paid")
        })
        .await
    }

    /// Watches it until these have ended: a program that is gone says nothing, which ends an alert as well.
    async fn end(mut self, scene: &mut Scene, alerts: &[&str]) -> anyhow::Result<()> {
        scene.mended(alerts);
        scene.ended(alerts).await?;
        scene.watch.payouts(None)?;
        self.program.stop()
    }
}

/// Pauses between tries grow to half a minute, which is half an hour here: a node that is back for a moment keeps
/// them short.
pub(super) async fn node_away(scene: &mut Scene) -> anyhow::Result<()> {
    let paying = Paying::start(scene, FUNDED, &[]).await?;
    let [nobody] = free_ports()?.map(local);
    let deadline = Instant::now() + CAUSED_FOR;
    while !scene.has_fired("UsdcNodeAway") {
        ensure!(Instant::now() < deadline, "UsdcNodeAway did not fire");
        paying.node.lead_to(nobody);
        tokio::time::sleep(AWAY_FOR).await;
        paying.node.lead_to(paying.chain.addr);
        tokio::time::sleep(BACK_FOR).await;
    }
    scene.fires(&["UsdcNodeAway"]).await?;
    paying.paid(&paying.ten_dollars().await?).await?;
    paying.end(scene, &["UsdcNodeAway"]).await
}

pub(super) async fn short(scene: &mut Scene) -> anyhow::Result<()> {
    let paying = Paying::start(scene, 0, &[]).await?;
    let payout = paying.ten_dollars().await?;
    scene.fires(&["UsdcShort", "UsdcDue"]).await?;
    ensure!(paying.status(&payout).await? == "pending", "paid without money");
    paying.chain.fund(FUNDED).await?;
    paying.paid(&payout).await?;
    paying.end(scene, &["UsdcShort", "UsdcDue"]).await
}

/// Mended as the runbook has it.
pub(super) async fn nonce_taken(scene: &mut Scene) -> anyhow::Result<()> {
    let mut paying = Paying::start(scene, FUNDED, &[]).await?;
    let payout = paying.ten_dollars().await?;
    paying.sent(scene, &payout).await?;
    paying.chain.take_nonce().await?;
    paying.chain.mine(CONFIRMATIONS).await?;
    scene.fires(&["UsdcNonceTaken"]).await?;
    paying.program.stop()?;
    let (code, said) = paying.program.outcome(&["abandon", &payout])?;
    ensure!(code == Some(0), "`abandon` ended with {code:?}: {said}");
    ensure!(paying.status(&payout).await? == "failed", "abandoned and not failed");
    paying.program.start()?;
    paying.program.ready().await?;
    let second = paying.pay_out().await?;
    paying.sent(scene, &second).await?;
    paying.paid(&second).await?;
    paying.end(scene, &["UsdcNonceTaken"]).await
}

/// The half hour is a clock that is put forward.
pub(super) async fn stuck(scene: &mut Scene) -> anyhow::Result<()> {
    let file = scene.stack.folder.join("payouts-clock");
    set_clock(&file, 0)?;
    let clock = scene.stack.ground.lab.clock_env(&file)?;
    let paying = Paying::start(scene, FUNDED, &clock).await?;
    let payout = paying.ten_dollars().await?;
    paying.sent(scene, &payout).await?;
    set_clock(&file, 1_860)?;
    scene.fires(&["UsdcStuck"]).await?;
    let dearer = paying.program.metric("cp_usdc_replacements_total").await?;
    ensure!(dearer > 0.0, "a transfer was stuck and no dearer version was sent");
    paying.paid(&payout).await?;
    paying.end(scene, &["UsdcStuck"]).await
}

fn set_clock(file: &Path, ahead_seconds: i64) -> anyhow::Result<()> {
    // Whole or not at all: the program reads it at any time.
    let draft = file.with_extension("new");
    std::fs::write(&draft, format!("{ahead_seconds:+}\n"))?;
    Ok(std::fs::rename(&draft, file)?)
}
