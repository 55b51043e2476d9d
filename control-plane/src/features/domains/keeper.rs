//! The jobs that look after domains: proving claims, getting and renewing certificates, following plans.
//!
//! A domain that is due is leased, so that one worker has it at a time; whoever dies with it is followed when the
//! lease ends. What takes long (the DNS, the ACME server) happens outside of transactions. Limits: [`CLAIMS`] look-ups
//! and [`CERTIFICATES`] orders at a time in a process.

mod queries;

use super::acme::{Begun, Client, Issued, Refused};
use super::dns::{self, Seen};
use super::model::{self, Domain, GRACE, Problem, Status};
use super::ops;
use super::publish::storage_key;
use crate::app::App;
use crate::config::AcmeSettings;
use crate::error::Result;
use crate::seal;
use crate::workers::jobs::Turn;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use queries::{Due, NewCertificate};
use sqlx::Acquire;
use zeroize::Zeroizing;

const CLAIMS: i64 = 16;
const CLAIM_FOR: TimeDelta = TimeDelta::minutes(1);
const CERTIFICATES: i64 = 4;
/// Longer than the two waits of an order and its calls together.
const CERTIFICATE_FOR: TimeDelta = TimeDelta::minutes(10);
/// How often the ACME server is asked whether it wants a certificate renewed.
const ASK_EVERY: TimeDelta = TimeDelta::hours(12);

/// The job: looks whether claims are proven.
pub async fn claims_job(app: App) -> Result<Turn> {
    let due = lease(&app, Due::Claims, CLAIMS, CLAIM_FOR).await?;
    let config = &app.config();
    let looks = due
        .iter()
        .map(|domain| dns::look(config.domains.dns_server, &config.secret, domain.agent_id, &domain.host));
    for (domain, seen) in due.iter().zip(join_all(looks).await) {
        let mut conn = app.db_worker().acquire().await?;
        let mut tx = conn.begin().await?;
        ops::note_look(&mut tx, app.clock(), domain, seen).await?;
        tx.commit().await?;
    }
    Ok(if due.len() as i64 == CLAIMS { Turn::Again } else { Turn::Idle })
}

/// The job: gets certificates for what is proven, and renews them.
pub async fn certificates_job(app: App) -> Result<Turn> {
    let Some(settings) = &app.config().domains.acme else { return Ok(Turn::Idle) };
    let due = lease(&app, Due::Certificates, CERTIFICATES, CERTIFICATE_FOR).await?;
    let outcomes = join_all(due.iter().map(|domain| look_after(&app, settings, domain))).await;
    outcomes.into_iter().collect::<Result<()>>()?;
    Ok(if due.len() as i64 == CERTIFICATES { Turn::Again } else { Turn::Idle })
}

/// The job: follows the plans of the owners, and measures.
pub async fn plans_job(app: App) -> Result<Turn> {
    let now = app.clock().now();
    let mut conn = app.db_worker().acquire().await?;
    let mut tx = conn.begin().await?;
    let ended = Problem::new(
        format!("Infrastructure Pro ended more than {} days ago.", GRACE.num_days()),
        "Start Pro again with POST /api/subscription/pro: the domain comes back by itself.",
    );
    queries::follow_plans(&mut tx, &ended, now - GRACE, now).await?;
    tx.commit().await?;
    let figures = queries::count_all(&mut conn, now).await?;
    for (status, count) in [
        (Status::PendingDns, figures.pending_dns),
        (Status::Issuing, figures.issuing),
        (Status::Active, figures.active),
        (Status::Failed, figures.failed),
    ] {
        metrics::gauge!("cp_domains", "status" => status.as_str()).set(count as f64);
    }
    metrics::gauge!("cp_domain_certificates_expiring", "within" => "7d").set(figures.expiring_7d as f64);
    metrics::gauge!("cp_domain_certificates_expiring", "within" => "14d").set(figures.expiring_14d as f64);
    metrics::gauge!("cp_domain_renewals_overdue").set(figures.overdue as f64);
    metrics::gauge!("cp_domains_unproven").set(figures.unproven as f64);
    Ok(Turn::Idle)
}

async fn lease(app: &App, due: Due, limit: i64, lease_for: TimeDelta) -> Result<Vec<Domain>> {
    let mut conn = app.db_worker().acquire().await?;
    Ok(queries::lease(&mut conn, due, limit, lease_for, app.clock().now()).await?)
}

/// One look at a proven domain: its first certificate, a renewal, or nothing yet.
async fn look_after(app: &App, settings: &AcmeSettings, domain: &Domain) -> Result<()> {
    let now = app.clock().now();
    let renews = domain.expires_at.is_some();
    if renews && let Some(later) = renewal_later(app, settings, domain).await? {
        let mut conn = app.db_worker().acquire().await?;
        queries::save_renewal(&mut conn, domain.id, later, later.min(now + ASK_EVERY)).await?;
        return Ok(());
    }
    if let Some(lost) = check_again(app, domain).await {
        return note_lost_proof(app, domain, lost).await;
    }
    match obtain(app, settings, domain).await? {
        Ok(issued) => note_issued(app, domain, &issued).await,
        Err(refused) => note_refused(app, settings, domain, &refused).await,
    }
}

/// When the certificate is to be renewed, if that is not now. The ACME server may want it sooner, when it has to
/// revoke, or otherwise than we had planned.
async fn renewal_later(app: &App, settings: &AcmeSettings, domain: &Domain) -> Result<Option<DateTime<Utc>>> {
    let now = app.clock().now();
    let Some(planned) = domain.renew_at.filter(|at| *at > now) else { return Ok(None) };
    let mut conn = app.db_worker().acquire().await?;
    let chain = queries::find_chain(&mut conn, domain.id).await?;
    drop(conn);
    let Ok(client) = client(app, settings).await? else { return Ok(Some(planned)) };
    let Some(chain) = chain else { return Ok(None) };
    let Some((start, end)) = client.suggested_renewal(&chain).await else { return Ok(Some(planned)) };
    // The same moment of the window each time: certificates issued together are not renewed together.
    let span = (end - start).num_seconds().max(1);
    let share = i64::from(domain.id.uuid().as_fields().0) % span;
    let suggested = start + TimeDelta::seconds(share);
    Ok((suggested > now).then_some(suggested.min(planned)))
}

/// Before each certificate, whether the domain is still its owner's; `None` when nothing speaks against it.
async fn check_again(app: &App, domain: &Domain) -> Option<Seen> {
    let config = app.config();
    let seen = dns::look(config.domains.dns_server, &config.secret, domain.agent_id, &domain.host).await;
    matches!(seen, Seen::NoRecord | Seen::OtherRecord | Seen::NoAddress).then_some(seen)
}

/// Its owner has until the certificate expires to put the records back; then the domain is anybody's to prove.
async fn note_lost_proof(app: &App, domain: &Domain, seen: Seen) -> Result<()> {
    let now = app.clock().now();
    let problem = ops::problem_of(seen, &domain.host);
    let mut conn = app.db_worker().acquire().await?;
    if domain.expires_at.is_none_or(|expires_at| expires_at <= now) {
        queries::save_loss(&mut conn, domain.id, &problem, model::next_check(now, now), now).await?;
        tracing::warn!(domain.id = %domain.id, "a custom domain has lost its proof and is not served any more");
        return Ok(());
    }
    let next = model::next_try(domain.attempts.max(4), None, now);
    queries::save_doubt(&mut conn, domain.id, &problem, next, now).await?;
    tracing::warn!(domain.id = %domain.id, "a custom domain that is served has lost its proof");
    Ok(())
}

async fn client(app: &App, settings: &AcmeSettings) -> Result<std::result::Result<Client, Refused>> {
    let mut conn = app.db_worker().acquire().await?;
    let stored = queries::find_account(&mut conn, &settings.directory).await?;
    drop(conn);
    match Client::open(app, settings, stored).await {
        Ok((client, None)) => Ok(Ok(client)),
        Ok((client, Some(made))) => {
            let mut conn = app.db_worker().acquire().await?;
            queries::insert_account(&mut conn, &settings.directory, &made, app.clock().now()).await?;
            Ok(Ok(client))
        }
        Err(refused) => Ok(Err(refused)),
    }
}

/// Goes on with the order in progress, or begins one.
async fn obtain(
    app: &App,
    settings: &AcmeSettings,
    domain: &Domain,
) -> Result<std::result::Result<Issued, Refused>> {
    let client = match client(app, settings).await? {
        Ok(client) => client,
        Err(refused) => return Ok(Err(refused)),
    };
    let key = storage_key(app);
    let mut conn = app.db_worker().acquire().await?;
    let kept = queries::find_order(&mut conn, domain.id).await?;
    let kept = kept.and_then(|(url, sealed)| {
        let key_pem = String::from_utf8(seal::open(&key, &sealed)?).ok()?;
        Some(Begun { url, key_pem: Zeroizing::new(key_pem) })
    });
    drop(conn);
    let begun = match kept {
        Some(begun) => begun,
        None => {
            let begun = match client.begin(&domain.host).await {
                Ok(begun) => begun,
                Err(refused) => return Ok(Err(refused)),
            };
            let mut conn = app.db_worker().acquire().await?;
            let sealed = seal::seal(&key, begun.key_pem.as_bytes());
            queries::save_order(&mut conn, domain.id, &begun, &sealed).await?;
            begun
        }
    };
    Ok(client.finish(app, &domain.host, &begun).await)
}

async fn note_issued(app: &App, domain: &Domain, issued: &Issued) -> Result<()> {
    let now = app.clock().now();
    let sealed = seal::seal(&storage_key(app), issued.key_pem.as_bytes());
    let certified = &issued.certified;
    let new = NewCertificate {
        chain_pem: &issued.chain_pem,
        sealed_key: &sealed,
        renew_at: certified.renew_at,
        expires_at: certified.expires_at,
        check_at: certified.renew_at.min(now + ASK_EVERY),
    };
    let mut conn = app.db_worker().acquire().await?;
    if queries::save_certificate(&mut conn, domain.id, &new, now).await? {
        metrics::counter!("cp_domain_certificates_issued_total").increment(1);
        tracing::info!(domain.id = %domain.id, expires_at = %certified.expires_at, "a custom domain has a certificate");
    }
    Ok(())
}

async fn note_refused(app: &App, settings: &AcmeSettings, domain: &Domain, refused: &Refused) -> Result<()> {
    let now = app.clock().now();
    let judged = if refused.judged { "judged" } else { "trouble" };
    metrics::counter!("cp_domain_certificate_failures_total", "kind" => judged).increment(1);
    tracing::warn!(domain.id = %domain.id, problem = refused.problem.problem, "no certificate for a custom domain");
    let still_valid = domain.expires_at.is_some_and(|expires_at| expires_at > now);
    let status = match (still_valid, refused.judged) {
        (true, _) => Status::Active,
        (false, true) => Status::Failed,
        (false, false) if domain.expires_at.is_some() => Status::Failed,
        (false, false) => Status::Issuing,
    };
    let next = model::next_try(domain.attempts, refused.retry_after, now);
    let mut conn = app.db_worker().acquire().await?;
    let judgement = (status, &refused.problem);
    queries::save_failure(&mut conn, domain.id, judgement, next, refused.order_is_over, now).await?;
    if refused.account_is_gone {
        queries::delete_account(&mut conn, &settings.directory).await?;
    }
    Ok(())
}
