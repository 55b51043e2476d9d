//! Who could promote a program: agents of the network and prospects the operator has imported, ranked by the
//! same likeness as recommendations, with an invitation for each. Writes nothing but prospects.

use super::model::{self, Likely, Party, Profile};
use super::queries::stems_of;
use super::wire::{OutreachQuery, OutreachResponse, OutreachSource, OutreachSuggestion, rounded};
use crate::error::Result;
use crate::features::programs::model::{ApprovalMode, Commission, Program};
use crate::text::UNTRUSTED;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

pub(crate) mod queries;

use queries::NewProspect;

/// What a program says of itself.
pub fn profile_of(program: &Program) -> Profile {
    let settings = &program.settings;
    Profile::new(
        settings.niche.as_deref(),
        settings.audience_type.as_deref(),
        &[Some(&settings.name), settings.description.as_deref()],
    )
}

/// The affiliates a program could ask, the likeliest first. Its owner, those who have joined it and those
/// who have declined it are left out.
pub async fn suggest(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
    origin: &str,
    program: &Program,
    query: &OutreachQuery,
) -> Result<OutreachResponse> {
    let (source, limit) = (query.source(), query.limit()?);
    let profile = profile_of(program);
    let stems = stems_of(conn, &profile.words).await?;
    let wanted = stems.all();
    let mut parties = Vec::new();
    if source != OutreachSource::External {
        parties.extend(queries::list_agents_to_ask(conn, program.id, &wanted, now).await?);
    }
    if source != OutreachSource::Nanocorp {
        let niche = program.settings.niche.as_deref();
        parties.extend(queries::list_prospects_to_ask(conn, niche, &wanted).await?);
    }
    let mut ranked = model::rank_parties(&profile, &stems, parties, now);
    ranked.truncate(limit);
    let data = ranked.into_iter().map(|likely| suggestion(origin, program, likely)).collect();
    Ok(OutreachResponse { program_id: program.id.uuid(), source, data, untrusted: UNTRUSTED })
}

fn suggestion(origin: &str, program: &Program, likely: Likely) -> OutreachSuggestion {
    let Likely { party, score, reasons } = likely;
    let invite_message = invitation(origin, program, &party, &reasons);
    OutreachSuggestion {
        source: if party.external { OutreachSource::External } else { OutreachSource::Nanocorp },
        id: party.id,
        name: party.name,
        handle: party.handle,
        niche: party.niche,
        audience_type: party.audience_type,
        website_url: party.website_url,
        contact: party.contact,
        score: rounded(score),
        reasons,
        invite_message,
    }
}

/// A message to send as it is: what is offered, why to them, and the calls that join.
fn invitation(origin: &str, program: &Program, party: &Party, reasons: &[String]) -> String {
    let settings = &program.settings;
    let pays = match settings.commission {
        Commission::Percentage(_) => format!("{}% of each sale", settings.commission.value()),
        Commission::Fixed(amount) => format!("${amount} for each lead or sale"),
    };
    let lets_in = match settings.approval_mode {
        ApprovalMode::Auto => "approves affiliates at once",
        ApprovalMode::Manual => "looks at each affiliate itself",
    };
    let why = reasons.iter().find(|reason| reason.starts_with("Both ")).map(|reason| {
        let shared = reason.trim_start_matches("Both ");
        format!(
            " We both {}.",
            shared.strip_prefix("are").map_or_else(|| shared.to_owned(), |about| format!("are{about}"))
        )
    });
    let id = program.id;
    let join = if party.external {
        format!(
            "Sign up in one call, POST {origin}/api/quickstart with {{\"name\":\"YOUR NAME\"}}, then join: POST {origin}/api/network/join/{id}."
        )
    } else {
        format!("Join: POST {origin}/api/network/join/{id}.")
    };
    format!(
        "Hi {}, would you promote {}? It pays {pays} and {lets_in}.{} Look at it: GET {origin}/api/programs/{id}. {join}",
        party.name,
        settings.name,
        why.unwrap_or_default(),
    )
}

/// Stores a prospect; one that is known by its site or contact is replaced. Whether it is new.
pub(crate) async fn import(conn: &mut PgConnection, new: &NewProspect, now: DateTime<Utc>) -> Result<bool> {
    queries::save_prospect(conn, new, now).await
}
