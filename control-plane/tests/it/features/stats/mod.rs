//! Figures of an agent: right, its own, and quick.

mod digest;
mod figures;
mod plans;
mod referral;

use crate::harness::{Offer, SHARDS, TestApp, TestSpool};
use control_plane::features::clicks::fold::fold;
use control_plane::workers::drainer::Drainer;
use shared::Click;

/// An edge's spool for the clicks of an offer's link.
pub(crate) async fn spool_of(app: &TestApp, offer: &Offer) -> TestSpool {
    let number = app.number(&offer.advertiser).await;
    TestSpool { link: offer.key, ..app.spool(number as u32) }
}

/// Stores these clicks.
pub(crate) async fn drain(spool: &TestSpool, clicks: &[Click<'_>]) {
    spool.ship(&spool.frame_of(spool.header(0, 0), clicks)).await;
    Drainer::new(&spool.app).unwrap().step(SHARDS).await.unwrap();
}

/// Folds all that waits.
pub(crate) async fn fold_all(app: &TestApp) {
    let mut conn = app.app.db_worker().acquire().await.unwrap();
    while fold(&mut conn, app.now()).await.unwrap().rows > 0 {}
}
