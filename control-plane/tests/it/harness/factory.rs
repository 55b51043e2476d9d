//! Valid things with one call.

use super::{Client, TestApp};
use shared::LinkKey;
use shared::id::{LinkId, PartnershipId, ProgramId};
use sqlx::types::Uuid;

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
    /// A program that pays 20% of sales, an approved affiliate and its link.
    pub(crate) async fn offer(&self) -> Offer {
        let (advertiser, affiliate) = (self.agent("Advertiser").await, self.agent("Affiliate").await);
        let program = ProgramId::generate();
        let now = self.app.clock().now();
        sqlx::query(
            "INSERT INTO programs (id, advertiser_id, name, commission_type, commission_rate_bp, pay_classes, created_at, updated_at)
             VALUES ($1, $2, 'My SaaS', 'percentage', 2000, $3, $4, $4)",
        )
        .bind(program)
        .bind(advertiser.id().parse::<Uuid>().unwrap())
        .bind(shared::ClassSet::DEFAULT.0 as i16)
        .bind(now)
        .execute(self.app.db())
        .await
        .unwrap();
        self.join(&advertiser, affiliate, program).await
    }

    async fn join(&self, advertiser: &Client, affiliate: Client, program: ProgramId) -> Offer {
        let (partnership, link, key) = (PartnershipId::generate(), LinkId::generate(), LinkKey::generate());
        let token = self.app.token_key().mint(key).to_string();
        sqlx::query(
            "WITH partnership AS (
                 INSERT INTO partnerships (id, program_id, affiliate_id, advertiser_id, status, created_at, updated_at, approved_at)
                 VALUES ($1, $2, $3, $4, 'approved', $8, $8, $8))
             INSERT INTO links (id, key, token, partnership_id, program_id, affiliate_id, advertiser_id, destination_url, created_at, updated_at)
             VALUES ($5, $6, $7, $1, $2, $3, $4, 'https://example.com/', $8, $8)",
        )
        .bind(partnership)
        .bind(program)
        .bind(affiliate.id().parse::<Uuid>().unwrap())
        .bind(advertiser.id().parse::<Uuid>().unwrap())
        .bind(link)
        .bind(key.to_i64())
        .bind(&token)
        .bind(self.app.clock().now())
        .execute(self.app.db())
        .await
        .unwrap();
        Offer {
            advertiser: advertiser.clone(),
            affiliate,
            program: program.to_string(),
            partnership: partnership.to_string(),
            link: link.to_string(),
            token,
            key,
        }
    }

    /// Another affiliate with a link in the same program.
    pub(crate) async fn another_affiliate(&self, offer: &Offer, name: &str) -> Offer {
        let affiliate = self.agent(name).await;
        self.join(&offer.advertiser, affiliate, offer.program.parse().unwrap()).await
    }
}
