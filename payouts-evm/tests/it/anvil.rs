//! A chain of one test: anvil, with our test token on it.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::{SolCall, SolValue};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

pub(crate) const CHAIN_ID: u64 = 84_532;

alloy::sol! {
    function balanceOf(address owner) external view returns (uint256);
    function mint(address to, uint256 value) external;
    function setBlacklisted(address account, bool blacklisted) external;
    event Transfer(address indexed from, address indexed to, uint256 value);
}

#[expect(clippy::disallowed_methods, reason = "tests are told where their peers are")]
fn peers() -> PathBuf {
    std::env::var("AOS_TEST_PEERS").expect("AOS_TEST_PEERS is not set: run `cargo xtask test`").into()
}

/// The token's creation code. Compiling takes seconds, so the result is kept beside the build.
async fn token_code() -> Vec<u8> {
    let peers = peers();
    let source = std::fs::read(peers.join("evm/TestUsdc.sol")).unwrap();
    let name = format!("TestUsdc-{}.hex", alloy::primitives::keccak256(source));
    let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    if let Ok(text) = std::fs::read_to_string(&kept) {
        return text.trim().parse::<Bytes>().unwrap().to_vec();
    }
    let compiled =
        Command::new(peers.join(".venv/bin/node")).arg(peers.join("evm/compile.mjs")).output().await;
    let compiled = compiled.expect("run `cargo xtask peers`");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let text = String::from_utf8(compiled.stdout).unwrap();
    // Another test may do the same: whoever renames last wins, with the same bytes.
    let fresh = kept.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&fresh, &text).unwrap();
    std::fs::rename(&fresh, &kept).unwrap();
    text.trim().parse::<Bytes>().unwrap().to_vec()
}

pub(crate) struct Anvil {
    pub(crate) addr: SocketAddr,
    pub(crate) token: Address,
    /// Owns the token and pays for its deployment.
    owner: Address,
    http: reqwest::Client,
    _process: Child,
}

impl Anvil {
    /// A fresh chain. Blocks are made by [`Self::mine`] and by nothing else.
    pub(crate) async fn start() -> Self {
        Self::start_with_decimals(6).await
    }

    pub(crate) async fn start_with_decimals(decimals: u8) -> Self {
        let program = peers().join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
        let chain_id = CHAIN_ID.to_string();
        let mut process = Command::new(program)
            .args(["--port", "0", "--chain-id", &chain_id, "--accounts", "1", "--no-mining"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("run `cargo xtask peers`");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let addr = loop {
            let line = lines.next_line().await.unwrap().expect("anvil says where it listens");
            if let Some(addr) = line.strip_prefix("Listening on ") {
                break addr.parse().unwrap();
            }
        };
        // It stops when nobody reads what it says.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut anvil = Self { addr, token: Address::ZERO, owner: Address::ZERO, http, _process: process };
        let accounts: Vec<Address> = anvil.call("eth_accounts", json!([])).await;
        anvil.owner = accounts[0];
        let code = [token_code().await, U256::from(decimals).abi_encode()].concat();
        let hash = anvil.transact(anvil.owner, None, &code, json!({})).await;
        anvil.mine(1).await;
        let receipt: Value = anvil.call("eth_getTransactionReceipt", json!([hash])).await;
        anvil.token = receipt["contractAddress"].as_str().expect("the token is deployed").parse().unwrap();
        anvil
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.addr)
    }

    pub(crate) async fn try_call(&self, method: &str, params: Value) -> Result<Value, String> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let reply = self.http.post(self.url()).json(&body).send().await.unwrap();
        let reply: Value = reply.json().await.unwrap();
        match reply.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(reply["result"].clone()),
        }
    }

    pub(crate) async fn call<T: DeserializeOwned>(&self, method: &str, params: Value) -> T {
        let result = self.try_call(method, params).await.unwrap_or_else(|error| panic!("{method}: {error}"));
        serde_json::from_value(result).unwrap()
    }

    /// Sends a transaction of an address the node signs for.
    pub(crate) async fn transact(
        &self,
        from: Address,
        to: Option<Address>,
        data: &[u8],
        more: Value,
    ) -> B256 {
        let mut call = json!({"from": from, "data": Bytes::copy_from_slice(data)});
        if let Some(to) = to {
            call["to"] = json!(to);
        }
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.call("eth_sendTransaction", json!([call])).await
    }

    pub(crate) async fn mint(&self, to: Address, micros: u64) {
        let call = mintCall { to, value: U256::from(micros) };
        self.transact(self.owner, Some(self.token), &call.abi_encode(), json!({})).await;
        self.mine(1).await;
    }

    /// Mined with the next block, before what waits.
    pub(crate) async fn blacklist(&self, account: Address, blacklisted: bool) {
        let call = setBlacklistedCall { account, blacklisted };
        let fee = json!({"maxFeePerGas": "0xba43b7400", "maxPriorityFeePerGas": "0xba43b7400"});
        self.transact(self.owner, Some(self.token), &call.abi_encode(), fee).await;
    }

    /// What the chain itself says an address holds, in millionths.
    pub(crate) async fn balance(&self, owner: Address) -> u64 {
        let call = Bytes::from(balanceOfCall { owner }.abi_encode());
        let params = json!([{"to": self.token, "data": call}, "latest"]);
        let balance: U256 = self.call("eth_call", params).await;
        balance.to()
    }

    pub(crate) async fn give_gas(&self, to: Address) {
        let _: Value = self.call("anvil_setBalance", json!([to, "0x8ac7230489e80000"])).await;
    }

    pub(crate) async fn mine(&self, blocks: u64) {
        let _: Value = self.call("anvil_mine", json!([format!("0x{blocks:x}")])).await;
    }

    pub(crate) async fn snapshot(&self) -> String {
        self.call("evm_snapshot", json!([])).await
    }

    /// Goes back to a snapshot: blocks since then were never made.
    pub(crate) async fn revert(&self, snapshot: &str) {
        let done: bool = self.call("evm_revert", json!([snapshot])).await;
        assert!(done);
    }

    /// The chain's own record: how often the token moved to an address, and with which transactions.
    pub(crate) async fn transfers_to(&self, to: Address) -> Vec<String> {
        use alloy::sol_types::SolEvent;
        let params = json!([{
            "fromBlock": "0x0", "toBlock": "latest", "address": self.token,
            "topics": [Transfer::SIGNATURE_HASH, null, to.into_word()],
        }]);
        let logs: Vec<Value> = self.call("eth_getLogs", params).await;
        logs.iter().map(|log| log["transactionHash"].as_str().unwrap().to_owned()).collect()
    }

    /// How many transactions wait.
    pub(crate) async fn waiting(&self) -> u64 {
        let status: Value = self.call("txpool_status", json!([])).await;
        let count = |name: &str| status[name].as_str().unwrap().parse::<U256>().unwrap().to::<u64>();
        count("pending") + count("queued")
    }

    pub(crate) async fn drop_transaction(&self, hash: &str) {
        let _: Value = self.call("anvil_dropTransaction", json!([hash])).await;
    }
}
