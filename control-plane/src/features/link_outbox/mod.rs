//! Word for the publisher of links: what changed of what edges know, left in the transaction of the change.
//!
//! A row says which link, or whose links; the publisher (`links::publish`) reads what they are then. It is a feature of
//! its own since programs and partnerships leave word, too, and call nothing of links.

mod queries;

use crate::error::Result;
use crate::trace;
use chrono::{DateTime, Utc};
use shared::id::{LinkId, PartnershipId, ProgramId};
use sqlx::PgConnection;

/// The column value of a row that concerns one link.
pub(crate) const LINK: &str = "link";

/// What changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// A link.
    Link(LinkId),
    /// All links of a partnership.
    Partnership(PartnershipId),
    /// All links of a program.
    Program(ProgramId),
}

/// Leaves word. What comes of it goes on with this trace.
pub(crate) async fn announce(conn: &mut PgConnection, subject: Subject, now: DateTime<Utc>) -> Result<()> {
    let subject = match subject {
        Subject::Link(id) => (LINK, id.uuid()),
        Subject::Partnership(id) => ("partnership", id.uuid()),
        Subject::Program(id) => ("program", id.uuid()),
    };
    Ok(queries::insert(conn, subject, trace::carried(), now).await?)
}
