//! Steps on custom domains. The caller owns the transaction.

use super::dns::Seen;
use super::model::{self, DOMAINS_MAX, Domain, Problem, Status, ownership_name};
use super::queries;
use crate::db;
use crate::error::{Code, Error, Result};
use crate::page::{Page, Paged};
use chrono::TimeDelta;
use shared::Clock;
use shared::id::{AgentId, DomainId};
use sqlx::{Acquire, PgConnection};

/// A look that is newer is not repeated for the owner: the DNS has said nothing else since.
const FRESH: TimeDelta = TimeDelta::seconds(5);

/// Holds an agent, who may have domains of its own: its domains are counted one claim at a time.
pub async fn hold_agent(conn: &mut PgConnection, agent: AgentId) -> Result<()> {
    if queries::lock_agent(conn, agent).await?.as_deref() == Some("pro") {
        return Ok(());
    }
    Err(Error::new(
        Code::FeatureRequiresPro,
        "Domains of your own need Infrastructure Pro.",
        "Upgrade with POST /api/subscription/pro, or use tracking URLs on our domain.",
    ))
}

/// Claims a domain for an agent that [`hold_agent`] holds.
pub async fn create_domain(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    given: &str,
    ours: &[&str],
) -> Result<Domain> {
    let host = model::parse_host(given, ours)?;
    if let Some(id) = queries::find_by_host(conn, agent, &host).await? {
        return Err(taken(
            "You have this domain already.",
            format!("Nothing is to be done: GET /api/domains/{id} shows it."),
        )
        .with("domain_id", id.to_string()));
    }
    if queries::find_owner(conn, &host).await?.is_some() {
        return Err(taken(
            "Another account has proven that this domain is its own.",
            "Delete it there with DELETE /api/domains/:id, or claim another name such as a subdomain of yours.",
        ));
    }
    if queries::count_domains(conn, agent).await? >= DOMAINS_MAX {
        return Err(Error::new(
            Code::InvalidState,
            format!("The account has {DOMAINS_MAX} domains."),
            "Remove one that is not used: GET /api/domains, then DELETE /api/domains/:id.",
        ));
    }
    let id = DomainId::generate();
    queries::insert_domain(conn, id, agent, &host, clock.now()).await?;
    load(conn, agent, id).await
}

fn taken(message: &str, fix: impl Into<String>) -> Error {
    Error::new(Code::DomainTaken, message, fix).on_field("domain")
}

/// The refusal of a deployment without an ACME server.
pub fn unavailable() -> Error {
    Error::new(
        Code::DomainsUnavailable,
        "This deployment issues no certificates, so it serves no domains but its own.",
        "Use tracking URLs on our domain, or ask the operator to set AOS_ACME_DIRECTORY.",
    )
}

/// The agent's own domain; of others' it may not know.
pub async fn load(conn: &mut PgConnection, agent: AgentId, id: DomainId) -> Result<Domain> {
    queries::find_domain(conn, agent, id).await?.ok_or_else(missing)
}

fn missing() -> Error {
    Error::not_found("domain", "List your domains with GET /api/domains.")
}

/// A page of the agent's domains, newest first.
pub async fn list(conn: &mut PgConnection, agent: AgentId, page: Page) -> Result<Paged<Domain>> {
    Ok(queries::list_domains(conn, agent, page).await?)
}

/// Removes a domain: edges stop serving it within a second. Gives what it was.
pub async fn delete_domain(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    id: DomainId,
) -> Result<Domain> {
    let domain = queries::lock_domain(conn, agent, id).await?.ok_or_else(missing)?;
    queries::delete_domain(conn, id, clock.now()).await?;
    Ok(domain)
}

/// Whether a look for the owner would tell anything new.
pub fn is_worth_a_look(domain: &Domain, clock: &dyn Clock) -> bool {
    domain.verified_at.is_none() && domain.checked_at.is_none_or(|at| at + FRESH <= clock.now())
}

/// The owner asked for a check: notes what was seen, if there was a look, and lets whatever waits go on at once.
pub async fn check_now(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    domain: &Domain,
    seen: Option<Seen>,
) -> Result<Domain> {
    let (agent, id) = (domain.agent_id, domain.id);
    let current = queries::lock_domain(conn, agent, id).await?.ok_or_else(missing)?;
    let waits = current.problem.is_some() || current.expires_at.is_none();
    if waits && current.check_at.is_none_or(|at| at > clock.now()) && current.lapsed_at.is_none() {
        queries::save_hurry(conn, id, clock.now()).await?;
    }
    if let (Some(seen), None) = (seen, current.verified_at) {
        let hurried = load(conn, agent, id).await?;
        note_look(conn, clock, &hurried, seen).await?;
    }
    load(conn, agent, id).await
}

/// Notes what was seen of a claim.
pub async fn note_look(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    domain: &Domain,
    seen: Seen,
) -> Result<()> {
    let now = clock.now();
    let mut problem = problem_of(seen, &domain.host);
    if seen == Seen::Proven {
        let mut attempt = conn.begin().await?;
        match queries::save_proof(&mut attempt, domain.id, now).await {
            Ok(()) => return Ok(attempt.commit().await?),
            Err(error) if db::violated(&error) == Some("domains_host_key") => {
                problem = Problem::new(
                    "Another account has proven that this domain is its own.",
                    "Delete it there with DELETE /api/domains/:id; then ask again with POST /api/domains/:id/verify.",
                );
                attempt.rollback().await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    let next = model::next_check(domain.waiting_since.unwrap_or(domain.created_at), now);
    let status = if next.is_some() { Status::PendingDns } else { Status::Failed };
    Ok(queries::save_look(conn, domain.id, status, Some(&problem), next, now).await?)
}

/// What is wrong with the DNS, in the owner's words.
pub fn problem_of(seen: Seen, host: &str) -> Problem {
    let name = ownership_name(host);
    match seen {
        Seen::NoRecord => Problem::new(
            format!("There is no TXT record {name} yet."),
            "Set the TXT record as `records` shows it at your DNS provider; it may take a while until it is seen. POST /api/domains/:id/verify looks again at once.",
        ),
        Seen::OtherRecord => Problem::new(
            format!("The TXT record {name} has another value than this account's."),
            "Set the TXT record to exactly the value that `records` shows, or add a second one beside it.",
        ),
        Seen::NoAddress | Seen::Proven => Problem::new(
            format!("The TXT record is right, but {host} leads nowhere."),
            "Set the CNAME (or A and AAAA) record as `records` shows it at your DNS provider.",
        ),
        Seen::Unknown => Problem::new(
            format!("The name servers of {host} do not answer."),
            "Check that the domain is delegated to name servers that answer; it is looked up again by itself.",
        ),
    }
}
