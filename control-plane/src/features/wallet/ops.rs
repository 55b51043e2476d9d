//! Steps on wallets. The caller owns the transaction.

use super::model::{self, Provider, Settings, Topup};
use super::payments;
use super::queries::{self, NewTopup};
use super::wire::{ChangeWalletRequest, WalletResponse};
use crate::auth;
use crate::error::{Error, Result};
use crate::features::ledger::model::{Account, AccountKind, CURRENCY};
use crate::features::ledger::ops as ledger;
use crate::features::usage;
use crate::money::Micros;
use crate::web::extract::Patch;
use shared::Clock;
use shared::id::{AgentId, TopupId};
use sqlx::PgConnection;

/// The wallet as it stands.
pub async fn wallet(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: auth::Agent,
    provider: Provider,
) -> Result<WalletResponse> {
    let auth::Agent { id: agent, number, .. } = agent;
    let wallet = ledger::standing(conn, Account::wallet(agent)).await?;
    let held = ledger::balance(conn, Account::of(agent, AccountKind::Held)).await?;
    let arrears = ledger::balance(conn, Account::of(agent, AccountKind::Arrears)).await?;
    let settings = queries::find_settings(conn, agent).await?.unwrap_or_default();
    Ok(WalletResponse {
        balance: wallet.balance_micros,
        currency: CURRENCY,
        held,
        owed: Micros::ZERO.minus(arrears).map_err(Error::bug)?,
        funded: wallet.version > 0,
        auto_topup: settings.into(),
        monthly_spend_cap: usage::ops::spend_cap(conn, number).await?,
        spent_this_month: usage::ops::spent(conn, number, usage::model::month_of(clock.now())).await?,
        provider: provider.as_str(),
    })
}

/// Tops up through the sandbox: the wallet is credited at once.
pub async fn topup_sandbox(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: AgentId,
    amount: Micros,
    automatic: bool,
) -> Result<Topup> {
    let amount = model::topup_amount("amount", amount)?;
    let new = NewTopup {
        agent,
        provider: Provider::Sandbox,
        amount,
        status: "paid",
        automatic,
        request: None,
        provider_ref: None,
    };
    let topup = queries::insert_topup(conn, &new, clock.now()).await?;
    let topup = topup.ok_or_else(|| Error::bug(anyhow::anyhow!("a new top-up exists")))?;
    payments::credit(conn, clock, &topup, Provider::Sandbox).await?;
    Ok(topup)
}

/// The agent's own top-up.
pub async fn load_topup(conn: &mut PgConnection, agent: AgentId, id: TopupId) -> Result<Topup> {
    queries::find_topup(conn, agent, id).await?.ok_or_else(|| {
        Error::not_found("top-up", "Use the `id` that POST /api/wallet/topup gave; your transactions are at GET /api/wallet/transactions.")
    })
}

/// What the wallet holds.
pub async fn balance(conn: &mut PgConnection, agent: AgentId) -> Result<Micros> {
    ledger::balance(conn, Account::wallet(agent)).await
}

/// Changes the settings.
pub async fn change_settings(
    conn: &mut PgConnection,
    clock: &dyn Clock,
    agent: auth::Agent,
    provider: Provider,
    patch: ChangeWalletRequest,
) -> Result<()> {
    let now = clock.now();
    match patch.monthly_spend_cap {
        Patch::Keep => {}
        Patch::Clear => usage::ops::set_spend_cap(conn, agent.number, None, now).await?,
        Patch::Set(cap) => usage::ops::set_spend_cap(conn, agent.number, Some(cap), now).await?,
    }
    let settings = match patch.auto_topup {
        Patch::Keep => return Ok(()),
        Patch::Clear => Settings::default(),
        Patch::Set(_) if provider != Provider::Sandbox => return Err(no_auto_topup()),
        Patch::Set(wish) => Settings {
            auto_topup_threshold_micros: Some(threshold(wish.threshold)?),
            auto_topup_amount_micros: Some(model::topup_amount("auto_topup.amount", wish.amount)?),
        },
    };
    queries::save_settings(conn, agent.id, &settings, now).await
}

/// A card can be charged without its owner only when it was kept for that, and none is.
fn no_auto_topup() -> Error {
    Error::invalid(
        "auto_topup",
        "`auto_topup` is not available here: cards are charged on the payment provider's page alone, and none is kept for later.",
        "Send `auto_topup` as null or leave it out, and pay each top-up: POST /api/wallet/topup gives the page for it.",
    )
}

fn threshold(threshold: Micros) -> Result<Micros> {
    if threshold < Micros::ZERO || threshold > model::TOPUP_MAX {
        return Err(Error::invalid(
            "auto_topup.threshold",
            format!("`auto_topup.threshold` is {threshold}."),
            "Send `auto_topup.threshold` as a number from 0 to 500, such as 5.",
        ));
    }
    Ok(threshold)
}
