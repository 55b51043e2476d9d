//! Steps on links. The caller owns the transaction.

use super::destination::{self, Destination};
use super::model::{Counts, Link};
use super::queries::{self, NewLink};
use super::wire::{CreateLinkRequest, UpdateLinkRequest};
use crate::error::{Code, Error, Result};
use crate::features::link_outbox::{Subject, announce};
use crate::features::partnerships::model::{Partnership, Side, Status as PartnershipStatus};
use crate::features::programs::hosts;
use crate::features::usage::model::Tier;
use crate::features::{agents, partnerships, programs};
use crate::page::{Page, Paged};
use crate::text;
use crate::web::extract::Patch;
use shared::id::{AgentId, LinkId, PartnershipId, ProgramId};
use shared::{Clock, LinkKey, TokenKey};
use sqlx::PgConnection;
use std::collections::HashMap;
use url::Host;

/// What making and changing links takes besides the rows.
#[derive(Clone, Copy)]
pub struct Minting<'a> {
    /// Makes tokens.
    pub token_key: &'a TokenKey,
    /// Our own origins, which no link may lead to.
    pub own_origins: &'a [&'a str],
}

/// The caller's partnership, in which it may make links: it is the affiliate, and approved. The program
/// stays as it is until the transaction ends.
pub async fn hold_partnership(
    conn: &mut PgConnection,
    caller: AgentId,
    id: PartnershipId,
) -> Result<Partnership> {
    queries::hold_program(conn, id).await?;
    let (partnership, side) = partnerships::ops::load_for(conn, caller, id).await?;
    if side != Side::Affiliate {
        return Err(affiliates_only());
    }
    approved(partnership.status)?;
    Ok(partnership)
}

/// Makes a link in a partnership that [`hold_partnership`] gave.
pub async fn create_link(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    minting: Minting<'_>,
    partnership: &Partnership,
    request: &CreateLinkRequest,
) -> Result<Link> {
    let destination =
        check_destination(conn, minting, partnership.program_id, &request.destination_url).await?;
    let sub_id = request.sub_id.as_deref().map(sub_id).transpose()?;
    let custom_domain = match &request.custom_domain {
        Some(given) => {
            let sides = (partnership.affiliate_id, partnership.advertiser_id);
            Some(custom_domain(conn, sides, given).await?)
        }
        None => None,
    };
    let now = clock.now();
    let id = loop {
        // Two of 2^64 random keys meet once in a universe, and the loop costs nothing.
        let key = LinkKey::generate();
        let token = minting.token_key.mint(key);
        let new = NewLink {
            key,
            token: token.as_str(),
            partnership: partnership.id,
            program: partnership.program_id,
            affiliate: partnership.affiliate_id,
            advertiser: partnership.advertiser_id,
            destination: &destination,
            sub_id: sub_id.as_deref(),
            custom_domain: custom_domain.as_deref(),
        };
        if let Some(id) = queries::insert_link(conn, &new, now).await? {
            break id;
        }
    };
    announce(conn, Subject::Link(id), now).await?;
    queries::find_link(conn, id).await?.ok_or_else(missing)
}

/// The partnership's link for what is tracked through `/v1`, made when there is none. The caller holds the
/// program, so two cannot be made at once. Such a link is seldom followed; it leads to the program's site.
pub async fn attribution_link(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    tokens: &TokenKey,
    partnership: &Partnership,
    program_url: Option<&str>,
) -> Result<LinkKey> {
    if let Some(key) = queries::find_attribution_link(conn, partnership.id).await? {
        return Ok(key);
    }
    let url = program_url
        .map_or_else(|| format!("https://{}.invalid/", partnership.affiliate_handle), str::to_owned);
    let destination = destination::parse(&url, &[])?;
    let now = clock.now();
    let key = LinkKey::generate();
    let token = tokens.mint(key);
    let new = NewLink {
        key,
        token: token.as_str(),
        partnership: partnership.id,
        program: partnership.program_id,
        affiliate: partnership.affiliate_id,
        advertiser: partnership.advertiser_id,
        destination: &destination,
        sub_id: Some("agent-attribution"),
        custom_domain: None,
    };
    let id = queries::insert_link(conn, &new, now)
        .await?
        .ok_or_else(|| Error::bug(anyhow::anyhow!("a random link key is taken")))?;
    queries::mark_attribution(conn, id).await?;
    announce(conn, Subject::Link(id), now).await?;
    Ok(key)
}

/// The link and the caller's side of it; strangers hear that there is none.
pub async fn load_for(conn: &mut PgConnection, caller: AgentId, id: LinkId) -> Result<(Link, Side)> {
    with_side(caller, queries::find_link(conn, id).await?)
}

/// The affiliate's own link, locked.
pub async fn lock_own_link(conn: &mut PgConnection, caller: AgentId, id: LinkId) -> Result<Link> {
    let (link, side) = with_side(caller, queries::lock_link(conn, id).await?)?;
    if side != Side::Affiliate {
        return Err(affiliates_only());
    }
    Ok(link)
}

fn with_side(caller: AgentId, found: Option<Link>) -> Result<(Link, Side)> {
    let link = found.ok_or_else(missing)?;
    let side = link.side_of(caller).ok_or_else(missing)?;
    Ok((link, side))
}

/// Changes a link that [`lock_own_link`] gave.
pub async fn update_link(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    minting: Minting<'_>,
    link: Link,
    request: UpdateLinkRequest,
) -> Result<Link> {
    approved(link.partnership_status)?;
    let destination = match request.destination_url {
        Patch::Keep => None,
        Patch::Clear => {
            return Err(Error::invalid(
                "destination_url",
                "`destination_url` cannot be null.",
                "Send an address, or leave `destination_url` out to keep it; DELETE /api/links/:id ends the link.",
            ));
        }
        Patch::Set(given) => Some(check_destination(conn, minting, link.program_id, &given).await?),
    };
    let sub_id = match request.sub_id {
        Patch::Set(given) => Some(sub_id(&given)?),
        other => other.apply(link.sub_id.clone()),
    };
    let custom_domain = match request.custom_domain {
        // What it has already is no step that would need Pro.
        Patch::Set(given) if link.custom_domain.as_ref() == Some(&given) => Some(given),
        Patch::Set(given) => {
            Some(custom_domain(conn, (link.affiliate_id, link.advertiser_id), &given).await?)
        }
        other => other.apply(link.custom_domain.clone()),
    };
    let moved =
        destination.as_ref().is_some_and(|new| new.url != link.destination_url || link.blocked_at.is_some());
    if !moved && sub_id == link.sub_id && custom_domain == link.custom_domain {
        return Ok(link);
    }
    let now = clock.now();
    let labels = (sub_id.as_deref(), custom_domain.as_deref());
    queries::update_link(conn, link.id, destination.as_ref(), labels, now).await?;
    if moved {
        announce(conn, Subject::Link(link.id), now).await?;
    }
    queries::find_link(conn, link.id).await?.ok_or_else(missing)
}

/// Ends a link that [`lock_own_link`] gave.
pub async fn delete_link(conn: &mut PgConnection, clock: &dyn Clock, link: &Link) -> Result<()> {
    let now = clock.now();
    queries::delete_link(conn, link.id, now).await?;
    announce(conn, Subject::Link(link.id), now).await
}

/// A page of a partnership's links.
pub async fn list_links(
    conn: &mut PgConnection,
    partnership: PartnershipId,
    sub_id: Option<&str>,
    page: Page,
) -> Result<Paged<Link>> {
    queries::list_links(conn, partnership, sub_id, page).await
}

/// What happened to these links so far; those to which nothing did are left out.
pub async fn count(conn: &mut PgConnection, links: &[&Link]) -> Result<HashMap<LinkId, Counts>> {
    if links.is_empty() {
        return Ok(HashMap::new());
    }
    let links: Vec<_> = links.iter().map(|link| (link.id, link.key)).collect();
    queries::count(conn, &links).await
}

async fn check_destination(
    conn: &mut PgConnection,
    minting: Minting<'_>,
    program: ProgramId,
    given: &str,
) -> Result<Destination> {
    let destination = destination::parse(given, minting.own_origins)?;
    let program = programs::ops::load_program(conn, program).await?;
    programs::ops::check_destination_host(&program, &destination.host)?;
    program.not_archived()?;
    Ok(destination)
}

fn sub_id(given: &str) -> Result<String> {
    text::line("sub_id", given, 100)
}

/// Checks a custom domain: an active one of the affiliate's or the advertiser's, who is on Pro.
async fn custom_domain(
    conn: &mut PgConnection,
    (affiliate, advertiser): (AgentId, AgentId),
    given: &str,
) -> Result<String> {
    let host = domain_name(given).ok_or_else(|| {
        Error::invalid(
            "custom_domain",
            "`custom_domain` is not a domain name.",
            "Send one of your domains, GET /api/domains, such as `go.example.com`: without scheme, port or path.",
        )
    })?;
    let sides = [affiliate, advertiser];
    let Some(domain) = queries::find_domain(conn, &host, sides).await? else {
        if agents::ops::load_agent(conn, affiliate).await?.tier != Tier::Pro.as_str() {
            return Err(needs_pro());
        }
        return Err(Error::invalid(
            "custom_domain",
            "`custom_domain` is not a domain of yours or of the program's advertiser.",
            "Add it with POST /api/domains and wait until GET /api/domains/:id shows it `active`, or leave `custom_domain` out.",
        ));
    };
    if domain.lapsed {
        return Err(needs_pro());
    }
    if domain.status != "active" {
        return Err(Error::new(
            Code::InvalidState,
            format!("The domain {host} is {}, not active.", domain.status),
            "Wait until GET /api/domains shows it `active`; its `problem` and `fix` say what keeps it.",
        )
        .on_field("custom_domain"));
    }
    Ok(host)
}

fn needs_pro() -> Error {
    Error::new(
        Code::FeatureRequiresPro,
        "Links on a domain of your own need Infrastructure Pro.",
        "Upgrade with POST /api/subscription/pro, or leave `custom_domain` out and use the tracking URL on our domain.",
    )
    .on_field("custom_domain")
}

/// Takes an agent's links off a domain it gave up; gives how many there were.
pub async fn leave_domain(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    host: &str,
) -> Result<u64> {
    queries::leave_domain(conn, agent, host, clock.now()).await
}

/// A name with a dot in it, as the URL standard writes it.
fn domain_name(given: &str) -> Option<String> {
    let trimmed = given.trim().trim_end_matches('.');
    match Host::parse(trimmed).ok().filter(|_| trimmed.len() <= 253)? {
        Host::Domain(name) if name.contains('.') && name.len() <= 253 && hosts::is_plain(&name) => Some(name),
        _ => None,
    }
}

fn approved(status: PartnershipStatus) -> Result<()> {
    if status == PartnershipStatus::Approved {
        return Ok(());
    }
    let fix = match status {
        PartnershipStatus::Pending | PartnershipStatus::Suspended => {
            "Wait until the advertiser approves it: GET /api/partnerships/:id shows its `status`."
        }
        _ => {
            "Join again with POST /api/network/join/:program_id, or find another program with GET /api/network/discover."
        }
    };
    Err(Error::new(Code::NotApproved, format!("The partnership is {status}, not approved."), fix))
}

fn affiliates_only() -> Error {
    Error::new(
        Code::NotOwner,
        "Links belong to the affiliate of the partnership.",
        "Use the affiliate's key. As the advertiser you can suspend the partnership with PATCH /api/partnerships/:id.",
    )
}

fn missing() -> Error {
    Error::not_found("link", "List the links of a partnership with GET /api/partnerships/:id/links.")
}
