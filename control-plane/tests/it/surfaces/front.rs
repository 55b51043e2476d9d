//! `/`: what it says to whom.

use crate::harness::TestApp;

#[tokio::test]
async fn the_front_page_speaks_to_people_and_to_agents() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    let page = anyone.get("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers["vary"], "Accept");
    assert!(page.headers["link"].to_str().unwrap().contains("</llms.txt>"));
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    for part in ["/api/quickstart", app.origin(), "href=\"/llms.txt\"", "/mcp", "$19.80", "10,000", "$0.002"]
    {
        assert!(page.text.contains(part), "{part}");
    }
    // Every address on it is there.
    let addresses = page.text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    for address in addresses.filter(|address| address.starts_with('/')) {
        let status = anyone.get(&address.replace("&amp;", "&")).await.status;
        assert!([200, 303].contains(&status), "{address}: {status}");
    }
    let asking = |accept: &str| anyone.send(anyone.request("GET", "/").header("accept", accept));
    let text = asking("text/markdown").await;
    assert_eq!(text.text, anyone.get("/llms.txt").await.text);
    let index = asking("application/json").await;
    assert_eq!(index.expect(200)["mcp"], format!("{}/mcp", app.origin()));
}

#[tokio::test]
async fn files_are_kept_for_good_under_addresses_that_change_with_them() {
    let app = TestApp::start().await;
    let page = app.anyone().get("/").await.text;
    let style = page.split("href=\"").find(|rest| rest.starts_with("/site/style.css?v=")).unwrap();
    let style = app.anyone().get(style.split('"').next().unwrap()).await;
    assert_eq!(style.headers["content-type"], "text/css; charset=utf-8");
    assert!(style.headers["cache-control"].to_str().unwrap().contains("immutable"));
    for (path, kind) in
        [("/site/dashboard.js", "text/javascript; charset=utf-8"), ("/favicon.svg", "image/svg+xml")]
    {
        let reply = app.anyone().get(path).await;
        assert_eq!((reply.status, reply.headers["content-type"].to_str().unwrap()), (200, kind));
    }
}
