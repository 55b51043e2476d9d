//! An EVM chain as the worker needs it: one address, one token with six decimals, EIP-1559 transactions.

use crate::rpc::Rpc;
use alloy::consensus::{SignableTransaction, TxEip1559};
use alloy::eips::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, TxKind, U256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolEvent};
use control_plane::features::payouts::usdc::chain::{Chain, ChainError, ChainResult, Funds, Sender};
use control_plane::features::payouts::usdc::model::{Fees, Mined, Outcome, Seen, Signed, TxHash, Unsigned};
use control_plane::money::Micros;
use control_plane::trace;
use serde::Deserialize;
use serde_json::{Value, json};

alloy::sol! {
    function transfer(address to, uint256 value) external returns (bool);
    function balanceOf(address owner) external view returns (uint256);
    function decimals() external view returns (uint8);
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// The one call that changes something.
const SEND: &str = "eth_sendRawTransaction";
/// A token with six decimals counts like our amounts: a unit is a millionth.
const DECIMALS: u8 = 6;
/// JSON-RPC's code for a call that the contract reverted.
const REVERTED: i64 = 3;
/// The next block's base fee is at most an eighth higher: twice of it lasts for six blocks of a rush.
const BASE_FEE_FACTOR: u64 = 2;

/// A chain through one node, and the key of an address on it.
#[derive(Debug)]
pub struct Evm {
    rpc: Rpc,
    // Its Debug shows the address alone.
    signer: PrivateKeySigner,
    token: Address,
    sender: Sender,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    block_number: Option<U256>,
    block_hash: Option<B256>,
    status: Option<U256>,
    #[serde(default)]
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Log {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    hash: Option<B256>,
    base_fee_per_gas: Option<U256>,
}

impl Evm {
    /// Pays `token` from the signer's address on this chain. Nothing is asked yet: see [`Self::check`].
    pub fn new(rpc: Rpc, signer: PrivateKeySigner, chain_id: u64, token: Address) -> Self {
        let sender = Sender { chain_id, address: signer.address().to_string(), token: token.to_string() };
        Self { rpc, signer, token, sender }
    }

    /// Asks the node whether it is on our chain and the token is one we can pay with. What is wrong with the
    /// settings is in `Ok(Err(_))`; a node that does not answer is an error.
    pub async fn check(&self) -> ChainResult<Result<(), String>> {
        let chain: U256 = self.rpc.call("eth_chainId", json!([])).await?;
        if chain != U256::from(self.sender.chain_id) {
            return Ok(Err(format!("AOS_USDC_CHAIN_ID: the node is on chain {chain}")));
        }
        let decimals = self.read(&decimalsCall {}).await;
        match decimals {
            Ok(DECIMALS) => Ok(Ok(())),
            Ok(other) => Ok(Err(format!("AOS_USDC_TOKEN: the token has {other} decimals, not {DECIMALS}"))),
            Err(ChainError::Refused { .. }) => Ok(Err("AOS_USDC_TOKEN: no token is there".to_owned())),
            Err(lost) => Err(lost),
        }
    }

    /// Calls a view of the token.
    async fn read<C: SolCall>(&self, call: &C) -> ChainResult<C::Return> {
        let params = json!([{"to": self.token, "data": Bytes::from(call.abi_encode())}, "latest"]);
        let reply: Bytes = self.rpc.call("eth_call", params).await?;
        C::abi_decode_returns(&reply).map_err(|error| ChainError::Refused {
            code: 0,
            message: format!("the token answered strangely: {error}"),
        })
    }

    async fn block(&self, which: Value) -> ChainResult<Option<Block>> {
        self.rpc.call("eth_getBlockByNumber", json!([which, false])).await
    }

    fn outcome(&self, receipt: &Receipt, recipient: Address, amount: Micros) -> Outcome {
        if receipt.status != Some(U256::from(1)) {
            return Outcome::Reverted;
        }
        let (from, value) = (self.signer.address(), units(amount));
        let moved = receipt.logs.iter().filter(|log| log.address == self.token).any(|log| {
            Transfer::decode_raw_log(log.topics.iter().copied(), &log.data)
                .is_ok_and(|event| event.from == from && event.to == recipient && event.value == value)
        });
        if moved { Outcome::Moved } else { Outcome::Strange }
    }
}

impl Chain for Evm {
    fn sender(&self) -> &Sender {
        &self.sender
    }

    async fn head(&self) -> ChainResult<u64> {
        small(self.rpc.call("eth_blockNumber", json!([])).await?)
    }

    async fn nonce_at(&self, block: u64) -> ChainResult<u64> {
        let params = json!([self.signer.address(), quantity(block)]);
        small(self.rpc.call("eth_getTransactionCount", params).await?)
    }

    async fn fees(&self) -> ChainResult<Fees> {
        let block = self.block(json!("latest")).await?;
        let base = block.and_then(|block| block.base_fee_per_gas).unwrap_or_default();
        let (base, tip) = (small(base)?, small(self.rpc.call("eth_maxPriorityFeePerGas", json!([])).await?)?);
        Ok(Fees { fee: base.saturating_mul(BASE_FEE_FACTOR).saturating_add(tip), tip })
    }

    async fn funds(&self) -> ChainResult<Funds> {
        let owner = self.signer.address();
        let token = self.read(&balanceOfCall { owner }).await?;
        let wei: U256 = self.rpc.call("eth_getBalance", json!([owner, "latest"])).await?;
        Ok(Funds { token: Micros(i64::try_from(token).unwrap_or(i64::MAX)), wei: wei.saturating_to() })
    }

    async fn gas_for(&self, recipient: &str, amount: Micros) -> ChainResult<u64> {
        let params = json!([{
            "from": self.signer.address(), "to": self.token,
            "data": Bytes::from(transfer_call(address(recipient)?, amount).abi_encode()),
        }]);
        match self.rpc.call("eth_estimateGas", params).await {
            Ok(gas) => small(gas),
            // Only a revert is the token's word. Limits, a node that lags: its troubles, not the payout's.
            Err(ChainError::Refused { code, message }) if code != REVERTED && !message.contains("revert") => {
                Err(ChainError::Lost(message))
            }
            Err(error) => Err(error),
        }
    }

    fn sign(&self, unsigned: &Unsigned) -> ChainResult<Signed> {
        let transaction = TxEip1559 {
            chain_id: self.sender.chain_id,
            nonce: unsigned.nonce,
            gas_limit: unsigned.gas,
            max_fee_per_gas: u128::from(unsigned.fees.fee),
            max_priority_fee_per_gas: u128::from(unsigned.fees.tip),
            to: TxKind::Call(self.token),
            input: transfer_call(address(&unsigned.recipient)?, unsigned.amount).abi_encode().into(),
            ..TxEip1559::default()
        };
        let refuse =
            |error: alloy::signers::Error| ChainError::Refused { code: 0, message: error.to_string() };
        let signature = self.signer.sign_hash_sync(&transaction.signature_hash()).map_err(refuse)?;
        let signed = transaction.into_signed(signature);
        Ok(Signed { hash: TxHash(signed.hash().to_string()), raw: signed.encoded_2718() })
    }

    async fn send(&self, raw: &[u8]) -> ChainResult<()> {
        let params = json!([Bytes::copy_from_slice(raw)]);
        let traced = trace::rpc(SEND);
        let sent = self.rpc.call::<B256>(SEND, params).await.map(drop);
        let error = sent.as_ref().err().map(|error| match error {
            ChainError::Refused { .. } => "refused",
            ChainError::Lost(_) => "lost",
        });
        trace::replied(&traced, error);
        sent
    }

    async fn look_up(&self, hash: &TxHash, recipient: &str, amount: Micros) -> ChainResult<Seen> {
        let receipt: Option<Receipt> = self.rpc.call("eth_getTransactionReceipt", json!([hash.0])).await?;
        let Some(receipt) = receipt else {
            let known: Option<Value> = self.rpc.call("eth_getTransactionByHash", json!([hash.0])).await?;
            return Ok(if known.is_some() { Seen::Waiting } else { Seen::Nowhere });
        };
        let (Some(number), Some(block_hash)) = (receipt.block_number, receipt.block_hash) else {
            return Ok(Seen::Waiting);
        };
        // Behind one URL there may be many nodes: the block must be on the chain that is asked now.
        let block = self.block(json!(number)).await?;
        if block.and_then(|block| block.hash) != Some(block_hash) {
            return Err(ChainError::Lost("the block of a receipt is not on the chain".to_owned()));
        }
        Ok(Seen::Mined(Mined {
            hash: hash.clone(),
            block_number: small(number)?,
            block_hash: block_hash.to_string(),
            outcome: self.outcome(&receipt, address(recipient)?, amount),
        }))
    }
}

fn transfer_call(to: Address, amount: Micros) -> transferCall {
    transferCall { to, value: units(amount) }
}

fn units(amount: Micros) -> U256 {
    U256::from(amount.0.unsigned_abs())
}

fn address(text: &str) -> ChainResult<Address> {
    text.parse().map_err(|_| ChainError::Refused { code: 0, message: "not an address".to_owned() })
}

fn quantity(number: u64) -> String {
    format!("0x{number:x}")
}

fn small(number: U256) -> ChainResult<u64> {
    u64::try_from(number).map_err(|_| ChainError::Lost("a number out of range".to_owned()))
}
