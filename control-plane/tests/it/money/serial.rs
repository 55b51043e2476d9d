//! I8: whatever ran at once, its outcome is that of some order in which one thing happened after the other.

use crate::harness::TestApp;
use sqlx::types::Uuid;
use std::collections::HashMap;

/// A transfer with its place in the chains of both its accounts.
#[derive(sqlx::FromRow)]
struct Placed {
    debit_account: Uuid,
    credit_account: Uuid,
    amount_micros: i64,
    debit_version: i64,
    credit_version: i64,
}

/// Finds one order that both accounts of every transfer agree with, carries it out from empty accounts, and
/// compares the balances. Gives how many transfers there were.
pub(super) async fn replay(app: &TestApp) -> usize {
    let transfers: Vec<Placed> = sqlx::query_as(
        "SELECT debit_account, credit_account, amount_micros, debit_version, credit_version FROM ledger_transfers",
    )
    .fetch_all(app.app.db())
    .await
    .unwrap();
    let mut at: HashMap<(Uuid, i64), usize> = HashMap::new();
    for (index, one) in transfers.iter().enumerate() {
        assert_eq!(at.insert((one.debit_account, one.debit_version), index), None, "two at one place");
        assert_eq!(at.insert((one.credit_account, one.credit_version), index), None, "two at one place");
    }
    // Version and balance of each account so far.
    let mut accounts: HashMap<Uuid, (i64, i64)> = HashMap::new();
    let mut ready: Vec<usize> = (0..transfers.len()).collect();
    let mut done = 0;
    while let Some(index) = ready.pop() {
        let one = &transfers[index];
        let version = |account| accounts.get(account).map_or(0, |(version, _)| *version);
        if version(&one.debit_account) + 1 != one.debit_version
            || version(&one.credit_account) + 1 != one.credit_version
        {
            // Not yet, or done already: it comes again when the transfer before it is done.
            continue;
        }
        for (account, amount) in
            [(one.debit_account, -one.amount_micros), (one.credit_account, one.amount_micros)]
        {
            let (version, balance) = accounts.entry(account).or_default();
            (*version, *balance) = (*version + 1, *balance + amount);
            ready.extend(at.get(&(account, *version + 1)));
        }
        done += 1;
    }
    assert_eq!(done, transfers.len(), "no order of the transfers fits every account");
    let kept: Vec<(Uuid, i64, i64)> =
        sqlx::query_as("SELECT id, version, balance_micros FROM ledger_accounts WHERE version > 0")
            .fetch_all(app.app.db())
            .await
            .unwrap();
    let kept: HashMap<_, _> =
        kept.into_iter().map(|(id, version, balance)| (id, (version, balance))).collect();
    assert_eq!(kept, accounts, "balances of the database, and of one after the other");
    done
}
