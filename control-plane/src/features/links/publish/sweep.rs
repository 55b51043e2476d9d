//! Going over every link again, slowly: what Redis lost without being emptied.
//!
//! A replica that was promoted, or a server that came back from its own file, has an epoch and may lack the last
//! keys that were written before, or have them as they were. So every link's key is looked at again: a page at each
//! look of an idle publisher, from the first link on after each new connection. What is missing or says something
//! else is written and announced; equal keys are left alone, whatever their version. A page that was read after a
//! change nobody has published yet is left for the next look: it would take the change for a loss.

use super::{PublishError, Publisher, load_records, queries};
use crate::redis::Conn;
use sqlx::PgConnection;
use std::time::Duration;
use tokio::time::Instant;

/// Links of one look: 1,000 a second.
const PAGE: i64 = 500;
/// Between the end of a round and the next.
const ROUND_PAUSE: Duration = Duration::from_mins(10);

/// Sets a record unless the key says the same, or holds a version as high. Bytes 8 to 16 are the version.
const SET_IF_OTHER: &str = "local old = redis.call('GET', KEYS[1])
local new = ARGV[1]
if old and #old >= 16 then
  if string.sub(old, 1, 8) == string.sub(new, 1, 8) and string.sub(old, 17) == string.sub(new, 17) then return 0 end
  local oh, ol = struct.unpack('>I4I4', old, 9)
  local nh, nl = struct.unpack('>I4I4', new, 9)
  if oh > nh or (oh == nh and ol >= nl) then return 0 end
end
redis.call('SET', KEYS[1], new)
return 1";

/// Where a round stands.
#[derive(Default)]
pub(super) struct Sweep {
    /// The last key looked at.
    after: Option<i64>,
    /// When the next round begins; at once when unset.
    pause_until: Option<Instant>,
}

impl Publisher {
    /// Looks at the next page.
    pub(super) async fn sweep_page(
        &mut self,
        tx: &mut PgConnection,
        conn: &mut Conn,
    ) -> Result<(), PublishError> {
        if self.sweep.pause_until.is_some_and(|until| Instant::now() < until) {
            return Ok(());
        }
        let keys = queries::list_keys(tx, None, self.sweep.after, PAGE).await?;
        let records = load_records(tx, &keys).await?;
        if !queries::list_outbox(tx, 1).await?.is_empty() {
            return Ok(());
        }
        let mended = self.write_keys(conn, SET_IF_OTHER, &records).await?;
        if !mended.is_empty() {
            tracing::warn!(links = mended.len(), "Redis had lost links; they are there again");
            metrics::counter!("cp_publish_mended_total").increment(mended.len() as u64);
            self.append_changes(conn, &mended).await?;
        }
        self.sweep = if (keys.len() as i64) < PAGE {
            Sweep { after: None, pause_until: Some(Instant::now() + ROUND_PAUSE) }
        } else {
            Sweep { after: keys.last().copied(), pause_until: None }
        };
        Ok(())
    }
}
