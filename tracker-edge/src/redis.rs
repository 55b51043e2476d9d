//! Asking Redis: one question, one connection, and word of it when the connection broke.
//!
//! Connections themselves are [`crate::clicks::ship::redis`]'s, deadlines included.

use crate::clicks::ship::Redis;
use redis::{Cmd, FromRedisValue, Pipeline, RedisResult};

/// Sends one command.
pub(crate) async fn query<T: FromRedisValue>(redis: &Redis, command: &Cmd) -> RedisResult<T> {
    let mut connection = redis.conn().await?;
    let answer = command.query_async(&mut connection).await;
    if let Err(error) = &answer {
        redis.failed(&connection, error).await;
    }
    answer
}

/// Sends several commands on keys that share a slot.
pub(crate) async fn query_all<T: FromRedisValue>(redis: &Redis, pipeline: &Pipeline) -> RedisResult<T> {
    let mut connection = redis.conn().await?;
    let answer = pipeline.query_async(&mut connection).await;
    if let Err(error) = &answer {
        redis.failed(&connection, error).await;
    }
    answer
}
