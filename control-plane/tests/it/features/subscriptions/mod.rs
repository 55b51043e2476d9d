//! Subscriptions.

mod renewal;
mod start;

use crate::harness::TestApp;
use control_plane::features::subscriptions::renewal::renew_next;

/// Runs the renewal job until nothing is due; gives how many it handled.
async fn renew(app: &TestApp) -> usize {
    let mut handled = 0;
    loop {
        let mut tx = app.app.begin().await.unwrap();
        if renew_next(&mut tx, app.app.clock()).await.unwrap().is_none() {
            return handled;
        }
        tx.commit().await.unwrap();
        handled += 1;
    }
}
