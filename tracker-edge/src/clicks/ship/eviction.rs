//! Whether Redis may throw our data away on its own.
//!
//! Only `noeviction` refuses when it is full, and a refusal is harmless: the spool holds. Every other policy
//! drops links and clicks that were already taken. An edge does not start against one. A Redis that was away at
//! the start, or is set otherwise later, is found out by [`watch`]: then there is an alarm and the edge goes on,
//! because what Redis drops is sent again from the spool, and a redirect never fails because of what is behind it.

use super::redis::Redis;
use crate::clicks::spool::SpoolSet;
use redis::{RedisResult, Value};
use shared::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// The policy a Redis for clicks has to have.
const REQUIRED: &str = "noeviction";
/// Between two looks at a Redis that answered, and at one that did not.
const LOOK_EVERY: Duration = Duration::from_mins(1);
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Why Redis is not known to keep what it takes.
#[derive(Debug, thiserror::Error)]
pub enum EvictionError {
    /// A server evicts.
    #[error("redis runs with maxmemory-policy {0}, which loses clicks: set it to noeviction")]
    Policy(String),
    /// It could not be asked.
    #[error("redis could not be asked for its maxmemory-policy")]
    Unknown(#[source] redis::RedisError),
}

/// Asks every server for its policy. Reads `INFO memory`, and where that is forbidden, the setting.
pub async fn check_eviction(redis: &Redis) -> Result<(), EvictionError> {
    let policies = policies(redis).await.map_err(EvictionError::Unknown)?;
    match policies.into_iter().find(|policy| policy != REQUIRED) {
        Some(policy) => Err(EvictionError::Policy(policy)),
        None => Ok(()),
    }
}

/// Looks again and again, until stopped.
pub(crate) async fn watch(redis: Redis, set: Arc<SpoolSet>, stop: Shutdown) {
    loop {
        let checked = check_eviction(&redis).await;
        if !matches!(checked, Err(EvictionError::Unknown(_))) {
            set.metrics().evicts.set(f64::from(u8::from(checked.is_err())));
        }
        if let Err(error @ EvictionError::Policy(_)) = &checked {
            tracing::error!(%error, "Redis may throw away what it was given");
        }
        let pause = if matches!(checked, Err(EvictionError::Unknown(_))) { ASK_AGAIN } else { LOOK_EVERY };
        tokio::select! {
            () = stop.stopping() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn policies(redis: &Redis) -> RedisResult<Vec<String>> {
    let mut conn = redis.conn().await?;
    let asked = match redis::cmd("INFO").arg("memory").query_async::<Value>(&mut conn).await {
        Ok(info) => Ok(info),
        Err(_) => redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async(&mut conn).await,
    };
    match asked {
        Ok(answer) => {
            let mut found = Vec::new();
            collect(&answer, &mut found);
            if found.is_empty() {
                let unasked = "neither INFO nor CONFIG tells";
                return Err((redis::ErrorKind::UnexpectedReturnType, unasked).into());
            }
            Ok(found)
        }
        Err(error) => {
            redis.failed(&conn, &error).await;
            Err(error)
        }
    }
}

/// Policies anywhere in an answer: one server's, or a map of every node's.
fn collect(answer: &Value, found: &mut Vec<String>) {
    match answer {
        Value::BulkString(bytes) => read_text(&String::from_utf8_lossy(bytes), found),
        Value::SimpleString(text) => read_text(text, found),
        Value::VerbatimString { text, .. } => read_text(text, found),
        Value::Array(values) | Value::Set(values) => match &values[..] {
            // CONFIG GET answers name and value.
            [name, value] if text_of(name) == Some("maxmemory-policy") => {
                found.extend(text_of(value).map(str::to_owned));
            }
            values => values.iter().for_each(|value| collect(value, found)),
        },
        Value::Map(pairs) => {
            for (name, value) in pairs {
                if text_of(name) == Some("maxmemory-policy") {
                    found.extend(text_of(value).map(str::to_owned));
                } else {
                    collect(value, found);
                }
            }
        }
        _ => {}
    }
}

fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn read_text(text: &str, found: &mut Vec<String>) {
    let policies = text.lines().filter_map(|line| line.strip_prefix("maxmemory_policy:"));
    found.extend(policies.map(|policy| policy.trim().to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_found_in_every_kind_of_answer() {
        let info = |policy: &str| {
            let text = format!("# Memory\r\nused_memory:1\r\nmaxmemory_policy:{policy}\r\n");
            Value::BulkString(text.into_bytes())
        };
        let node = |name: &str| Value::BulkString(name.as_bytes().to_vec());
        let config = Value::Array(vec![node("maxmemory-policy"), node("volatile-lru")]);
        let cases = [
            (info("noeviction"), vec!["noeviction"]),
            (
                Value::Map(vec![(node("a:1"), info("noeviction")), (node("b:1"), info("allkeys-lru"))]),
                vec!["noeviction", "allkeys-lru"],
            ),
            (config, vec!["volatile-lru"]),
            (Value::Map(vec![(node("maxmemory-policy"), node("allkeys-lfu"))]), vec!["allkeys-lfu"]),
            (Value::Nil, vec![]),
        ];
        for (answer, expected) in cases {
            let mut found = Vec::new();
            collect(&answer, &mut found);
            assert_eq!(found, expected);
        }
    }
}
