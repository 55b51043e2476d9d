//! F70 and F71: lost replies, stuck and dropped transactions, reorganisations. However it goes, the chain's
//! own record shows one transfer.

use crate::proxy::{Mode, Proxy};
use crate::world::{CONFIRMATIONS, World, turn};
use control_plane::features::payouts::usdc::worker::Did;
use serde_json::{Value, json};
use shared::id::PayoutId;

const NOTHING: Did = Did {
    elsewhere: false,
    signed: 0,
    replaced: 0,
    sent: 0,
    reorganised: 0,
    settled: 0,
    failed: 0,
    alarmed: 0,
};
const SIGNED: Did = Did { signed: 1, sent: 1, ..NOTHING };
const SETTLED: Did = Did { settled: 1, ..NOTHING };

#[tokio::test]
async fn f70_a_node_that_takes_it_and_loses_the_reply_pays_once() {
    let world = World::start().await;
    let proxy = Proxy::start(world.chain.addr).await;
    let worker = world.worker_through(&proxy.url());
    let id = world.ten_dollars().await;
    proxy.set(Mode::LoseSendReplies);
    turn(&worker, SIGNED).await;
    assert_eq!((proxy.lost(), world.transfer(&id).await.0.as_str()), (1, "unknown"));
    assert_eq!(world.status(&id).await, "processing");
    world.app.audit().await;
    // The node had taken it: it is found, and not sent again.
    turn(&worker, NOTHING).await;
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
    println!("F70 reply lost 1, sent 1, signed 1, transfers on the chain 1");
}

#[tokio::test]
async fn f70_a_request_that_never_arrives_is_sent_again_byte_for_byte() {
    let world = World::start().await;
    let proxy = Proxy::start(world.chain.addr).await;
    let worker = world.worker_through(&proxy.url());
    let id = world.ten_dollars().await;
    proxy.set(Mode::LoseSendReplies);
    turn(&worker, SIGNED).await;
    let (state, nonce, hashes) = world.transfer(&id).await;
    assert_eq!(state, "unknown");
    // The node forgets it, ten times.
    for _ in 0..10 {
        world.chain.drop_transaction(&hashes[0]).await;
        assert_eq!(world.chain.waiting().await, 0);
        turn(&worker, Did { sent: 1, ..NOTHING }).await;
        assert_eq!(world.chain.waiting().await, 1);
    }
    assert_eq!(proxy.lost(), 11);
    assert_eq!(world.transfer(&id).await, ("unknown".to_owned(), nonce, hashes.clone()));
    proxy.set(Mode::Pass);
    turn(&worker, NOTHING).await;
    assert_eq!(world.transfer(&id).await.0, "submitted");
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
    println!("F70 replies lost 11, sent 11 with one hash and nonce {nonce}, transfers on the chain 1");
}

#[tokio::test]
async fn a_node_that_is_down_delays_and_changes_nothing() {
    let world = World::start().await;
    let proxy = Proxy::start(world.chain.addr).await;
    let worker = world.worker_through(&proxy.url());
    let id = world.ten_dollars().await;
    proxy.set(Mode::Down);
    for _ in 0..3 {
        let error = worker.turn().await.unwrap_err();
        assert_eq!(error.code.as_str(), "unavailable");
        assert!(!format!("{error:?}").contains(&proxy.url()), "a node's URL may hold a key: {error:?}");
    }
    assert_eq!(world.status(&id).await, "pending");
    proxy.set(Mode::Pass);
    turn(&worker, SIGNED).await;
    proxy.set(Mode::Down);
    worker.turn().await.unwrap_err();
    proxy.set(Mode::Pass);
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
}

#[tokio::test]
async fn f71_a_stuck_transfer_is_replaced_with_its_own_nonce() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, SIGNED).await;
    turn(&worker, NOTHING).await;
    for versions in 2..=4 {
        world.wait_until_stuck();
        turn(&worker, Did { replaced: 1, sent: 1, ..NOTHING }).await;
        turn(&worker, NOTHING).await;
        assert_eq!(world.transfer(&id).await.2.len(), versions);
        assert_eq!(world.chain.waiting().await, 1, "the node replaced it, it did not queue another");
    }
    let (_, nonce, hashes) = world.transfer(&id).await;
    let fees: Vec<(i64, i64)> =
        sqlx::query_as("SELECT fee_wei, tip_wei FROM usdc_transactions ORDER BY version")
            .fetch_all(world.app.app.db())
            .await
            .unwrap();
    assert!(fees.windows(2).all(|pair| pair[1].0 * 10 >= pair[0].0 * 11 && pair[1].1 * 10 >= pair[0].1 * 11));
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
    assert_eq!(world.payout(&id).await["reference"], hashes[3].as_str());
    println!("F71 versions 4 with nonce {nonce}, fees {fees:?}, transfers on the chain 1");
}

#[tokio::test]
async fn f71_an_older_version_that_is_mined_after_all_settles_it() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, SIGNED).await;
    world.wait_until_stuck();
    turn(&worker, Did { replaced: 1, sent: 1, ..NOTHING }).await;
    let (_, _, hashes) = world.transfer(&id).await;
    // A miner elsewhere has only the first version.
    world.chain.drop_transaction(&hashes[1]).await;
    let first: Vec<u8> = sqlx::query_scalar("SELECT raw FROM usdc_transactions WHERE hash = $1")
        .bind(&hashes[0])
        .fetch_one(world.app.app.db())
        .await
        .unwrap();
    let raw = alloy::primitives::Bytes::from(first);
    let _: Value = world.chain.call("eth_sendRawTransaction", json!([raw])).await;
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
    assert_eq!(world.payout(&id).await["reference"], hashes[0].as_str());
}

#[tokio::test]
async fn f71_a_reorganised_transfer_is_submitted_again_and_never_made_anew() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    let before = world.chain.snapshot().await;
    turn(&worker, SIGNED).await;
    world.chain.mine(1).await;
    turn(&worker, NOTHING).await;
    let (state, nonce, hashes) = world.transfer(&id).await;
    assert_eq!(state, "mined");
    // The block is gone, and the node's queue with it.
    world.chain.revert(&before).await;
    assert_eq!((world.chain.balance(world.payee).await, world.chain.waiting().await), (0, 0));
    turn(&worker, Did { reorganised: 1, sent: 1, ..NOTHING }).await;
    assert_eq!(world.transfer(&id).await, ("submitted".to_owned(), nonce, hashes.clone()));
    assert_eq!(world.status(&id).await, "processing");
    world.app.audit().await;
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    world.assert_paid_once(&id).await;
    assert_eq!(world.transfer(&id).await, ("confirmed".to_owned(), nonce, hashes));
    println!("F71 reorganised 1, signed 1, nonce {nonce}, transfers on the chain 1");
}

#[tokio::test]
async fn f71_a_reorganisation_deeper_than_the_confirmations_sends_the_same_bytes() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    let before = world.chain.snapshot().await;
    turn(&worker, SIGNED).await;
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    let hashes = world.transfer(&id).await.2;
    world.chain.revert(&before).await;
    assert_eq!((world.chain.balance(world.payee).await, world.chain.waiting().await), (0, 0));
    turn(&worker, Did { reorganised: 1, sent: 1, ..NOTHING }).await;
    assert_eq!(
        world.status(&id).await,
        "paid",
        "the ledger is not rewritten: the same bytes make it true again"
    );
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    turn(&worker, NOTHING).await;
    assert_eq!(world.transfer(&id).await.2, hashes);
    world.assert_paid_once(&id).await;
}

#[tokio::test]
async fn a_transfer_the_chain_refuses_fails_when_that_is_final() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, SIGNED).await;
    world.chain.blacklist(world.payee, true).await;
    world.chain.mine(1).await;
    turn(&worker, NOTHING).await;
    assert_eq!(
        (world.transfer(&id).await.0.as_str(), world.status(&id).await.as_str()),
        ("mined", "processing")
    );
    world.chain.mine(CONFIRMATIONS - 1).await;
    turn(&worker, Did { failed: 1, ..NOTHING }).await;
    let payout = world.payout(&id).await;
    assert_eq!(payout["status"], "failed");
    assert!(
        payout["failure"].as_str().unwrap().starts_with("The token refused the transfer: transaction 0x")
    );
    assert_eq!(world.wallet().await, (json!(100), json!(0)));
    assert_eq!(world.chain.balance(world.payee).await, 0);
    turn(&worker, NOTHING).await;
    world.app.audit().await;
}

#[tokio::test]
async fn a_nonce_that_somebody_else_used_is_given_up_only_by_hand_and_when_final() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, SIGNED).await;
    let (_, nonce, hashes) = world.transfer(&id).await;
    let payout: PayoutId = id.parse().unwrap();
    let refused = worker.abandon(payout).await.unwrap_err().to_string();
    assert!(refused.contains("the chain knows a transaction of this payout"), "{refused}");
    world.chain.drop_transaction(&hashes[0]).await;
    let refused = worker.abandon(payout).await.unwrap_err().to_string();
    assert!(refused.contains("is not used 3 blocks ago"), "{refused}");
    // The same key is used by another program.
    let from = world.signer.address();
    let _: Value = world.chain.call("anvil_impersonateAccount", json!([from])).await;
    world.chain.transact(from, Some(from), &[], json!({"nonce": format!("0x{nonce:x}")})).await;
    world.chain.mine(1).await;
    turn(&worker, Did { sent: 1, ..NOTHING }).await;
    assert!(worker.abandon(payout).await.is_err(), "one block deep");
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, Did { sent: 1, alarmed: 1, ..NOTHING }).await;
    assert_eq!(world.status(&id).await, "processing", "nothing is decided by what is missing");
    worker.abandon(payout).await.unwrap();
    assert_eq!(world.status(&id).await, "failed");
    assert_eq!(world.wallet().await, (json!(100), json!(0)));
    world.app.audit().await;
    // The next one takes a nonce that is free.
    let second = world.pay_out().await;
    turn(&worker, SIGNED).await;
    world.chain.mine(CONFIRMATIONS).await;
    turn(&worker, SETTLED).await;
    assert_eq!(world.transfer(&second).await.1, nonce + 1);
    world.assert_paid_once(&second).await;
}
