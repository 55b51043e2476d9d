//! The service, a chain, an advertiser with money and an affiliate with an address on the chain.

use crate::anvil::{Anvil, CHAIN_ID};
use crate::harness::{Client, Offer, TestApp};
use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use chrono::TimeDelta;
use control_plane::features::payouts::usdc::model::Policy;
use control_plane::features::payouts::usdc::worker::{Did, Worker};
use payouts_evm::evm::Evm;
use payouts_evm::rpc::Rpc;
use serde_json::{Value, json};

/// Seconds until a transfer is stuck, in tests.
pub(crate) const STUCK_SECONDS: i64 = 60;
pub(crate) const CONFIRMATIONS: u64 = 3;

pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) chain: Anvil,
    pub(crate) offer: Offer,
    /// Pays.
    pub(crate) signer: PrivateKeySigner,
    /// The affiliate's address.
    pub(crate) payee: Address,
}

impl World {
    /// The advertiser has $100 in its wallet, and the paying address 1,000 usdc and gas.
    pub(crate) async fn start() -> Self {
        rustls::crypto::ring::default_provider().install_default().ok();
        let (app, chain) = tokio::join!(TestApp::start(), Anvil::start());
        let offer = app.offer().await;
        offer.advertiser.post("/api/wallet/topup", json!({"amount": 100})).await.expect(201);
        let signer = PrivateKeySigner::random();
        chain.give_gas(signer.address()).await;
        chain.mint(signer.address(), 1_000_000_000).await;
        let payee = PrivateKeySigner::random().address();
        set_address(&offer.affiliate, payee).await;
        Self { app, chain, offer, signer, payee }
    }

    pub(crate) fn worker(&self) -> Worker<Evm> {
        self.worker_through(&self.chain.url())
    }

    /// A worker that reaches the node by another URL.
    pub(crate) fn worker_through(&self, url: &str) -> Worker<Evm> {
        let policy = Policy {
            confirmations: CONFIRMATIONS,
            stuck_after: TimeDelta::seconds(STUCK_SECONDS),
            fee_max: 500_000_000_000,
            open_max: 4,
        };
        let evm = Evm::new(Rpc::new(url.into()).unwrap(), self.signer.clone(), CHAIN_ID, self.chain.token);
        Worker::new(self.app.app.db_worker().clone(), self.app.clock.clone(), evm, policy)
    }

    /// A sale of this many dollars, approved: a fifth of it is due.
    pub(crate) async fn sale(&self, dollars: u64) {
        sale(&self.offer, dollars).await;
    }

    /// Pays everything that is due in usdc; gives the one payout's id.
    pub(crate) async fn pay_out(&self) -> String {
        let body = json!({"program_id": self.offer.program, "method": "usdc"});
        let reply = self.offer.advertiser.post("/api/payouts/process", body).await;
        let payouts = reply.expect(201)["payouts"].as_array().unwrap();
        assert_eq!((payouts.len(), &payouts[0]["status"]), (1, &json!("pending")));
        payouts[0]["id"].as_str().unwrap().to_owned()
    }

    /// A payout of ten dollars.
    pub(crate) async fn ten_dollars(&self) -> String {
        self.sale(50).await;
        self.pay_out().await
    }

    pub(crate) async fn payout(&self, id: &str) -> Value {
        self.offer.affiliate.get(&format!("/api/payouts/{id}")).await.expect(200).clone()
    }

    pub(crate) async fn status(&self, id: &str) -> String {
        self.payout(id).await["status"].as_str().unwrap().to_owned()
    }

    /// The transfer's state and nonce, and its versions' hashes.
    pub(crate) async fn transfer(&self, id: &str) -> (String, i64, Vec<String>) {
        sqlx::query_as(
            "SELECT state, nonce, (SELECT array_agg(hash ORDER BY version) FROM usdc_transactions
                                    WHERE usdc_transactions.payout_id = usdc_transfers.payout_id)
               FROM usdc_transfers
              WHERE payout_id = $1::UUID",
        )
        .bind(id)
        .fetch_one(self.app.app.db())
        .await
        .unwrap()
    }

    /// The advertiser's balance, and what is set aside.
    pub(crate) async fn wallet(&self) -> (Value, Value) {
        let wallet = self.offer.advertiser.get("/api/wallet").await;
        let wallet = wallet.expect(200);
        (wallet["balance"].clone(), wallet["held"].clone())
    }

    pub(crate) fn wait_until_stuck(&self) {
        self.app.clock.advance(TimeDelta::seconds(STUCK_SECONDS));
    }

    /// The end every test that pays ten dollars comes to: one transfer on the chain, whatever happened.
    pub(crate) async fn assert_paid_once(&self, id: &str) {
        let payout = self.payout(id).await;
        assert_eq!(payout["status"], "paid", "{payout}");
        assert_eq!(self.chain.balance(self.payee).await, 10_000_000, "the chain's own balance");
        assert_eq!(self.chain.balance(self.signer.address()).await, 990_000_000);
        assert_eq!(self.chain.transfers_to(self.payee).await, [payout["reference"].as_str().unwrap()]);
        assert_eq!(self.wallet().await, (json!(90), json!(0)));
        self.app.audit().await;
    }
}

pub(crate) async fn sale(offer: &Offer, dollars: u64) {
    let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": dollars});
    let reply = offer.advertiser.post("/api/conversions/track", body).await;
    let path = format!("/api/conversions/{}", reply.expect(201)["id"].as_str().unwrap());
    offer.advertiser.patch(&path, json!({"status": "approved"})).await.expect(200);
}

pub(crate) async fn set_address(agent: &Client, address: Address) {
    let put = agent.request("PUT", &format!("/api/agents/{}/payout-address", agent.id()));
    agent.send(put.json(&json!({"address": address.to_string()}))).await.expect(200);
}

/// A turn that did exactly this.
pub(crate) async fn turn(worker: &Worker<Evm>, expected: Did) {
    assert_eq!(worker.turn().await.unwrap(), expected);
}
