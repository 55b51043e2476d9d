//! A chain of one cause: anvil, with the token of the tests of `payouts-evm` on it, an address that pays and one that
//! is paid. Blocks are made by [`Chain::mine`] and by nothing else.

use crate::stack::ground::{Lab, free_ports};
use crate::stack::local;
use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Its number (EIP-155).
pub(super) const ID: u64 = 84_532;
const READY_FOR: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(25);
/// `mint(address,uint256)`.
const MINT: &str = "40c10f19";
/// Of the token.
const DECIMALS: u64 = 6;
/// Wei for a unit of gas: more than what waits offers. Nodes suggest to others what was paid last.
const DEAR: &str = "0xba43b7400";

/// The chain. Killed when dropped.
pub(super) struct Chain {
    /// Where the node is.
    pub(super) addr: SocketAddr,
    /// The token's contract, as EIP-55 writes it.
    pub(super) token: String,
    /// The paying address's private key.
    pub(super) key: String,
    /// The address that is paid.
    pub(super) payee: String,
    payer: String,
    /// Owns the token and pays for its deployment.
    owner: String,
    http: reqwest::Client,
    child: Child,
}

impl Chain {
    /// A fresh chain with addresses of its own, which hold gas and nothing of the token.
    pub(super) async fn start(lab: &Lab, folder: &Path) -> anyhow::Result<Self> {
        let peers = lab.peers.as_ref().context("the peers are not installed")?;
        let code = token_code(peers, folder)?;
        let [port] = free_ports()?;
        let accounts = folder.join(format!("anvil-{port}.json"));
        let log = std::fs::File::create(folder.join(format!("anvil-{port}.log")))?;
        let child = Command::new(peers.join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"))
            .args(["--port", &port.to_string(), "--chain-id", &ID.to_string(), "--no-mining"])
            .args(["--accounts", "3", "--mnemonic-random", "--config-out"])
            .arg(&accounts)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start anvil")?;
        let mut chain = Self {
            addr: local(port),
            token: String::new(),
            key: String::new(),
            payee: String::new(),
            payer: String::new(),
            owner: String::new(),
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
            child,
        };
        let deadline = Instant::now() + READY_FOR;
        while chain.call("eth_chainId", json!([])).await.is_err() {
            ensure!(Instant::now() < deadline, "anvil did not start; see {}", folder.display());
            tokio::time::sleep(PAUSE).await;
        }
        let known: Value = serde_json::from_slice(&std::fs::read(&accounts)?)?;
        let of = |list: &str, nth: usize| {
            known[list][nth].as_str().map(str::to_owned).with_context(|| format!("no {list} in {known}"))
        };
        chain.owner = of("available_accounts", 0)?;
        chain.payer = of("available_accounts", 1)?;
        chain.key = of("private_keys", 1)?;
        chain.payee = of("available_accounts", 2)?;
        let create = json!({"from": chain.owner, "data": format!("0x{code}{DECIMALS:064x}")});
        let hash = chain.call("eth_sendTransaction", json!([create])).await?;
        chain.mine(1).await?;
        let receipt = chain.call("eth_getTransactionReceipt", json!([hash])).await?;
        let token = receipt["contractAddress"].as_str().context("the token was not deployed")?;
        chain.token = chain.with_capitals(token).await?;
        Ok(chain)
    }

    async fn call(&self, method: &str, params: Value) -> anyhow::Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let reply = self.http.post(format!("http://{}/", self.addr)).json(&body).send().await?;
        let reply: Value = reply.json().await?;
        ensure!(reply.get("error").is_none(), "{method}: {}", reply["error"]);
        Ok(reply["result"].clone())
    }

    /// An address with the capitals of EIP-55, of a hash that the node has.
    async fn with_capitals(&self, address: &str) -> anyhow::Result<String> {
        let digits = address.trim_start_matches("0x").to_ascii_lowercase();
        let text = digits.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        let hash = self.call("web3_sha3", json!([format!("0x{text}")])).await?;
        let hash = hash.as_str().and_then(|hash| hash.strip_prefix("0x")).context("no hash")?;
        let capitals = digits.chars().zip(hash.bytes());
        let capitals =
            capitals.map(|(digit, nibble)| if nibble >= b'8' { digit.to_ascii_uppercase() } else { digit });
        Ok(format!("0x{}", capitals.collect::<String>()))
    }

    /// Makes so many blocks.
    pub(super) async fn mine(&self, blocks: u64) -> anyhow::Result<()> {
        self.call("anvil_mine", json!([format!("{blocks:#x}")])).await.map(drop)
    }

    /// Gives the paying address so many millionths of the token, in a block of their own.
    pub(super) async fn fund(&self, micros: u64) -> anyhow::Result<()> {
        let to = self.payer.trim_start_matches("0x");
        let data = format!("0x{MINT}{to:0>64}{micros:064x}");
        let mint = json!({"from": self.owner, "to": self.token, "data": data});
        self.call("eth_sendTransaction", json!([mint])).await?;
        self.mine(1).await
    }

    /// Another program has the paying address's key: its transaction takes the nonce of the oldest that waits.
    pub(super) async fn take_nonce(&self) -> anyhow::Result<()> {
        let nonce = self.call("eth_getTransactionCount", json!([self.payer, "latest"])).await?;
        let own = json!({"from": self.payer, "to": self.payer, "nonce": nonce,
                         "maxFeePerGas": DEAR, "maxPriorityFeePerGas": DEAR});
        self.call("eth_sendTransaction", json!([own])).await?;
        self.mine(1).await
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The token's creation code, compiled once in a run: that takes seconds.
fn token_code(peers: &Path, folder: &Path) -> anyhow::Result<String> {
    let kept = folder.join("TestUsdc.hex");
    if let Ok(code) = std::fs::read_to_string(&kept) {
        return Ok(code);
    }
    let compiled = Command::new(peers.join(".venv/bin/node"))
        .arg(peers.join("evm/compile.mjs"))
        .output()
        .context("cannot run Node.js")?;
    ensure!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let code = String::from_utf8(compiled.stdout)?.trim().to_owned();
    std::fs::write(&kept, &code)?;
    Ok(code)
}
