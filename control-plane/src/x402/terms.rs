//! What we take: which token, on which chain, to which address. Pure.

use crate::money::Micros;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use serde_json::{Value, json};

/// Seconds a payer's authorization is good for: long enough for a slow block, short enough that an unknown
/// outcome is soon known.
pub const VALID_FOR_SECONDS: i64 = 300;

/// The deployment's terms.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Who verifies and settles, without a slash at the end.
    pub facilitator: String,
    /// What it wants to see as bearer, if anything.
    pub facilitator_token: Option<SecretString>,
    /// A node of the chain: tells what became of a payment whose settlement is unknown.
    pub rpc_url: SecretString,
    /// The chain's EVM id.
    pub chain_id: u64,
    /// The token's contract, as EIP-55 writes it.
    pub asset: String,
    /// The token's EIP-712 name and version.
    pub asset_domain: (String, String),
    /// Where the money goes.
    pub pay_to: String,
}

/// Chains that have a name in version 1, and their USDC: contract and EIP-712 name.
const CHAINS: [(u64, &str, &str, &str); 3] = [
    (8453, "base", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin"),
    (84532, "base-sepolia", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC"),
    (137, "polygon", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin"),
];

/// The USDC contract and its EIP-712 name on a chain we know.
pub fn known_usdc(chain_id: u64) -> Option<(&'static str, &'static str)> {
    CHAINS.iter().find(|chain| chain.0 == chain_id).map(|chain| (chain.2, chain.3))
}

/// What is paid for, as a payer's client shows it.
#[derive(Clone, Copy, Debug)]
pub struct Resource<'a> {
    /// Its URL.
    pub url: &'a str,
    /// In words.
    pub description: &'a str,
}

impl Terms {
    /// The chain's name in version 2.
    pub fn network(&self) -> String {
        format!("eip155:{}", self.chain_id)
    }

    /// Its name in version 1, if it has one.
    pub fn network_v1(&self) -> Option<&'static str> {
        CHAINS.iter().find(|chain| chain.0 == self.chain_id).map(|chain| chain.1)
    }

    /// What is to be paid, in the words of version 2.
    pub fn requirements(&self, amount: Micros) -> Value {
        let (name, version) = &self.asset_domain;
        json!({
            "scheme": "exact",
            "network": self.network(),
            "amount": amount.0.to_string(),
            "asset": self.asset,
            "payTo": self.pay_to,
            "maxTimeoutSeconds": VALID_FOR_SECONDS,
            "extra": {"assetTransferMethod": "eip3009", "name": name, "version": version},
        })
    }

    /// The same in the words of version 1; `None` on a chain without a name there.
    pub fn requirements_v1(&self, amount: Micros, resource: Resource<'_>) -> Option<Value> {
        let (name, version) = &self.asset_domain;
        Some(json!({
            "scheme": "exact",
            "network": self.network_v1()?,
            "maxAmountRequired": amount.0.to_string(),
            "resource": resource.url,
            "description": resource.description,
            "mimeType": "application/json",
            "payTo": self.pay_to,
            "maxTimeoutSeconds": VALID_FOR_SECONDS,
            "asset": self.asset,
            "extra": {"name": name, "version": version},
        }))
    }

    /// The value of `PAYMENT-REQUIRED`.
    pub fn required_header(&self, amount: Micros, resource: Resource<'_>, error: &str) -> String {
        let required = json!({
            "x402Version": 2,
            "error": error,
            "resource": {
                "url": resource.url, "description": resource.description, "mimeType": "application/json",
            },
            "accepts": [self.requirements(amount)],
        });
        STANDARD.encode(required.to_string())
    }
}
