//! Payouts that go well, and those that wait or are refused.

use crate::anvil::{Anvil, CHAIN_ID};
use crate::world::{World, sale, set_address, turn};
use alloy::signers::local::PrivateKeySigner;
use chrono::TimeDelta;
use control_plane::features::payouts::usdc::worker::Did;
use payouts_evm::evm::Evm;
use payouts_evm::rpc::Rpc;
use serde_json::{Value, json};

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

#[tokio::test]
async fn a_payout_arrives_as_the_chains_own_balance_shows() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    assert_eq!(worker.chain().check().await.unwrap(), Ok(()));
    turn(&worker, Did { signed: 1, sent: 1, ..NOTHING }).await;
    assert_eq!(world.status(&id).await, "processing");
    assert_eq!(world.wallet().await, (json!(90), json!(10)));
    world.app.audit().await;
    turn(&worker, NOTHING).await;
    assert_eq!((world.transfer(&id).await.0.as_str(), world.chain.waiting().await), ("submitted", 1));
    // In one block, in two: on the chain and not final.
    world.chain.mine(1).await;
    for _ in 0..2 {
        turn(&worker, NOTHING).await;
        assert_eq!(
            (world.transfer(&id).await.0.as_str(), world.status(&id).await.as_str()),
            ("mined", "processing")
        );
        world.chain.mine(1).await;
    }
    turn(&worker, Did { settled: 1, ..NOTHING }).await;
    world.assert_paid_once(&id).await;
    turn(&worker, NOTHING).await;
    let told: Vec<Value> = sqlx::query_scalar(
        "SELECT payload::JSONB FROM events WHERE type = 'payout.processed' ORDER BY created_at, id",
    )
    .fetch_all(world.app.app.db())
    .await
    .unwrap();
    let told: Vec<_> = told.iter().map(|event| event["data"]["status"].as_str().unwrap()).collect();
    assert_eq!(told, ["pending", "processing", "paid"]);
    println!(
        "chain {CHAIN_ID}: {} holds {} units of {} after payout {id}",
        world.payee,
        world.chain.balance(world.payee).await,
        world.chain.token
    );
}

#[tokio::test]
async fn many_payouts_take_their_nonces_in_order_and_wait_for_room() {
    let world = World::start().await;
    let mut payees = Vec::new();
    for n in 0..6 {
        let offer = world.app.another_affiliate(&world.offer, &format!("Payee {n}")).await;
        let payee = PrivateKeySigner::random().address();
        set_address(&offer.affiliate, payee).await;
        sale(&offer, 5 * (n + 1)).await;
        payees.push((payee, (n + 1) * 1_000_000));
    }
    let body = json!({"program_id": world.offer.program, "method": "usdc"});
    assert_eq!(
        world.offer.advertiser.post("/api/payouts/process", body).await.expect(201)["total"],
        json!(21)
    );
    let worker = world.worker();
    turn(&worker, Did { signed: 4, sent: 4, ..NOTHING }).await;
    turn(&worker, NOTHING).await;
    world.chain.mine(1).await;
    turn(&worker, Did { signed: 2, sent: 2, ..NOTHING }).await;
    world.chain.mine(3).await;
    turn(&worker, Did { settled: 6, ..NOTHING }).await;
    let nonces: Vec<i64> = sqlx::query_scalar("SELECT nonce FROM usdc_transfers ORDER BY nonce")
        .fetch_all(world.app.app.db())
        .await
        .unwrap();
    assert_eq!(nonces, [0, 1, 2, 3, 4, 5]);
    for (payee, micros) in payees {
        assert_eq!(world.chain.balance(payee).await, micros);
    }
    world.app.audit().await;
}

#[tokio::test]
async fn workers_at_once_sign_once() {
    let world = World::start().await;
    let id = world.ten_dollars().await;
    let workers: Vec<_> = (0..4).map(|_| world.worker()).collect();
    for _ in 0..4 {
        let (a, b, c, d) =
            tokio::join!(workers[0].turn(), workers[1].turn(), workers[2].turn(), workers[3].turn());
        for did in [a, b, c, d] {
            did.unwrap();
        }
        world.chain.mine(1).await;
    }
    assert_eq!(world.transfer(&id).await.2.len(), 1, "signed once");
    world.assert_paid_once(&id).await;
}

#[tokio::test]
async fn a_changed_address_is_not_paid_to_for_72_hours() {
    let world = World::start().await;
    let payee = PrivateKeySigner::random().address();
    set_address(&world.offer.affiliate, payee).await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, NOTHING).await;
    world.app.clock.advance(TimeDelta::hours(72) - TimeDelta::milliseconds(1));
    turn(&worker, NOTHING).await;
    assert_eq!(world.status(&id).await, "pending");
    world.app.clock.advance(TimeDelta::milliseconds(1));
    turn(&worker, Did { signed: 1, sent: 1, ..NOTHING }).await;
    world.chain.mine(3).await;
    turn(&worker, Did { settled: 1, ..NOTHING }).await;
    assert_eq!((world.chain.balance(payee).await, world.chain.balance(world.payee).await), (10_000_000, 0));
    world.app.audit().await;
}

#[tokio::test]
async fn what_the_address_cannot_pay_waits() {
    let world = World::start().await;
    let poor = PrivateKeySigner::random();
    let world = World { signer: poor.clone(), ..world };
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, NOTHING).await;
    world.chain.mint(poor.address(), 10_000_000).await;
    // The token is there, gas is not.
    turn(&worker, NOTHING).await;
    assert_eq!(world.status(&id).await, "pending");
    world.chain.give_gas(poor.address()).await;
    turn(&worker, Did { signed: 1, sent: 1, ..NOTHING }).await;
    world.chain.mine(3).await;
    turn(&worker, Did { settled: 1, ..NOTHING }).await;
    assert_eq!(
        (world.chain.balance(world.payee).await, world.chain.balance(poor.address()).await),
        (10_000_000, 0)
    );
    world.app.audit().await;
}

#[tokio::test]
async fn an_address_the_token_refuses_gives_everything_back_before_anything_is_signed() {
    let world = World::start().await;
    world.chain.blacklist(world.payee, true).await;
    world.chain.mine(1).await;
    let id = world.ten_dollars().await;
    let worker = world.worker();
    turn(&worker, Did { failed: 1, ..NOTHING }).await;
    let payout = world.payout(&id).await;
    assert_eq!(payout["status"], "failed");
    assert!(payout["failure"].as_str().unwrap().contains("account is blacklisted"), "{payout}");
    assert_eq!(world.wallet().await, (json!(100), json!(0)));
    world.app.audit().await;
    // Its commissions are free: it is paid once the address is good again.
    world.chain.blacklist(world.payee, false).await;
    world.chain.mine(1).await;
    let second = world.pay_out().await;
    turn(&worker, Did { signed: 1, sent: 1, ..NOTHING }).await;
    world.chain.mine(3).await;
    turn(&worker, Did { settled: 1, ..NOTHING }).await;
    world.assert_paid_once(&second).await;
}

#[tokio::test]
async fn a_node_of_another_chain_and_another_token_are_noticed_before_anything_is_signed() {
    let (world, odd) = tokio::join!(World::start(), Anvil::start_with_decimals(18));
    let check = async |url: &str, chain_id, token| {
        let rpc = Rpc::new(url.into()).unwrap();
        Evm::new(rpc, world.signer.clone(), chain_id, token).check().await.unwrap().unwrap_err()
    };
    assert_eq!(
        check(&world.chain.url(), 1, world.chain.token).await,
        format!("AOS_USDC_CHAIN_ID: the node is on chain {CHAIN_ID}")
    );
    assert_eq!(
        check(&odd.url(), CHAIN_ID, odd.token).await,
        "AOS_USDC_TOKEN: the token has 18 decimals, not 6"
    );
    assert_eq!(check(&world.chain.url(), CHAIN_ID, world.payee).await, "AOS_USDC_TOKEN: no token is there");
}
