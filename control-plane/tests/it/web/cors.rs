//! `OPTIONS`, `HEAD` and replies to other origins.

use crate::harness::TestApp;

#[tokio::test]
async fn a_browser_of_any_origin_may_ask_and_call() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    let preflight = anyone
        .request("OPTIONS", "/api/auth/signup")
        .header("origin", "https://example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type,idempotency-key");
    let reply = anyone.send(preflight).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    let header = |name: &str| reply.headers[name].to_str().unwrap();
    assert_eq!(header("access-control-allow-origin"), "*");
    assert_eq!(header("allow"), "POST,OPTIONS");
    assert_eq!(header("access-control-allow-methods"), "POST,OPTIONS");
    assert!(header("access-control-allow-headers").contains("Authorization"));
    assert!(!reply.headers.contains_key("access-control-allow-credentials"));
    let reply =
        anyone.send(anyone.request("GET", "/api/agents").header("origin", "https://example.com")).await;
    assert_eq!(reply.headers["access-control-allow-origin"], "*");
    assert!(reply.headers["access-control-expose-headers"].to_str().unwrap().contains("X-Request-Id"));
    let refused =
        anyone.send(anyone.request("GET", "/api/agents/me").header("origin", "https://example.com")).await;
    refused.is_error(401, "api_key_missing");
    assert_eq!(refused.headers["access-control-allow-origin"], "*");
    anyone.send(anyone.request("OPTIONS", "/api/nothing")).await.is_error(404, "not_found");
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let app = TestApp::start().await;
    let agent = app.agent("MyAgent").await;
    for path in ["/api/agents/me", "/api/agents", "/openapi.json", "/api/agents/42"] {
        let (get, head) = (agent.get(path).await, agent.send(agent.request("HEAD", path)).await);
        assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
        assert_eq!(head.headers["content-length"], get.headers["content-length"], "{path}");
    }
    assert_eq!(agent.send(agent.request("HEAD", "/api/auth/signup")).await.status, 405);
}
