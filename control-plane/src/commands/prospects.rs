//! `control-plane import-prospects FILE.csv`.
//!
//! The first line names the columns, in any order: `name`, then `website_url` or `contact` or both, and
//! `niche`, `audience_type`, `description`. A line that is not as it should be is left out and named; the
//! others are stored. Running it again with the same file changes nothing.

use super::Outcome;
use crate::error::{Error, Result};
use crate::features::agents::ops::web_address;
use crate::features::matching::outreach;
use crate::features::matching::outreach::queries::NewProspect;
use crate::text;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};
use std::collections::HashMap;
use std::io::Read;

/// The columns a file can have.
const COLUMNS: [&str; 6] = ["name", "website_url", "contact", "niche", "audience_type", "description"];
/// Faulty lines named one by one; of more only the number is said.
const NAMED_MAX: usize = 50;

/// Reads a file and stores what is in it, all in one transaction.
pub async fn run(conn: &mut PgConnection, file: impl Read, now: DateTime<Utc>) -> Result<Outcome> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(file);
    let columns = match columns(&mut reader) {
        Ok(columns) => columns,
        Err(text) => return Ok(Outcome { text, well: false }),
    };
    let mut tx = conn.begin().await?;
    let (mut added, mut known) = (0_u64, 0_u64);
    let mut faults: Vec<String> = Vec::new();
    for row in reader.records() {
        let line = match &row {
            Ok(row) => row.position().map_or(0, csv::Position::line),
            Err(error) => error.position().map_or(0, csv::Position::line),
        };
        let read = row.map_err(|error| error.to_string()).and_then(|row| {
            prospect(&columns, &row).map_err(|error| format!("{} {}", error.message, error.fix))
        });
        match read {
            Ok(new) if outreach::import(&mut tx, &new, now).await? => added += 1,
            Ok(_) => known += 1,
            Err(fault) => faults.push(format!("line {line}: {fault}")),
        }
    }
    tx.commit().await?;
    let left_out = faults.len();
    let more = left_out.saturating_sub(NAMED_MAX);
    faults.truncate(NAMED_MAX);
    if more > 0 {
        faults.push(format!("… and {more} more"));
    }
    faults.push(format!("{added} prospects added, {known} known ones replaced, {left_out} lines left out"));
    Ok(Outcome { text: faults.join("\n"), well: left_out == 0 })
}

/// Where each column stands.
fn columns<R: Read>(
    reader: &mut csv::Reader<R>,
) -> std::result::Result<HashMap<&'static str, usize>, String> {
    let head = reader.headers().map_err(|error| format!("The file cannot be read: {error}"))?;
    let mut columns = HashMap::new();
    for (at, name) in head.iter().enumerate() {
        // Spreadsheets put a mark before the first letter.
        let name = name.trim_start_matches('\u{feff}');
        let Some(column) = COLUMNS.iter().find(|column| **column == name) else {
            let shown: String = name.chars().filter(|letter| !letter.is_control()).take(60).collect();
            return Err(format!("There is no column `{shown}`. Name only: {}.", COLUMNS.join(", ")));
        };
        if columns.insert(*column, at).is_some() {
            return Err(format!("The column `{column}` is there twice."));
        }
    }
    if !columns.contains_key("name")
        || !(columns.contains_key("website_url") || columns.contains_key("contact"))
    {
        return Err(
            "The first line must name the columns, among them `name` and `website_url` or `contact`."
                .to_owned(),
        );
    }
    Ok(columns)
}

fn prospect(columns: &HashMap<&'static str, usize>, row: &csv::StringRecord) -> Result<NewProspect> {
    let cell = |name: &str| columns.get(name).and_then(|at| row.get(*at)).filter(|text| !text.is_empty());
    let line = |name: &str, chars_max| cell(name).map(|text| text::line(name, text, chars_max)).transpose();
    let Some(name) = line("name", 100)? else {
        return Err(Error::missing("name", "Say what the prospect is called."));
    };
    let website_url = cell("website_url").map(|url| web_address("website_url", url)).transpose()?;
    let contact = line("contact", 200)?;
    let Some(key) = website_url.as_deref().or(contact.as_deref()).map(str::to_lowercase) else {
        return Err(Error::missing(
            "website_url",
            "Say where the prospect is reached: `website_url` or `contact`.",
        ));
    };
    let description =
        cell("description").map(|text| text::paragraph("description", text, 2000)).transpose()?;
    Ok(NewProspect {
        key,
        name,
        website_url,
        contact,
        niche: line("niche", 60)?,
        audience_type: line("audience_type", 60)?,
        description,
    })
}
