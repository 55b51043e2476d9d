//! A merchant checks tokens alone: the guide's verifiers, taken from the served page, against our own.

use super::market;
use crate::harness::{TestApp, peers};
use control_plane::auth::slat::{Claims, SlatKeys};
use serde_json::{Value, json};
use shared::Secret;
use shared::id::{AgentId, AttributionEventId, ProgramId};
use uuid::Uuid;

const PAGE: &str = "/docs/slat";
/// Altered tokens shown to each verifier.
const ALTERED: usize = 5_000;

/// What a verifier of the guide says to each case: what the token proves, or null.
async fn said(app: &TestApp, file: &str, runner: &str, keys: &Value, cases: &[Value]) -> Vec<Value> {
    let folder = peers::workshop();
    let path = peers::file_of(app, PAGE, file, folder.path()).await;
    let given = json!({"keys": keys["keys"], "cases": cases}).to_string();
    let printed = peers::run(&peers::script(runner), &[path.to_str().unwrap()], &given).await;
    serde_json::from_str(&printed).unwrap()
}

/// A random sequence that is the same in every run.
fn dice() -> impl FnMut(usize) -> usize {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    move |sides| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % sides as u64) as usize
    }
}

#[tokio::test]
async fn the_guides_verifiers_agree_with_ours_on_every_token() {
    let market = market().await;
    let app = &market.app;
    let now = app.now().timestamp();
    let genuine = market.tracked().await;
    let keys = SlatKeys::new(&Secret::from_bytes([42; 32]), 1);
    let merchant = &market.merchant_id;
    let claims = Claims { merchant: AgentId::from_uuid(Uuid::from_u128(9)), ..keys.open(&genuine).unwrap() };
    let foreign = keys.sign(&claims);
    let forged = SlatKeys::new(&Secret::from_bytes([8; 32]), 1).sign(&keys.open(&genuine).unwrap());
    let retired = SlatKeys::new(&Secret::from_bytes([42; 32]), 0).sign(&keys.open(&genuine).unwrap());
    let unpublished = SlatKeys::new(&Secret::from_bytes([42; 32]), 3).sign(&keys.open(&genuine).unwrap());
    let mut cases: Vec<(String, i64)> = vec![
        (genuine.clone(), now),
        (genuine.clone(), now + 86_400),
        (genuine.clone(), now - 60),
        (retired, now),
        // From here on nothing is good.
        (genuine.clone(), now + 86_401),
        (genuine.clone(), now - 61),
        (foreign, now),
        (forged, now),
        (unpublished, now),
        (genuine.replace("slat_v1_", "slat_v2_"), now),
        (format!("{genuine}="), now),
        (format!(" {genuine}"), now),
        (String::new(), now),
        ("slat_v1_".to_owned(), now),
        ("ü".repeat(300), now),
    ];
    let (good, plain) = (4, cases.len());
    let mut dice = dice();
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/";
    while cases.len() < plain + ALTERED {
        let mut altered = genuine.clone().into_bytes();
        match dice(4) {
            0 => altered.truncate(dice(genuine.len())),
            1 => altered.push(letters[dice(letters.len())]),
            _ => {
                for _ in 0..=dice(3) {
                    let at = dice(altered.len());
                    altered[at] = letters[dice(letters.len())];
                }
            }
        }
        let altered = String::from_utf8(altered).unwrap();
        if altered != genuine {
            cases.push((altered, now));
        }
    }
    let ours: Vec<bool> = cases
        .iter()
        .map(|(token, now)| {
            keys.verify(token, *now)
                .is_ok_and(|claims| shared::id::merchant_name(claims.merchant) == *merchant)
        })
        .collect();
    assert_eq!(ours.iter().filter(|good| **good).count(), good);
    let published = app.anyone().get("/.well-known/slat-keys.json").await;
    let cases: Vec<_> =
        cases.iter().map(|(token, now)| json!({"token": token, "merchant": merchant, "now": now})).collect();
    for (file, runner) in [("slat/verify.py", "slat/run.py"), ("slat/verify.mjs", "slat/run.mjs")] {
        let said = said(app, file, runner, published.expect(200), &cases).await;
        let accepted: Vec<bool> = said.iter().map(|one| !one.is_null()).collect();
        let differ = (0..cases.len()).find(|nth| accepted[*nth] != ours[*nth]);
        assert_eq!(differ.map(|nth| &cases[nth]), None, "{file} and ours differ");
        assert_eq!(said[0]["publisher_id"], market.publisher_id.as_str(), "{file}");
        assert!(said[0]["event_id"].as_str().unwrap().starts_with("evt_"), "{file}");
    }
    // Redeemed online it is still good: looking at it spends nothing.
    market.verified("order_001", &genuine).await.expect(200);
}

#[tokio::test]
async fn they_are_ten_lines() {
    let app = TestApp::start().await;
    for (file, start) in [("slat/verify.py", "def "), ("slat/verify.mjs", "export function ")] {
        let code = peers::code_of(&app, PAGE, file).await;
        let (_, function) = code.split_once(start).unwrap();
        let lines = function.lines().filter(|line| !matches!(line.trim(), "" | "}")).count();
        assert!(lines <= 10, "{file} has {lines} lines");
    }
}

#[tokio::test]
async fn a_rotation_leaves_cached_keys_good_for_one_generation() {
    let before = TestApp::start().await;
    let cached = before.anyone().get("/.well-known/slat-keys.json").await;
    let after = TestApp::start_with(|config| config.slat_generation = 2).await;
    let fresh = after.anyone().get("/.well-known/slat-keys.json").await;
    let claims = Claims {
        issued_at: 1_000_000,
        valid_for: 86_400,
        event: AttributionEventId::from_uuid(Uuid::from_u128(1)),
        merchant: AgentId::from_uuid(Uuid::from_u128(2)),
        program: ProgramId::from_uuid(Uuid::from_u128(3)),
        publisher: AgentId::from_uuid(Uuid::from_u128(4)),
        nonce: Uuid::from_u128(5),
    };
    let secret = Secret::from_bytes([42; 32]);
    let merchant = shared::id::merchant_name(claims.merchant);
    let case = |generation| {
        let token = SlatKeys::new(&secret, generation).sign(&claims);
        json!({"token": token, "merchant": merchant, "now": 1_000_100})
    };
    let cases = [case(1), case(2), case(0), case(3)];
    for (keys, good) in [(&cached, [true, true, true, false]), (&fresh, [true, true, false, true])] {
        let said = said(&after, "slat/verify.mjs", "slat/run.mjs", keys.expect(200), &cases).await;
        assert_eq!(said.iter().map(|one| !one.is_null()).collect::<Vec<_>>(), good);
    }
}
