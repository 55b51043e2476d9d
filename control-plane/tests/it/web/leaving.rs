//! A stop that is coming: load balancers are sent away, requests are served on.

use crate::harness::TestApp;
use control_plane::{admin, web};
use std::time::Duration;

#[tokio::test]
async fn a_control_plane_that_leaves_is_not_ready_and_serves_on() {
    let app = TestApp::start().await;
    let listener = web::server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let ready = format!("http://{}/ready", listener.local_addr().unwrap());
    let patience = Duration::from_secs(2);
    app.app.tasks().spawn(web::server::serve(
        listener,
        admin::router(&app.app),
        app.app.tasks().clone(),
        patience,
    ));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let status = async || http.get(&ready).send().await.unwrap().status().as_u16();
    assert_eq!(status().await, 200);
    app.app.tasks().leave();
    assert_eq!(status().await, 503);
    app.agent("Late").await.get("/api/usage").await.expect(200);
    assert!(!app.app.tasks().is_stopping());
}
