//! The users of `deploy/redis/users.acl`, asked of a real Redis what they may do.

use crate::harness::TestApp;
use redis::Value;

const USERS: &str = include_str!("../../../../deploy/redis/users.acl");

/// Commands as the programs give them (`loadtest rolling` fails when one is missing), and whether the user may.
const COMMANDS: &[(&str, bool, &str)] = &[
    ("affiliateos_edge", true, "GET l:1"),
    ("affiliateos_edge", true, "MGET l:1 l:2"),
    ("affiliateos_edge", true, "XREAD COUNT 100 BLOCK 1000 STREAMS {changes} 0"),
    ("affiliateos_edge", true, "GET {changes}:epoch"),
    ("affiliateos_edge", true, "XADD {clicks:0} * f frame"),
    ("affiliateos_edge", true, "HSET {clicks:0}:reports spool report"),
    ("affiliateos_edge", true, "MGET {clicks:0}:w:1"),
    ("affiliateos_edge", true, "SET visitor:1 1 NX GET"),
    ("affiliateos_edge", true, "GET agent_keys"),
    ("affiliateos_edge", true, "HSCAN {domains} 0"),
    ("affiliateos_edge", true, "HMGET {domains} go.example.com"),
    ("affiliateos_edge", true, "XREAD COUNT 100 BLOCK 1000 STREAMS {domains}:changes 0"),
    ("affiliateos_edge", true, "GET {domains}:epoch"),
    ("affiliateos_edge", true, "GET acme:token"),
    ("affiliateos_edge", false, "HSET {domains} go.example.com mine"),
    ("affiliateos_edge", false, "SET acme:token mine"),
    ("affiliateos_edge", true, "INFO server"),
    ("affiliateos_edge", true, "CONFIG GET maxmemory-policy"),
    ("affiliateos_edge", false, "CONFIG SET maxmemory-policy allkeys-lru"),
    ("affiliateos_edge", false, "SET l:1 elsewhere"),
    ("affiliateos_edge", false, "XADD {changes} * n 1"),
    ("affiliateos_edge", false, "XDEL {clicks:0} 1-1"),
    ("affiliateos_edge", false, "DEL {clicks:0}"),
    ("affiliateos_edge", false, "SET agent_keys mine"),
    ("affiliateos_edge", false, "EVAL return 0"),
    ("affiliateos_edge", false, "GET rate:track-click:1"),
    ("affiliateos_control", true, "XREAD COUNT 100 BLOCK 1000 STREAMS {clicks:0} 0"),
    ("affiliateos_control", true, "XDEL {clicks:0} 1-1"),
    ("affiliateos_control", true, "SET {clicks:0}:w:1 1:2 EX 1"),
    ("affiliateos_control", true, "HGETALL {clicks:0}:reports"),
    ("affiliateos_control", true, "EVALSHA 0 1 rate:track-click:1 1000 60"),
    ("affiliateos_control", true, "SCRIPT LOAD return"),
    ("affiliateos_control", true, "SET {changes}:epoch 1 NX"),
    ("affiliateos_control", true, "SET agent_keys keys"),
    ("affiliateos_control", true, "HMGET {domains} go.example.com"),
    ("affiliateos_control", true, "SET {domains}:refill 1 EX 60"),
    ("affiliateos_control", true, "SET acme:token answer EX 3600"),
    ("affiliateos_control", false, "CONFIG SET maxmemory-policy allkeys-lru"),
    ("affiliateos_control", false, "GET visitor:1"),
    ("affiliateos_control", false, "SCRIPT FLUSH"),
    ("affiliateos_control", false, "GET somebody:elses"),
    ("affiliateos_exporter", true, "INFO"),
    ("affiliateos_exporter", true, "SLOWLOG GET"),
    ("affiliateos_exporter", false, "GET l:1"),
    ("affiliateos_exporter", false, "CONFIG SET maxmemory 1"),
];

/// What nobody may.
const NEVER: &[&str] = &[
    "FLUSHALL",
    "FLUSHDB",
    "KEYS *",
    "SCAN 0",
    "SHUTDOWN",
    "DEBUG SLEEP 1",
    "ACL LIST",
    "MONITOR",
    "REPLICAOF NO ONE",
    "CLIENT KILL TYPE normal",
    "SUBSCRIBE all",
    "MIGRATE h 1 k 0 1",
    "MODULE LIST",
    "SAVE",
    "SWAPDB 0 1",
];

#[tokio::test]
async fn every_user_may_what_its_program_does_and_no_more() {
    let app = TestApp::start().await;
    let mut redis = app.app.redis().get().await.unwrap();
    // Users belong to the server: these are of this test alone.
    let suffix = shared::id::EventId::generate().uuid().simple().to_string();
    let mut wrong = Vec::new();
    for line in USERS.lines().filter(|line| line.starts_with("user affiliateos_")) {
        let mut words = line.split_whitespace().skip(1);
        let user = words.next().unwrap();
        let mine = format!("{user}-{suffix}");
        let rules: Vec<&str> = words.collect();
        redis::cmd("ACL").arg("SETUSER").arg(&mine).arg(&rules).query_async::<()>(&mut redis).await.unwrap();
        let never = NEVER.iter().map(|command| (user, false, *command));
        let asked = COMMANDS.iter().copied().filter(|(of, _, _)| *of == user).chain(never);
        for (_, allowed, command) in asked {
            let answer: redis::RedisResult<Value> = redis::cmd("ACL")
                .arg("DRYRUN")
                .arg(&mine)
                .arg(command.split(' ').collect::<Vec<_>>())
                .query_async(&mut redis)
                .await;
            let may = matches!(&answer, Ok(Value::Okay));
            if may != allowed {
                wrong.push(format!("{user}, meant: {allowed}: {command}: {answer:?}"));
            }
        }
        redis::cmd("ACL").arg("DELUSER").arg(&mine).query_async::<()>(&mut redis).await.unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(USERS.lines().any(|line| line == "user default off"), "nobody comes in without a name");
}
