//! Valid things with one call, made through the doors clients use.

use super::{Client, TestApp};
use control_plane::features::matching::suggest;
use control_plane::workers::jobs::Turn;
use serde_json::{Value, json};
use shared::LinkKey;

/// An advertiser with a program, and an affiliate with a link in it.
pub(crate) struct Offer {
    pub(crate) advertiser: Client,
    pub(crate) affiliate: Client,
    pub(crate) program: String,
    pub(crate) partnership: String,
    pub(crate) link: String,
    pub(crate) token: String,
    pub(crate) key: LinkKey,
}

impl TestApp {
    /// A program that pays 20% of sales and lets affiliates in at once; its id.
    pub(crate) async fn program(&self, advertiser: &Client) -> String {
        id_of(&self.program_with(advertiser, json!({})).await)
    }

    /// The same with some members changed; the whole program.
    pub(crate) async fn program_with(&self, advertiser: &Client, changes: Value) -> Value {
        let mut body = json!({
            "name": "My SaaS", "commission_type": "percentage", "commission_value": 20, "approval_mode": "auto",
        });
        let changes = changes.as_object().expect("changes are an object").clone();
        body.as_object_mut().unwrap().extend(changes);
        advertiser.post("/api/programs", body).await.expect(201).clone()
    }

    /// The partnership of an agent that joins a program; its id.
    pub(crate) async fn joined(&self, affiliate: &Client, program: &str) -> String {
        id_of(affiliate.post(&format!("/api/network/join/{program}"), json!({})).await.expect(201))
    }

    /// A link in an approved partnership; the whole link.
    pub(crate) async fn link(&self, affiliate: &Client, partnership: &str) -> Value {
        let body = json!({"destination_url": "https://example.com/pricing"});
        affiliate.post(&format!("/api/partnerships/{partnership}/links"), body).await.expect(201).clone()
    }

    /// A program that pays 20% of sales, an approved affiliate and its link.
    pub(crate) async fn offer(&self) -> Offer {
        self.offer_named("Advertiser", "Affiliate").await
    }

    /// The same between agents of these names.
    pub(crate) async fn offer_named(&self, advertiser: &str, affiliate: &str) -> Offer {
        let (advertiser, affiliate) = (self.agent(advertiser).await, self.agent(affiliate).await);
        let program = self.program(&advertiser).await;
        self.promoted(&advertiser, affiliate, &program).await
    }

    /// Another affiliate with a link in the same program.
    pub(crate) async fn another_affiliate(&self, offer: &Offer, name: &str) -> Offer {
        let affiliate = self.agent(name).await;
        self.promoted(&offer.advertiser, affiliate, &offer.program).await
    }

    /// Makes every suggestion that waits to be made.
    pub(crate) async fn suggest_all(&self) {
        while suggest::job(self.app.clone()).await.unwrap() == Turn::Again {}
    }

    async fn promoted(&self, advertiser: &Client, affiliate: Client, program: &str) -> Offer {
        let partnership = self.joined(&affiliate, program).await;
        let link = self.link(&affiliate, &partnership).await;
        let token = link["token"].as_str().unwrap().to_owned();
        Offer {
            advertiser: advertiser.clone(),
            affiliate,
            program: program.to_owned(),
            partnership,
            link: id_of(&link),
            key: self.app.token_key().parse(token.as_bytes()).expect("a token of ours"),
            token,
        }
    }
}

fn id_of(body: &Value) -> String {
    body["id"].as_str().expect("an object with an id").to_owned()
}
