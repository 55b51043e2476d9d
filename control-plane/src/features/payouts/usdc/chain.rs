//! What the worker needs of a chain.

use super::model::{Fees, Seen, Signed, TxHash, Unsigned};
use crate::money::Micros;
use std::future::Future;

/// Who pays, and on which chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The chain's number (EIP-155).
    pub chain_id: u64,
    /// The address that holds the token, as EIP-55 writes it.
    pub address: String,
    /// The token's contract, as EIP-55 writes it.
    pub token: String,
}

/// What the sender's address holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Funds {
    /// Of the token, which has six decimals like our amounts.
    pub token: Micros,
    /// Wei, for gas.
    pub wei: u128,
}

/// Why a chain did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A node read the call and refused it.
    #[error("the node refused: {message} ({code})")]
    Refused {
        /// JSON-RPC's code.
        code: i64,
        /// The node's words.
        message: String,
    },
    /// No answer, or none that can be read: the call may have taken effect.
    #[error("no answer from the node: {0}")]
    Lost(String),
}

/// What a chain answers.
pub type ChainResult<T> = Result<T, ChainError>;

/// A chain, and the key of one address on it.
pub trait Chain: Send + Sync {
    /// Who pays.
    fn sender(&self) -> &Sender;

    /// The number of the newest block.
    fn head(&self) -> impl Future<Output = ChainResult<u64>> + Send;

    /// How many transactions the sender had made when this block was made: its next nonce there.
    fn nonce_at(&self, block: u64) -> impl Future<Output = ChainResult<u64>> + Send;

    /// What gas costs now.
    fn fees(&self) -> impl Future<Output = ChainResult<Fees>> + Send;

    /// What the sender holds.
    fn funds(&self) -> impl Future<Output = ChainResult<Funds>> + Send;

    /// The gas a transfer needs; [`ChainError::Refused`] when the token would refuse it.
    fn gas_for(&self, recipient: &str, amount: Micros) -> impl Future<Output = ChainResult<u64>> + Send;

    /// Signs a transfer. Sends nothing.
    fn sign(&self, unsigned: &Unsigned) -> ChainResult<Signed>;

    /// Hands signed bytes to a node. The same bytes may be sent any number of times.
    fn send(&self, raw: &[u8]) -> impl Future<Output = ChainResult<()>> + Send;

    /// Where a transaction is, and whether it moved the amount to the recipient.
    fn look_up(
        &self,
        hash: &TxHash,
        recipient: &str,
        amount: Micros,
    ) -> impl Future<Output = ChainResult<Seen>> + Send;
}
