//! A chain that misbehaves by chance: loses requests and replies, forgets what waits, takes blocks back.
//! Its blocks are the record that payouts are compared with.

use super::chance::Chance;
use control_plane::features::payouts::usdc::chain::{Chain, ChainError, ChainResult, Funds, Sender};
use control_plane::features::payouts::usdc::model::{Fees, Mined, Outcome, Seen, Signed, TxHash, Unsigned};
use control_plane::money::Micros;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

pub(super) const CONFIRMATIONS: u64 = 3;

#[derive(Clone)]
struct Transaction {
    hash: String,
    recipient: String,
    amount: i64,
    fee: u64,
    reverts: bool,
}

struct State {
    chance: Chance,
    /// From block 1; each with its hash.
    blocks: Vec<(String, Vec<Transaction>)>,
    /// What waits, by nonce.
    pool: BTreeMap<u64, Transaction>,
    nonce: u64,
    /// The most blocks there ever were: what is confirmed under them stays.
    highest: usize,
    lost: usize,
    reorganised: usize,
}

/// The chain, shared by everybody who looks at it.
pub(super) struct SimulatedChain {
    sender: Sender,
    state: Mutex<State>,
}

impl SimulatedChain {
    pub(super) fn seeded(seed: u64) -> Self {
        let sender = Sender {
            chain_id: 31_337,
            address: format!("0x{}", "a1".repeat(20)),
            token: format!("0x{}", "b2".repeat(20)),
        };
        let state = State {
            chance: Chance::seeded(seed),
            blocks: Vec::new(),
            pool: BTreeMap::new(),
            nonce: 0,
            highest: 0,
            lost: 0,
            reorganised: 0,
        };
        Self { sender, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes a block of what waits, or takes up to two back, as chance has it.
    pub(super) fn tick(&self) {
        let mut state = self.state();
        if state.chance.below(8) == 0 {
            let depth = 1 + state.chance.below(CONFIRMATIONS as usize - 1);
            state.take_back(depth);
        } else {
            state.mine();
        }
    }

    /// Makes a block of everything that waits.
    pub(super) fn mine(&self) {
        self.state().mine();
    }

    /// Takes the newest block back; what was in it may wait again, or be forgotten.
    pub(super) fn take_back(&self) {
        self.state().take_back(1);
    }

    /// What the blocks show: transaction, recipient, amount of every transfer that took effect.
    pub(super) fn moved(&self) -> Vec<(String, String, i64)> {
        let state = self.state();
        let all = state.blocks.iter().flat_map(|(_, block)| block).filter(|transaction| !transaction.reverts);
        all.map(|moved| (moved.hash.clone(), moved.recipient.clone(), moved.amount)).collect()
    }

    /// Requests or replies that got lost, and blocks that were taken back.
    pub(super) fn faults(&self) -> (usize, usize) {
        let state = self.state();
        (state.lost, state.reorganised)
    }
}

impl State {
    fn mine(&mut self) {
        let mut block = Vec::new();
        while let Some(transaction) = self.pool.remove(&self.nonce) {
            self.nonce += 1;
            block.push(transaction);
        }
        let hash = format!("0x{:016x}", self.chance.next());
        self.blocks.push((hash, block));
        self.highest = self.highest.max(self.blocks.len());
    }

    fn take_back(&mut self, depth: usize) {
        for _ in 0..depth {
            if self.blocks.len() + CONFIRMATIONS as usize <= self.highest + 1 {
                return;
            }
            let Some((_, block)) = self.blocks.pop() else { return };
            self.reorganised += 1;
            for transaction in block.into_iter().rev() {
                self.nonce -= 1;
                if self.chance.below(2) == 0 {
                    self.pool.insert(self.nonce, transaction);
                }
            }
        }
    }

    fn lose(&mut self, what: &str) -> ChainError {
        self.lost += 1;
        ChainError::Lost(what.to_owned())
    }
}

impl Chain for SimulatedChain {
    fn sender(&self) -> &Sender {
        &self.sender
    }

    async fn head(&self) -> ChainResult<u64> {
        Ok(self.state().blocks.len() as u64)
    }

    async fn nonce_at(&self, block: u64) -> ChainResult<u64> {
        let state = self.state();
        Ok(state.blocks.iter().take(block as usize).map(|(_, block)| block.len() as u64).sum())
    }

    async fn fees(&self) -> ChainResult<Fees> {
        let tip = 1 + self.state().chance.below(50) as u64;
        Ok(Fees { fee: 100 + tip, tip })
    }

    async fn funds(&self) -> ChainResult<Funds> {
        Ok(Funds { token: Micros(i64::MAX / 2), wei: u128::MAX })
    }

    async fn gas_for(&self, _: &str, _: Micros) -> ChainResult<u64> {
        match self.state().chance.below(20) {
            0 => Err(ChainError::Refused { code: 3, message: "execution reverted".to_owned() }),
            _ => Ok(50_000),
        }
    }

    fn sign(&self, unsigned: &Unsigned) -> ChainResult<Signed> {
        let raw = format!(
            "{} {} {} {} {}",
            unsigned.nonce, unsigned.recipient, unsigned.amount.0, unsigned.fees.fee, unsigned.fees.tip
        );
        let hash = format!("0x{}", hex::encode(Sha256::digest(&raw)));
        Ok(Signed { hash: TxHash(hash), raw: raw.into_bytes() })
    }

    async fn send(&self, raw: &[u8]) -> ChainResult<()> {
        let mut state = self.state();
        if state.chance.below(5) == 0 {
            return Err(state.lose("the request"));
        }
        let words: Vec<&str> = std::str::from_utf8(raw).unwrap().split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        let (nonce, fee) = (number(0), number(3));
        let refuse = |message: &str| Err(ChainError::Refused { code: -32_000, message: message.to_owned() });
        if nonce < state.nonce {
            return refuse("nonce too low");
        }
        let hash = format!("0x{}", hex::encode(Sha256::digest(raw)));
        match state.pool.get(&nonce) {
            Some(known) if known.hash == hash => return refuse("already known"),
            Some(known) if known.fee * 11 > fee * 10 => return refuse("replacement transaction underpriced"),
            _ => {}
        }
        let reverts = state.chance.below(15) == 0;
        let (recipient, amount) = (words[1].to_owned(), number(2) as i64);
        state.pool.insert(nonce, Transaction { hash, recipient, amount, fee, reverts });
        if state.chance.below(4) == 0 {
            return Err(state.lose("the reply"));
        }
        Ok(())
    }

    async fn look_up(&self, hash: &TxHash, recipient: &str, amount: Micros) -> ChainResult<Seen> {
        let mut state = self.state();
        if state.chance.below(60) == 0 {
            return Err(state.lose("a look"));
        }
        if state.pool.values().any(|waiting| waiting.hash == hash.0) {
            return Ok(Seen::Waiting);
        }
        for (at, (block_hash, block)) in state.blocks.iter().enumerate() {
            let Some(found) = block.iter().find(|transaction| transaction.hash == hash.0) else { continue };
            assert_eq!((found.recipient.as_str(), found.amount), (recipient, amount.0));
            let outcome = if found.reverts { Outcome::Reverted } else { Outcome::Moved };
            let block_number = at as u64 + 1;
            return Ok(Seen::Mined(Mined {
                hash: hash.clone(),
                block_number,
                block_hash: block_hash.clone(),
                outcome,
            }));
        }
        Ok(Seen::Nowhere)
    }
}
