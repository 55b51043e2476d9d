//! `ledger::ops::post`: once, never below zero, under any concurrency.

use crate::harness::TestApp;
use control_plane::features::ledger::model::{Account, AccountKind, Posted, Posting, TransferKind};
use control_plane::features::ledger::ops;
use control_plane::money::Micros;
use shared::id::AgentId;

fn fund(agent: AgentId, micros: i64, reference: &str) -> Posting {
    Posting {
        debit: Account::of(agent, AccountKind::Sandbox),
        credit: Account::wallet(agent),
        amount: Micros(micros),
        kind: TransferKind::Payout,
        reference: reference.to_owned(),
        metered: None,
    }
}

fn spend(agent: AgentId, micros: i64, reference: &str) -> Posting {
    Posting {
        debit: Account::wallet(agent),
        credit: Account::of(agent, AccountKind::Pro),
        amount: Micros(micros),
        kind: TransferKind::Pro,
        reference: reference.to_owned(),
        metered: None,
    }
}

async fn post(app: &TestApp, posting: &Posting) -> control_plane::error::Result<Posted> {
    let mut tx = app.app.begin().await?;
    let posted = ops::post(&mut tx, app.now(), posting).await?;
    tx.commit().await?;
    Ok(posted)
}

async fn balance(app: &TestApp, agent: AgentId) -> i64 {
    let mut conn = app.app.db().acquire().await.unwrap();
    ops::balance(&mut conn, Account::wallet(agent)).await.unwrap().0
}

#[tokio::test]
async fn the_same_name_moves_money_once_and_with_other_fields_not_at_all() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await.agent_id();
    let Posted::Done(id) = post(&app, &fund(agent, 1_000, "a")).await.unwrap() else { panic!("not posted") };
    assert_eq!(post(&app, &fund(agent, 1_000, "a")).await.unwrap(), Posted::Repeated(id));
    let other = post(&app, &fund(agent, 2_000, "a")).await.unwrap_err();
    assert_eq!(other.code.as_str(), "internal");
    assert_eq!(balance(&app, agent).await, 1_000);
    app.audit_books().await;
}

#[tokio::test]
async fn f68_sixty_four_debits_on_ten_times_the_price_grant_ten() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await.agent_id();
    post(&app, &fund(agent, 3_000_000, "in")).await.unwrap();
    let app = std::sync::Arc::new(app);
    let debits: Vec<_> = (0..64)
        .map(|n| {
            let app = app.clone();
            tokio::spawn(async move { post(&app, &spend(agent, 300_000, &n.to_string())).await.unwrap() })
        })
        .collect();
    let mut granted = 0;
    for debit in debits {
        match debit.await.unwrap() {
            Posted::Done(_) => granted += 1,
            Posted::Short(missing) => assert_eq!(missing, Micros(300_000)),
            Posted::Repeated(_) => panic!("each has a name of its own"),
        }
    }
    assert_eq!((granted, balance(&app, agent).await), (10, 0));
    app.audit_books().await;
}

#[tokio::test]
async fn f37_opposed_transfers_between_the_same_wallets_never_deadlock() {
    let app = std::sync::Arc::new(TestApp::start().await);
    let (left, right) = (app.agent("Left").await.agent_id(), app.agent("Right").await.agent_id());
    post(&app, &fund(left, 1_000, "left")).await.unwrap();
    post(&app, &fund(right, 1_000, "right")).await.unwrap();
    let moves: Vec<_> = (0..60)
        .map(|n| {
            let app = app.clone();
            let (from, to) = if n % 2 == 0 { (left, right) } else { (right, left) };
            let posting = Posting {
                debit: Account::wallet(from),
                credit: Account::wallet(to),
                amount: Micros(7),
                kind: TransferKind::Payout,
                reference: format!("move {n}"),
                metered: None,
            };
            tokio::spawn(async move { post(&app, &posting).await })
        })
        .collect();
    for moved in moves {
        assert!(matches!(moved.await.unwrap(), Ok(Posted::Done(_))));
    }
    assert_eq!((balance(&app, left).await, balance(&app, right).await), (1_000, 1_000));
    app.audit_books().await;
}

#[tokio::test]
async fn a_batch_posts_in_its_order_and_skips_what_is_not_covered() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await.agent_id();
    let postings =
        [fund(agent, 500, "in"), spend(agent, 400, "1"), spend(agent, 400, "2"), spend(agent, 100, "3")];
    let mut tx = app.app.begin().await.unwrap();
    let posted = ops::post_all(&mut tx, app.now(), &postings).await.unwrap();
    tx.commit().await.unwrap();
    assert!(matches!(
        posted[..],
        [Posted::Done(_), Posted::Done(_), Posted::Short(Micros(300)), Posted::Done(_)]
    ));
    assert_eq!(balance(&app, agent).await, 0);
    app.audit_books().await;
}

#[tokio::test]
async fn i7_a_transaction_that_is_let_go_leaves_nothing() {
    let app = TestApp::start().await;
    let agent = app.agent("Payer").await.agent_id();
    let mut tx = app.app.begin().await.unwrap();
    ops::post(&mut tx, app.now(), &fund(agent, 500, "in")).await.unwrap();
    drop(tx);
    assert_eq!(balance(&app, agent).await, 0);
    assert!(matches!(post(&app, &fund(agent, 500, "in")).await.unwrap(), Posted::Done(_)));
    app.audit_books().await;
}
