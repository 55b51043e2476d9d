//! Steps of attribution. The caller owns the transaction.

use super::header;
use super::model::{CommissionLine, EventKind, RuntimeLine, TrackedEvent, TrackedLine, Verified};
use super::queries::{self, NewEvent};
use crate::auth::api_keys::{self, Digest, Kind};
use crate::auth::slat::{Claims, Refusal, SlatKeys, WINDOW_SECONDS_DEFAULT};
use crate::error::{Code, Error, Result};
use crate::features::conversions::model::EventType;
use crate::features::conversions::ops::Report;
use crate::features::{agents, commissions, conversions, links, partnerships, programs};
use crate::money::Micros;
use crate::page::{Page, PageQuery, Paged};
use crate::time::Span;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use shared::click_id::ClickIdKey;
use shared::id::{AgentId, AttributionEventId, CommissionId, PartnershipId, ProgramId, VerificationId};
use shared::{Clock, LinkKey, TokenKey};
use sqlx::PgConnection;
use uuid::Uuid;

/// What tracking and verifying take besides the rows.
#[derive(Clone, Copy)]
pub struct Keys<'a> {
    /// Signs and checks attribution tokens.
    pub slat: &'a SlatKeys,
    /// Makes and reads link tokens.
    pub tokens: &'a TokenKey,
    /// Makes and reads click ids.
    pub clicks: &'a ClickIdKey,
}

/// An event as it is reported.
pub struct EventReport<'a> {
    /// What the agent did.
    pub kind: EventKind,
    /// For whom.
    pub merchant: AgentId,
    /// In which program, if it matters.
    pub program: Option<ProgramId>,
    /// The merchant's product.
    pub product_id: Option<&'a str>,
    /// Checked by [`super::model::check_metadata`].
    pub metadata: &'a Map<String, Value>,
}

/// Records an event: a click on the partnership's attribution link, and the token that proves it.
pub async fn track(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    keys: Keys<'_>,
    publisher: AgentId,
    report: &EventReport<'_>,
) -> Result<TrackedEvent> {
    if agents::ops::find_live(conn, report.merchant).await?.is_none() {
        return Err(merchant_not_found());
    }
    let (program, partnership, link) =
        place(conn, clock, keys.tokens, report.merchant, publisher, report.program).await?;
    let token = keys.tokens.mint(link);
    let (key, tracked) = conversions::ops::load_tracked(conn, keys.tokens, token.as_str()).await?;
    let recorded = conversions::clicks::record(conn, clock, keys.clicks, (key, &tracked)).await?;
    let now = clock.now();
    let id = AttributionEventId::generate();
    let new = NewEvent {
        id,
        merchant: report.merchant,
        program,
        partnership,
        publisher,
        link,
        click_id: &recorded.click_id,
        kind: report.kind,
        product_id: report.product_id,
        metadata: report.metadata,
        now,
    };
    queries::insert_event(conn, &new).await?;
    let claims = Claims {
        issued_at: now.timestamp(),
        valid_for: WINDOW_SECONDS_DEFAULT,
        event: id,
        merchant: report.merchant,
        program,
        publisher,
        nonce: random_nonce()?,
    };
    Ok(TrackedEvent {
        id,
        merchant: report.merchant,
        program,
        created_at: now,
        slat_token: keys.slat.sign(&claims),
    })
}

fn random_nonce() -> Result<Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::bug(anyhow::anyhow!("no randomness: {error}")))?;
    Ok(Uuid::from_bytes(bytes))
}

pub(crate) fn merchant_not_found() -> Error {
    Error::new(
        Code::MerchantNotFound,
        "There is no such merchant.",
        "Send the merchant's `merch_…` id: its owner sees it as `merchant_id` in GET /api/agents/me, and programs show it in GET /api/network/discover.",
    )
    .on_field("merchant_id")
}

/// Program, partnership and link that a publisher's events for a merchant count on, made when needed.
async fn place(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    tokens: &TokenKey,
    merchant: AgentId,
    publisher: AgentId,
    program: Option<ProgramId>,
) -> Result<(ProgramId, PartnershipId, LinkKey)> {
    let not_affiliated = || {
        Error::new(
            Code::NotAffiliated,
            "You are not an approved affiliate of this merchant, and it has no active program that approves by itself.",
            "Join one of its programs with POST /api/network/join/:program_id and wait for the approval, then send `program_id`.",
        )
    };
    let found = queries::find_place(conn, merchant, publisher, program).await?.ok_or_else(not_affiliated)?;
    if let (Some(partnership), Some(link)) = (found.partnership_id, found.link()) {
        return Ok((found.program_id, partnership, link));
    }
    if publisher == merchant {
        return Err(Error::new(
            Code::OwnProgram,
            "A merchant cannot be the publisher of its own program.",
            "Use the publisher key of another agent.",
        ));
    }
    // First event of this pair: join and make the link under the program's lock, then look again.
    let program = programs::ops::lock_program(conn, found.program_id).await?;
    let partnership = match partnerships::ops::find_live(conn, program.id, publisher).await? {
        Some(partnership) => partnership,
        None => partnerships::ops::join(conn, clock, &program, publisher, None).await?,
    };
    let link =
        links::ops::attribution_link(conn, clock, tokens, &partnership, program.settings.url.as_deref())
            .await?;
    let found =
        queries::find_place(conn, merchant, publisher, Some(program.id)).await?.ok_or_else(not_affiliated)?;
    let partnership = found.partnership_id.ok_or_else(not_affiliated)?;
    Ok((program.id, partnership, link))
}

/// The publisher that an X-SL-Attribution header names, by public name or by key.
pub async fn named_publisher(conn: &mut PgConnection, named: &str) -> Result<AgentId> {
    let unknown = || {
        Error::invalid(
            "X-SL-Attribution",
            "The agent_key of the X-SL-Attribution header names no publisher.",
            "Put the publisher's `pub_…` id (publisher_id in GET /api/agents/me) into agent_key.",
        )
    };
    if let Some(id) = header::prefixed("pub_", named).map(AgentId::from_uuid) {
        return agents::ops::find_live(conn, id).await?.map(|agent| agent.id).ok_or_else(unknown);
    }
    if api_keys::kind_of(named) != Some(Kind::Publisher) {
        return Err(unknown());
    }
    let found = crate::auth::queries::find_live_key(conn, &Digest::of(named), Kind::Publisher).await?;
    found.map(|key| key.agent_id).ok_or_else(unknown)
}

/// How a merchant proves who sent the customer.
pub enum Proof<'a> {
    /// A token from `track`.
    Slat(&'a str),
    /// A reference that rode on the payment, and the publisher it names.
    Reference {
        /// Spent once per merchant.
        reference: &'a str,
        /// Who earns.
        publisher: AgentId,
    },
}

/// An order as the merchant reports it.
pub struct Order<'a> {
    /// The merchant's own name for it.
    pub id: &'a str,
    /// What the customer paid.
    pub amount: Micros,
}

/// What verifying found.
pub enum Outcome {
    /// The order is credited now.
    Verified(Verified),
    /// It was before; the same answer again.
    Again(Value),
}

/// Credits an order to whom the proof names: conversion, commission and metering, once.
pub async fn verify(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    keys: Keys<'_>,
    merchant: AgentId,
    proof: Proof<'_>,
    order: &Order<'_>,
) -> Result<Outcome> {
    let now = clock.now();
    let (nonce, publisher, claims) = match proof {
        Proof::Slat(token) => {
            let claims = keys
                .slat
                .open(token)
                .ok()
                .filter(|claims| claims.merchant == merchant)
                .ok_or_else(invalid_token)?;
            (format!("slat:{}", claims.nonce.simple()), claims.publisher, Some(claims))
        }
        Proof::Reference { reference, publisher } => (format!("atxp:{reference}"), publisher, None),
    };
    let id = VerificationId::generate();
    let event = claims.map(|claims| claims.event);
    if !queries::spend_nonce(conn, id, (merchant, publisher), &nonce, event, order.id, now).await? {
        return repeated(conn, merchant, &nonce, order).await;
    }
    let link = match (claims, proof) {
        (Some(claims), Proof::Slat(token)) => {
            in_window(keys.slat.verify(token, now.timestamp()))?;
            let event = queries::find_event(conn, merchant, claims.event).await?.ok_or_else(invalid_token)?;
            (event.0, Some(event.1))
        }
        _ => (place(conn, clock, keys.tokens, merchant, publisher, None).await?.2, None),
    };
    let token = keys.tokens.mint(link.0);
    let (key, tracked) = conversions::ops::load_tracked(conn, keys.tokens, token.as_str()).await?;
    let click = link.1.and_then(|text| keys.clicks.parse(&text).map(|click| (text, click)));
    let report = Report {
        event_type: EventType::Sale,
        revenue: Some(order.amount),
        external_id: Some(order.id.to_owned()),
        click,
    };
    let conversion = conversions::ops::record(conn, clock, (key, &tracked), &report).await?;
    Ok(Outcome::Verified(Verified {
        id,
        conversion: conversion.id,
        commission: conversion.commission.amount,
        terms: conversion.commission.terms,
        publisher,
    }))
}

/// Keeps the answer for whoever verifies the same again.
pub async fn keep_answer(
    conn: &mut PgConnection,
    merchant: AgentId,
    verified: &Verified,
    answer: &Value,
) -> Result<()> {
    queries::store_answer(conn, merchant, verified.id, verified.conversion, answer).await
}

async fn repeated(
    conn: &mut PgConnection,
    merchant: AgentId,
    nonce: &str,
    order: &Order<'_>,
) -> Result<Outcome> {
    match queries::find_verification(conn, merchant, nonce).await? {
        Some((order_id, Some(answer))) if order_id == order.id => Ok(Outcome::Again(answer)),
        Some(_) => Err(Error::new(
            Code::NonceReplay,
            "This attribution was already used for another order.",
            "Track a new event for a new order: POST /v1/track. To see the answer again, send the same order_id.",
        )),
        None => Err(Error::bug(anyhow::anyhow!("a nonce is spent and nobody spent it"))),
    }
}

fn invalid_token() -> Error {
    Error::new(
        Code::InvalidSlatToken,
        "The SLAT token is not valid: its signature does not verify, or it is for another merchant.",
        "Send `slat_token` exactly as POST /v1/track returned it, with the key of the merchant it names.",
    )
    .on_field("slat_token")
}

fn in_window(verified: Result<Claims, Refusal>) -> Result<()> {
    match verified {
        Ok(_) => Ok(()),
        Err(Refusal::Invalid) => Err(invalid_token()),
        Err(Refusal::Expired { age, max_age }) => Err(Error::new(
            Code::TokenExpired,
            "The SLAT token is older than the attribution window.",
            "Nothing is owed for it. Track a new event with POST /v1/track.",
        )
        .on_field("slat_token")
        .with("token_age_seconds", age)
        .with("max_age_seconds", max_age)),
    }
}

/// A publisher's commissions, and what they sum to.
pub async fn commissions(
    conn: &mut PgConnection,
    publisher: AgentId,
    status: Option<&str>,
    before: Option<CommissionId>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<(Vec<CommissionLine>, commissions::ops::Sums)> {
    let lines = queries::list_commissions(conn, publisher, status, before, limit).await?;
    let earned = commissions::ops::earnings(conn, publisher, now, PageQuery::default().checked()?).await?;
    Ok((lines, earned.total))
}

/// Refuses everybody but the program's advertiser.
pub async fn must_own(conn: &mut PgConnection, caller: AgentId, program: ProgramId) -> Result<()> {
    if programs::ops::load_program(conn, program).await?.advertiser_id == caller {
        return Ok(());
    }
    Err(Error::new(
        Code::NotOwner,
        "The program belongs to another advertiser.",
        "Use the key of the program's advertiser; GET /v1/commissions lists what you earned as publisher.",
    ))
}

/// What agents tracked for a program and what came of it, by runtime.
pub async fn list_runtimes(
    conn: &mut PgConnection,
    program: ProgramId,
    span: Span,
    page: Page,
) -> Result<Paged<RuntimeLine>> {
    let rows = queries::list_runtimes(conn, program, span, page).await?;
    // Every event has to be read for it: once is enough.
    let total = match rows.first() {
        Some(row) => row.runtimes,
        None if page.offset() == 0 => 0,
        None => queries::count_runtimes(conn, program, span).await?,
    };
    Ok(page.of(rows, total))
}

/// What agents tracked for a program, event by event.
pub async fn list_events(
    conn: &mut PgConnection,
    program: ProgramId,
    runtime: Option<&str>,
    span: Span,
    page: Page,
) -> Result<Paged<TrackedLine>> {
    let total = match page.total() {
        Some(total) => total,
        None => queries::count_events(conn, program, runtime, span).await?,
    };
    let rows = queries::list_events(conn, program, runtime, span, page).await?;
    Ok(page.of_rows(rows, total, |row| (row.created_at.timestamp_micros(), row.id.uuid())))
}
