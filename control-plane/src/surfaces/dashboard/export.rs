//! Lists as CSV files, for spreadsheets.
//!
//! A spreadsheet runs a cell that begins like a formula, so text that does is led in by an apostrophe
//! (OWASP: CSV injection); amounts are plain numbers and stay so. RFC 4180 otherwise, UTF-8, CR LF.
//! Limit: the newest [`ROWS_MAX`] rows of a list.

use super::api::with_query;
use super::error::Failure;
use super::shapes::{Conversion, List, Payout, Stats, Transaction};
use super::visit::{Asking, Visit};
use super::words;
use crate::app::App;
use crate::money::Micros;
use crate::page::PER_PAGE_MAX;
use crate::time::At;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

/// Rows of a file at most.
const ROWS_MAX: usize = 10_000;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/my-dashboard/export/earned.csv", get(earned))
        .route("/my-dashboard/export/conversions.csv", get(reported))
        .route("/my-dashboard/export/paid-to-me.csv", get(paid_to_me))
        .route("/my-dashboard/export/paid-by-me.csv", get(paid_by_me))
        .route("/my-dashboard/export/wallet.csv", get(wallet))
        .route("/my-dashboard/export/clicks-on-my-links.csv", get(clicks_on_links))
        .route("/my-dashboard/export/clicks-to-my-programs.csv", get(clicks_to_programs))
}

/// Of which program.
#[derive(Deserialize)]
struct OfProgram {
    of: Option<Uuid>,
}

/// Over which time.
#[derive(Deserialize)]
struct Over {
    days: Option<String>,
}

/// A cell.
enum Cell {
    Text(String),
    /// Digits, a point, a sign: nothing a spreadsheet could run.
    Number(String),
}

impl Cell {
    fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    fn maybe(text: Option<&String>) -> Self {
        Self::Text(text.cloned().unwrap_or_default())
    }

    fn money(amount: Option<Micros>) -> Self {
        Self::Number(amount.map(|amount| amount.to_string()).unwrap_or_default())
    }

    fn count(number: i64) -> Self {
        Self::Number(number.to_string())
    }

    fn write(&self, file: &mut String) {
        match self {
            Self::Number(digits) => file.push_str(digits),
            Self::Text(text) => {
                file.push('"');
                if is_formula(text) {
                    file.push('\'');
                }
                file.push_str(&text.replace('"', "\"\""));
                file.push('"');
            }
        }
    }
}

/// Whether a spreadsheet might run it: what it begins with, spaces and control characters aside.
fn is_formula(text: &str) -> bool {
    let begins = text.chars().next();
    let first = text.chars().find(|letter| !letter.is_whitespace() && !letter.is_control());
    begins.is_some_and(|letter| matches!(letter, '\t' | '\r' | '\n' | '\0'))
        || first.is_some_and(|letter| {
            matches!(letter, '=' | '+' | '-' | '@' | '|' | '%' | '＝' | '＋' | '－' | '＠')
        })
}

/// A whole file.
fn csv(name: &str, titles: &[&str], rows: &[Vec<Cell>]) -> Response {
    // Spreadsheets take a file without the mark for their own code page.
    let mut file = String::from('\u{feff}');
    file.push_str(&titles.join(","));
    file.push_str("\r\n");
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if at > 0 {
                file.push(',');
            }
            cell.write(&mut file);
        }
        file.push_str("\r\n");
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"affiliateos-{name}.csv\"")),
    ];
    (headers, file).into_response()
}

/// The rows of a list, page by page.
async fn all<T: DeserializeOwned>(
    visit: &Visit,
    path: &str,
    pairs: &[(&str, &str)],
) -> Result<Vec<T>, Failure> {
    let mut rows = Vec::new();
    for number in 1.. {
        let (page, per_page) = (number.to_string(), PER_PAGE_MAX.to_string());
        let paged: Vec<(&str, &str)> =
            pairs.iter().copied().chain([("page", page.as_str()), ("per_page", per_page.as_str())]).collect();
        let list: List<T> = visit.api.get(&with_query(path, &paged)).await?;
        let last = list.data.is_empty() || number >= list.pagination.total_pages;
        rows.extend(list.data);
        if last || rows.len() >= ROWS_MAX {
            break;
        }
    }
    rows.truncate(ROWS_MAX);
    Ok(rows)
}

async fn earned(visit: Visit) -> Result<Response, Failure> {
    let rows = all(&visit, &format!("/api/agents/{}/conversions", visit.id), &[]).await?;
    Ok(conversions("earned", &rows))
}

async fn reported(visit: Visit, Asking(asked): Asking<OfProgram>) -> Result<Response, Failure> {
    let path = asked.of.map_or_else(
        || "/api/conversions".to_owned(),
        |program| format!("/api/programs/{program}/conversions"),
    );
    let rows = all(&visit, &path, &[]).await?;
    Ok(conversions("conversions", &rows))
}

fn conversions(name: &str, rows: &[Conversion]) -> Response {
    let titles = [
        "id",
        "reported_at",
        "type",
        "external_id",
        "tracking_token",
        "sale_usd",
        "commission_usd",
        "status",
        "reason",
    ];
    let row = |one: &Conversion| {
        vec![
            Cell::Text(one.id.to_string()),
            Cell::Text(At(one.created_at).to_string()),
            Cell::text(&one.event_type),
            Cell::maybe(one.external_id.as_ref()),
            Cell::text(&one.tracking_token),
            Cell::money(one.revenue_amount),
            Cell::money(Some(one.commission_amount)),
            Cell::text(&one.status),
            Cell::maybe(one.reason.as_ref()),
        ]
    };
    csv(name, &titles, &rows.iter().map(row).collect::<Vec<_>>())
}

async fn paid_to_me(visit: Visit) -> Result<Response, Failure> {
    payouts(&visit, "paid-to-me", "affiliate").await
}

async fn paid_by_me(visit: Visit) -> Result<Response, Failure> {
    payouts(&visit, "paid-by-me", "advertiser").await
}

async fn payouts(visit: &Visit, name: &str, role: &str) -> Result<Response, Failure> {
    let rows: Vec<Payout> = all(visit, "/api/payouts", &[("role", role)]).await?;
    let titles = ["made_at", "to", "amount_usd", "commissions", "method", "status", "reference", "failure"];
    let row = |one: &Payout| {
        vec![
            Cell::Text(At(one.created_at).to_string()),
            Cell::text(&one.affiliate_handle),
            Cell::money(Some(one.amount)),
            Cell::count(one.commission_count),
            Cell::text(&one.method),
            Cell::text(&one.status),
            Cell::maybe(one.reference.as_ref()),
            Cell::maybe(one.failure.as_ref()),
        ]
    };
    Ok(csv(name, &titles, &rows.iter().map(row).collect::<Vec<_>>()))
}

async fn wallet(visit: Visit) -> Result<Response, Failure> {
    let rows: Vec<Transaction> = all(&visit, "/api/wallet/transactions", &[]).await?;
    let titles = ["at", "type", "kind", "quantity", "amount_usd", "balance_after_usd"];
    let row = |one: &Transaction| {
        vec![
            Cell::Text(At(one.created_at).to_string()),
            Cell::text(&one.r#type),
            Cell::text(&one.kind),
            Cell::Number(one.quantity.map(|quantity| quantity.to_string()).unwrap_or_default()),
            Cell::money(Some(one.amount)),
            Cell::money(Some(one.balance_after)),
        ]
    };
    Ok(csv("wallet", &titles, &rows.iter().map(row).collect::<Vec<_>>()))
}

async fn clicks_on_links(visit: Visit, Asking(asked): Asking<Over>) -> Result<Response, Failure> {
    let stats = stats(&visit, &asked).await?;
    Ok(by_day("clicks-on-my-links", &stats.clicks.as_affiliate.by_day))
}

async fn clicks_to_programs(visit: Visit, Asking(asked): Asking<Over>) -> Result<Response, Failure> {
    let stats = stats(&visit, &asked).await?;
    Ok(by_day("clicks-to-my-programs", &stats.clicks.as_advertiser.by_day))
}

async fn stats(visit: &Visit, asked: &Over) -> Result<Stats, Failure> {
    let days = words::days_of(asked.days.as_deref());
    visit.api.get(&format!("/api/agents/me/stats?days={days}")).await
}

fn by_day(name: &str, days: &[super::shapes::DayClicks]) -> Response {
    let row = |day: &super::shapes::DayClicks| {
        vec![Cell::Text(day.date.to_string()), Cell::count(day.clicks), Cell::count(day.counted)]
    };
    csv(name, &["day", "clicks", "counted"], &days.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, written) in [
            ("order-456", "\"order-456\""),
            ("=1+1", "\"'=1+1\""),
            ("=HYPERLINK(\"http://evil\",\"x\")", "\"'=HYPERLINK(\"\"http://evil\"\",\"\"x\"\")\""),
            ("+49", "\"'+49\""),
            ("-2+3", "\"'-2+3\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("\r=1", "\"'\r=1\""),
            ("  =1", "\"'  =1\""),
            ("\u{00a0}=1", "\"'\u{00a0}=1\""),
            ("＝1", "\"'＝1\""),
            ("|cmd", "\"'|cmd\""),
            ("a\nb,\"c\"", "\"a\nb,\"\"c\"\"\""),
            ("", "\"\""),
        ] {
            let mut file = String::new();
            Cell::text(text).write(&mut file);
            assert_eq!(file, written, "{text:?}");
        }
        let mut file = String::new();
        Cell::money(Some(Micros(-5_000_000))).write(&mut file);
        assert_eq!(file, "-5");
    }
}
