//! Steps on agents. The caller owns the transaction.

use super::model::{self, Agent};
use super::queries::{self, NewAgent};
use super::wire::SignUpRequest;
use crate::auth::api_keys::{Kind, NewKey};
use crate::error::{Code, Error, Result};
use crate::text;
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
    let name = text::line("name", &request.name, 100)?;
    let niche = request.niche.as_deref().map(|niche| text::line("niche", niche, 60)).transpose()?;
    let audience_type = request
        .audience_type
        .as_deref()
        .map(|audience| text::line("audience_type", audience, 60))
        .transpose()?;
    let description = request
        .description
        .as_deref()
        .map(|description| text::paragraph("description", description, 2000))
        .transpose()?;
    let website_url =
        request.website_url.as_deref().map(|url| web_address("website_url", url)).transpose()?;
    let new = NewAgent {
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
            if !model::is_handle(handle) {
                return Err(Error::invalid(
                    "handle",
                    "`handle` is not a handle.",
                    format!(
                        "Send small letters, digits and single hyphens, such as `{}`.",
                        model::handle_from(&name)
                    ),
                ));
            }
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

/// The agent, if it is there.
pub async fn find_live(conn: &mut PgConnection, id: AgentId) -> Result<Option<Agent>> {
    queries::find_agent(conn, id).await
}

/// The agent, which must exist: its key was just seen.
pub async fn load_agent(conn: &mut PgConnection, id: AgentId) -> Result<Agent> {
    queries::find_agent(conn, id)
        .await?
        .ok_or_else(|| Error::not_found("agent", "List agents with GET /api/agents."))
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
