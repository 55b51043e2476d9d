//! What goes wrong with callers, receivers, providers and sums.

use super::answers::Answers;
use super::scene::Scene;
use crate::api::{Api, text};
use crate::stack::ground::free_ports;
use crate::stack::local;
use anyhow::{Context, ensure};
use serde_json::json;
use shared::{Clock, SystemClock};
use std::time::{Duration, SystemTime};

const EVERY: Duration = Duration::from_millis(150);
const CAUSED_FOR: Duration = Duration::from_secs(100);
const WEBHOOK_SECRET: &str = "whsec_alerts";
/// A good directory: the key of RFC 9421's examples.
const DIRECTORY: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"example","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}]}"#;

pub(super) async fn without_money(scene: &mut Scene) -> anyhow::Result<()> {
    let (broke, _) = scene.stack.api()?.sign_up("Broke").await?;
    scene
        .fires_while("ManyWithoutMoney", EVERY, || {
            let broke = broke.clone();
            async move {
                let answer =
                    broke.ask("POST", "/api/subscription/pro", Some(json!({"payment": "wallet"}))).await;
                let (status, body) = answer.context("no answer")?;
                ensure!(status == 402, "{status}: {body}");
                Ok(())
            }
        })
        .await?;
    scene.mended(&["ManyWithoutMoney"]);
    Ok(())
}

pub(super) async fn webhooks(scene: &mut Scene) -> anyhow::Result<()> {
    let receiver = Answers::start(500).await?;
    let affiliate = scene.cast.affiliate.clone();
    affiliate.call("POST", "/api/subscription/pro", Some(json!({}))).await?;
    let hook = json!({"url": format!("http://{}/", receiver.addr), "events": ["conversion.created"]});
    affiliate.call("POST", "/api/webhooks", Some(hook)).await?;
    scene.fires(&["WebhooksFail"]).await?;
    receiver.now(200, Duration::from_secs(6), "");
    scene.mended(&["WebhooksFail"]);
    scene.fires(&["WebhooksLate"]).await?;
    receiver.now(200, Duration::ZERO, "");
    scene.mended(&["WebhooksLate"]);
    Ok(())
}

/// It fails from the start of the run.
pub(super) async fn directory(scene: &mut Scene) -> anyhow::Result<()> {
    scene.fires(&["AgentKeysOld"]).await?;
    scene.directory.now(200, Duration::ZERO, DIRECTORY);
    scene.mended(&["AgentKeysOld"]);
    Ok(())
}

/// A second API, which takes cards through a provider that is not there.
pub(super) async fn payments(scene: &mut Scene) -> anyhow::Result<()> {
    let [nobody] = free_ports()?.map(local);
    let settings = [
        ("AOS_STRIPE_SECRET_KEY", "sk_test_alerts".to_owned()),
        ("AOS_STRIPE_WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("AOS_STRIPE_PRO_PRICE", "price_alerts".to_owned()),
        ("AOS_STRIPE_API_BASE", format!("http://{nobody}")),
    ];
    let (mut program, api) = scene.stack.second("control-plane serve", &settings)?;
    program.start()?;
    program.ready().await?;
    scene.watch.control(program.admin(), true)?;
    let url = format!("http://{api}/api/payments/stripe/webhook");
    let http = reqwest::Client::builder().no_proxy().build()?;
    let forged = format!("t={},v1={}", seconds(), "0".repeat(64));
    http.post(&url).header("stripe-signature", forged).body("{}").send().await?;
    let status = deliver(scene, &http, &url, "no event").await?;
    ensure!(status == 400, "a signed event that is none was answered {status}");
    scene.fires(&["PaymentEventsForged", "PaymentsDoNotFit"]).await?;
    scene.mended(&["PaymentEventsForged", "PaymentsDoNotFit"]);
    let at_second = Api::new(&format!("http://{api}"))?;
    paid_when_over(scene, &at_second, &http, &url).await?;
    let payer = at_second.with_key(scene.cast.advertiser.key().unwrap_or_default());
    scene
        .fires_while("PaymentProviderAway", EVERY, || {
            let payer = payer.clone();
            async move {
                payer
                    .ask("POST", "/api/wallet/topup", Some(json!({"amount": 5})))
                    .await
                    .context("no answer")?;
                Ok(())
            }
        })
        .await?;
    scene.mended(&["PaymentProviderAway"]);
    // Left running until what was counted is over: series that vanish would end the alerts as well.
    scene.keep(program);
    Ok(())
}

/// Somebody asks for Pro by card, hears nothing, cancels, and pays after all: the provider had made the page.
async fn paid_when_over(
    scene: &mut Scene,
    api: &Api,
    http: &reqwest::Client,
    url: &str,
) -> anyhow::Result<()> {
    let (payer, _) = scene.stack.api()?.sign_up("Second thoughts").await?;
    let payer = api.with_key(payer.key().unwrap_or_default());
    let answer = payer.ask("POST", "/api/subscription/pro", Some(json!({}))).await;
    let (status, body) = answer.context("no answer")?;
    ensure!(status == 503, "without its provider Pro by card was answered {status}: {body}");
    let subscription = text(&payer.call("DELETE", "/api/subscription", None).await?, "id")?;
    let database = scene.database().await?;
    Scene::until("there is nothing left to tell the provider", CAUSED_FOR, || async {
        let told = "SELECT provider_wish IS NULL FROM subscriptions WHERE id = $1::UUID";
        Ok(sqlx::query_scalar(told).bind(&subscription).fetch_one(&database).await?)
    })
    .await?;
    let at = seconds();
    let invoice = json!({
        "id": "in_alerts", "object": "invoice", "amount_paid": 9_900, "currency": "usd",
        "parent": {"type": "subscription_details", "subscription_details": {
            "subscription": "sub_alerts", "metadata": {"subscription_id": subscription}}},
        "lines": {"data": [{"period": {"start": at, "end": at + 30 * 86_400}}]},
    });
    let event = json!({"id": "evt_alerts", "object": "event", "type": "invoice.paid", "created": at,
                       "livemode": false, "data": {"object": invoice}});
    let status = deliver(scene, http, url, &event.to_string()).await?;
    ensure!(status == 200, "a paid invoice was answered {status}");
    scene.fires(&["MoneyToGiveBack"]).await?;
    scene.mended(&["MoneyToGiveBack"]);
    Ok(())
}

/// Sends a body as Stripe does, signed; gives the answer's status.
async fn deliver(scene: &Scene, http: &reqwest::Client, url: &str, body: &str) -> anyhow::Result<u16> {
    let at = seconds();
    let header = format!("t={at},v1={}", sign(scene, &format!("{at}.{body}")).await?);
    let reply = http.post(url).header("stripe-signature", header).body(body.to_owned()).send().await?;
    Ok(reply.status().as_u16())
}

fn seconds() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

/// HMAC-SHA256 with the endpoint's secret, of what Postgres has of it.
async fn sign(scene: &Scene, text: &str) -> anyhow::Result<String> {
    let mut key = WEBHOOK_SECRET.as_bytes().to_vec();
    key.resize(64, 0);
    let padded = |with: u8| key.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = [padded(0x36), text.as_bytes().to_vec()].concat();
    Ok(sqlx::query_scalar("SELECT encode(sha256($1 || sha256($2)), 'hex')")
        .bind(padded(0x5c))
        .bind(inner)
        .fetch_one(&scene.database().await?)
        .await?)
}

pub(super) async fn no_payouts(scene: &mut Scene) -> anyhow::Result<()> {
    let [nobody] = free_ports()?.map(local);
    scene.watch.payouts(Some(nobody))?;
    scene.fires(&["PayoutsDown"]).await?;
    scene.watch.payouts(None)?;
    scene.mended(&["PayoutsDown"]);
    Ok(())
}

/// Writes what `reconcile --metrics` says where the exporter reads it, as `affiliateos-reconcile.service` does.
fn reconcile(scene: &Scene) -> anyhow::Result<std::path::PathBuf> {
    let arguments = ["reconcile", "--metrics", "--log", "error"];
    let (_, said) = scene.stack.control_plane.outcome(&arguments)?;
    ensure!(said.contains("cp_reconcile_broken_rules"), "reconcile said: {said}");
    let file = scene.watch.text_folder().join("affiliateos-reconcile.prom");
    let draft = file.with_extension("new");
    std::fs::write(&draft, said)?;
    std::fs::rename(&draft, &file)?;
    Ok(file)
}

pub(super) async fn planted(scene: &mut Scene) -> anyhow::Result<()> {
    const ALERTS: [&str; 3] = ["ClicksUnaccounted", "BooksDoNotBalance", "ReconcileFindsLoss"];
    let database = scene.database().await?;
    reconcile(scene)?;
    // The same one both times: with a thousand less another may have the most.
    let spool: String = sqlx::query_scalar("SELECT spool::TEXT FROM spools ORDER BY stored DESC LIMIT 1")
        .fetch_one(&database)
        .await?;
    let change = |by: i64| {
        sqlx::query("UPDATE spools SET stored = stored + $1 WHERE spool = $2::UUID")
            .bind(by)
            .bind(spool.clone())
    };
    // A bug that loses a thousand clicks, which nothing but the sums would tell.
    change(-1000).execute(&database).await?;
    let file = reconcile(scene)?;
    scene.fires(&ALERTS).await?;
    change(1000).execute(&database).await?;
    reconcile(scene)?;
    scene.mended(&ALERTS);
    let old = SystemTime::from(SystemClock.now()) - Duration::from_hours(3);
    std::fs::File::options().append(true).open(&file)?.set_modified(old)?;
    scene.fires(&["ReconcileStale"]).await?;
    reconcile(scene)?;
    scene.mended(&["ReconcileStale"]);
    Ok(())
}

/// Two domains as workers leave them: one whose renewal never came, one that lost its proof.
pub(super) async fn domains(scene: &mut Scene) -> anyhow::Result<()> {
    const ALERTS: [&str; 3] = ["DomainCertificatesExpire", "DomainRenewalsOverdue", "DomainOwnershipLost"];
    let database = scene.database().await?;
    let rows = "INSERT INTO domains (id, agent_id, host, status, verified_at, checked_at, check_at, chain_pem, sealed_key,
                                     issued_at, renew_at, expires_at, proof_lost_at, created_at, updated_at)
                SELECT gen_random_uuid(), $1::UUID, host, 'active', now(), now(), now() + INTERVAL '1 day',
                       'not read in this run', ''::BYTEA, now(), now() - INTERVAL '2 days', now() + INTERVAL '3 days', lost,
                       now(), now()
                  FROM (VALUES ('late.example', NULL), ('lost.example', now())) AS domain (host, lost)";
    sqlx::query(rows).bind(&scene.cast.affiliate_id).execute(&database).await?;
    scene.fires(&ALERTS).await?;
    sqlx::raw_sql("DELETE FROM domains").execute(&database).await?;
    scene.mended(&ALERTS);
    Ok(())
}
