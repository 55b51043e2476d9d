//! Steps on agents. The caller owns the transaction.

use super::model::{self, Agent};
use super::queries::{self, Filter, NewAgent};
use super::wire::{AgentsQuery, SignUpRequest, UpdateAgentRequest};
use crate::auth::api_keys::{Kind, NewKey};
use crate::error::{Code, Error, Result};
use crate::page::Paged;
use crate::text;
use crate::web::extract::Patch;
use shared::Clock;
use shared::id::AgentId;
use sqlx::PgConnection;
use std::collections::HashSet;
use url::Url;

/// Makes an account and its key. The key is in the result and nowhere else.
pub async fn sign_up(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    request: &SignUpRequest,
) -> Result<(Agent, NewKey)> {
    let name = check_name(&request.name)?;
    let niche = request.niche.as_deref().map(check_niche).transpose()?;
    let audience_type = request.audience_type.as_deref().map(check_audience_type).transpose()?;
    let description = request.description.as_deref().map(check_description).transpose()?;
    let website_url = request.website_url.as_deref().map(check_website_url).transpose()?;
    let referred_by = match request.referral_code.as_deref() {
        None => None,
        Some(code) => Some(queries::find_by_referral_code(conn, code).await?.ok_or_else(unknown_code)?),
    };
    let new = NewAgent {
        referred_by,
        name: &name,
        handle: "",
        description: description.as_deref(),
        niche: niche.as_deref(),
        audience_type: audience_type.as_deref(),
        website_url: website_url.as_deref(),
    };
    let now = clock.now();
    let agent = match &request.handle {
        Some(handle) => {
            check_handle(handle, &name)?;
            match queries::insert_agent(conn, &NewAgent { handle, ..new }, now).await? {
                Some(agent) => agent,
                None => return Err(handle_taken(handle, &free_handle(conn, handle).await?)),
            }
        }
        None => {
            let base = model::handle_from(&name);
            let mut handle = base.clone();
            // Another sign-up may take the number between look and insert; the next look sees it.
            loop {
                if let Some(agent) =
                    queries::insert_agent(conn, &NewAgent { handle: &handle, ..new }, now).await?
                {
                    break agent;
                }
                handle = free_handle(conn, &base).await?;
            }
        }
    };
    let key = NewKey::generate(Kind::Agent);
    crate::auth::queries::insert_key(conn, agent.id, Kind::Agent, &key, now).await?;
    Ok((agent, key))
}

fn unknown_code() -> Error {
    Error::invalid(
        "referral_code",
        "No agent has this `referral_code`.",
        "Send the code from `referral.code` of the other agent's GET /api/agents/me/stats, or leave it out.",
    )
}

/// The agent, if it is there.
pub async fn find_live(conn: &mut PgConnection, id: AgentId) -> Result<Option<Agent>> {
    queries::find_agent(conn, id).await
}

fn check_name(name: &str) -> Result<String> {
    text::line("name", name, 100)
}

fn check_niche(niche: &str) -> Result<String> {
    text::line("niche", niche, 60)
}

fn check_audience_type(audience_type: &str) -> Result<String> {
    text::line("audience_type", audience_type, 60)
}

fn check_description(description: &str) -> Result<String> {
    text::paragraph("description", description, 2000)
}

fn check_website_url(url: &str) -> Result<String> {
    web_address("website_url", url)
}

fn check_handle(handle: &str, name: &str) -> Result<()> {
    if model::is_handle(handle) {
        return Ok(());
    }
    Err(Error::invalid(
        "handle",
        "`handle` is not a handle.",
        format!("Send small letters, digits and single hyphens, such as `{}`.", model::handle_from(name)),
    ))
}

/// Changes a profile: absent members keep what is, `null` clears.
pub async fn update_agent(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    id: AgentId,
    request: UpdateAgentRequest,
) -> Result<Agent> {
    let mut agent = queries::lock_agent(conn, id).await?.ok_or_else(not_found)?;
    if let Some(name) = required("name", request.name)? {
        agent.name = check_name(&name)?;
    }
    if let Some(handle) = required("handle", request.handle)?.filter(|handle| *handle != agent.handle) {
        check_handle(&handle, &agent.name)?;
        let free = free_handle(conn, &handle).await?;
        if free != handle {
            return Err(handle_taken(&handle, &free));
        }
        agent.handle = handle;
    }
    agent.description =
        request.description.try_map(|text| check_description(&text))?.apply(agent.description);
    agent.niche = request.niche.try_map(|text| check_niche(&text))?.apply(agent.niche);
    agent.audience_type =
        request.audience_type.try_map(|text| check_audience_type(&text))?.apply(agent.audience_type);
    agent.website_url =
        request.website_url.try_map(|text| check_website_url(&text))?.apply(agent.website_url);
    if queries::update_agent(conn, &agent, clock.now()).await? {
        return Ok(agent);
    }
    // Somebody took the handle between the look and the change.
    Err(handle_taken(&agent.handle, &format!("{}-2", agent.handle)))
}

/// A member that may be left out but not cleared.
fn required<T>(field: &str, patch: Patch<T>) -> Result<Option<T>> {
    match patch {
        Patch::Keep => Ok(None),
        Patch::Set(value) => Ok(Some(value)),
        Patch::Clear => Err(Error::invalid(
            field,
            format!("`{field}` cannot be null."),
            format!("Leave `{field}` out to keep it, or send a text."),
        )),
    }
}

fn not_found() -> Error {
    Error::not_found("agent", "List agents with GET /api/agents.")
}

/// Refuses callers other than this agent. That an agent exists is public; its account is its own.
pub async fn must_be(conn: &mut PgConnection, caller: AgentId, id: AgentId) -> Result<()> {
    if caller == id {
        return Ok(());
    }
    load_agent(conn, id).await?;
    Err(Error::new(
        Code::NotOwner,
        "That is another agent's account.",
        format!("Use your own id, {caller}, or that agent's key."),
    ))
}

/// A page of all agents, the newest first.
pub(crate) async fn list_agents(conn: &mut PgConnection, query: &AgentsQuery) -> Result<Paged<Agent>> {
    let page = query.page()?;
    let niche = query.niche.as_deref().map(check_niche).transpose()?;
    let audience_type = query.audience_type.as_deref().map(check_audience_type).transpose()?;
    let filter = Filter { niche: niche.as_deref(), audience_type: audience_type.as_deref() };
    let agents = queries::list_agents(conn, &filter, page).await?;
    let total = match page.total() {
        Some(total) => total,
        None => queries::count_agents(conn, &filter).await?,
    };
    Ok(page.of_rows(agents, total, |agent| (agent.created_at.timestamp_micros(), agent.id.uuid())))
}

/// The agent, which must exist.
pub async fn load_agent(conn: &mut PgConnection, id: AgentId) -> Result<Agent> {
    queries::find_agent(conn, id).await?.ok_or_else(not_found)
}

/// The first free handle of `base`, `base-2`, `base-3`, …
async fn free_handle(conn: &mut PgConnection, base: &str) -> Result<String> {
    let taken: HashSet<String> = queries::list_handles_like(conn, base).await?.into_iter().collect();
    let numbered = (2u32..).map(|number| format!("{base}-{number}"));
    Ok(std::iter::once(base.to_owned())
        .chain(numbered)
        .find(|handle| !taken.contains(handle))
        .unwrap_or_default())
}

pub(crate) fn handle_taken(handle: &str, suggestion: &str) -> Error {
    Error::new(
        Code::HandleTaken,
        format!("The handle `{handle}` is taken."),
        format!("Send `\"handle\":\"{suggestion}\"`, or leave `handle` out and get a free one."),
    )
    .on_field("handle")
    .with("suggestion", suggestion)
}

/// An address of a site: http or https, with a host and no user-info, at most 2,048 characters.
pub fn web_address(field: &str, given: &str) -> Result<String> {
    let refuse = |why: &str| {
        Error::invalid(
            field,
            format!("`{field}` {why}."),
            format!(
                "Send `{field}` as an http or https address such as https://example.com/, at most 2048 characters."
            ),
        )
    };
    let url = Url::parse(given.trim()).map_err(|_| refuse("is not an address"))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(refuse("is neither http nor https"));
    }
    if url.host_str().is_none_or(str::is_empty) || !url.username().is_empty() || url.password().is_some() {
        return Err(refuse("needs a host and no user name"));
    }
    if url.as_str().len() > 2048 {
        return Err(refuse("is too long"));
    }
    Ok(url.into())
}

/// Forgets an agent. What it owns must have been ended before.
pub async fn delete_agent(conn: &mut PgConnection, clock: &dyn Clock, id: AgentId) -> Result<()> {
    queries::delete_agent(conn, id, clock.now()).await
}
