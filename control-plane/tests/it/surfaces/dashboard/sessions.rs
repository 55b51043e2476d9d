//! Sessions: how they begin, what they are worth, when they end.

use super::{Browser, cookie_of};
use crate::harness::TestApp;
use chrono::TimeDelta;
use serde_json::json;

const HOME: &str = "/my-dashboard";

#[tokio::test]
async fn a_key_is_exchanged_for_a_session_and_shown_nowhere() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let reply = app.anyone().get(&format!("{HOME}?key={}", agent.key())).await;
    assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (303, HOME));
    assert_eq!(reply.headers["referrer-policy"], "no-referrer");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Strict", "; Max-Age=43200"] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Secure"), "over plain HTTP it would not come back");
    let browser = Browser::of(&app, &agent).await;
    let page = browser.page(HOME).await;
    assert!(page.contains("<b>Agent</b>") && !page.contains(agent.key()) && !page.contains("aos_live_"));
    // Not even its digest or the cookie is in the page.
    assert!(!page.contains(cookie_of(&reply).split('=').nth(1).unwrap()));
}

#[tokio::test]
async fn on_https_the_cookie_is_bound_to_the_host() {
    let app =
        TestApp::start_with(|config| config.api_origin = "https://affiliateos.example".to_owned()).await;
    let agent = app.agent("Agent").await;
    let reply = app.anyone().get(&format!("{HOME}?key={}", agent.key())).await;
    let cookie = reply.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-aos_session=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(Browser::of(&app, &agent).await.page(HOME).await.contains("<b>Agent</b>"));
}

#[tokio::test]
async fn nobody_gets_in_without_a_live_agent_key() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let publisher =
        agent.post(&format!("/api/agents/{}/keys", agent.id()), json!({"kind": "publisher"})).await;
    let publisher = publisher.expect(201)["key"].as_str().unwrap().to_owned();
    for key in ["", "x", "aos_live_0", &publisher, &agent.key().replace("aos_live_", "aos_live_0")] {
        let reply = app.anyone().get(&format!("{HOME}?key={key}")).await;
        let at = reply.headers["location"].to_str().unwrap();
        assert_eq!((reply.status, at), (303, "/my-dashboard/sign-in?refused=key"), "{key}");
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    // However odd the address, no page is shown under it.
    for odd in [format!("key={0}&key={0}", agent.key()), format!("days=%00&key={}", agent.key())] {
        assert_eq!(app.anyone().get(&format!("{HOME}?{odd}")).await.headers["location"], HOME, "{odd}");
    }
    let form = app.anyone().get("/my-dashboard/sign-in?refused=key").await;
    assert!(form.status == 200 && form.text.contains("That key was not accepted"));
    for path in [HOME, "/my-dashboard/affiliate", "/my-dashboard/advertiser"] {
        let reply = app.anyone().get(path).await;
        assert_eq!(reply.status, 303, "{path}");
        // Nor with a cookie that was never given out.
        let request =
            app.anyone().request("GET", path).header("cookie", format!("aos_session={}", "ab".repeat(32)));
        assert_eq!(app.anyone().send(request).await.status, 303, "{path}");
        // A bearer key opens the API, not the dashboard.
        assert_eq!(agent.get(path).await.status, 303, "{path}");
    }
    // A session opens the dashboard, not the API.
    let browser = Browser::of(&app, &agent).await;
    assert_eq!(browser.get("/api/agents/me").await.status, 401);
}

#[tokio::test]
async fn the_form_signs_in_and_out() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let anyone = app.anyone();
    let form = |site: &str| {
        let request = anyone.request("POST", "/my-dashboard/sign-in").header("sec-fetch-site", site);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(format!("key={}", agent.key()))
    };
    assert_eq!(anyone.send(form("cross-site")).await.status, 403);
    let reply = anyone.send(form("same-origin")).await;
    assert_eq!((reply.status, reply.headers["location"].to_str().unwrap()), (303, HOME));
    let browser = Browser { anyone: app.anyone(), cookie: cookie_of(&reply) };
    browser.page(HOME).await;
    let reply = browser.send("/my-dashboard/sign-out", &[]).await;
    assert_eq!(reply.status, 303, "{reply}");
    assert!(reply.headers["set-cookie"].to_str().unwrap().contains("Max-Age=0"));
    // The cookie is worth nothing any more, for whoever has a copy of it.
    assert_eq!(browser.get(HOME).await.headers["location"], "/my-dashboard/sign-in");
}

#[tokio::test]
async fn forms_need_the_token_of_their_session() {
    let app = TestApp::start().await;
    let (mine, other) = (app.agent("Mine").await, app.agent("Other").await);
    let (mine, other) = (Browser::of(&app, &mine).await, Browser::of(&app, &other).await);
    let page = other.page(HOME).await;
    let foreign =
        page.split("name=\"token\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    for token in ["", "0", foreign] {
        let reply = mine.send_with(token, "/my-dashboard/sign-out", &[]).await;
        assert_eq!(reply.status, 403, "{token}");
        assert!(reply.text.contains("does not belong to your session"));
    }
    mine.page(HOME).await;
    assert_eq!(mine.send("/my-dashboard/sign-out", &[]).await.status, 303);
}

#[tokio::test]
async fn a_session_ends_with_its_key_with_its_time_and_with_its_account() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let browser = Browser::of(&app, &agent).await;
    app.clock.advance(TimeDelta::hours(12) - TimeDelta::seconds(1));
    browser.page(HOME).await;
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(browser.get(HOME).await.status, 303, "twelve hours are over");

    let browser = Browser::of(&app, &agent).await;
    let rotated = agent.post(&format!("/api/agents/{}/rotate-key", agent.id()), json!({})).await;
    let agent = app.with_key(rotated.expect(200)["api_key"].as_str().unwrap());
    assert_eq!(browser.get(HOME).await.status, 303, "the key was replaced");

    let browser = Browser::of(&app, &agent).await;
    browser.page(HOME).await;
    let me = agent.get("/api/agents/me").await;
    agent.delete(&format!("/api/agents/{}", me.expect(200)["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(browser.get(HOME).await.status, 303, "the account is gone");
}

#[tokio::test]
async fn a_key_has_ten_sessions_at_most() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let mut browsers = Vec::new();
    for _ in 0..11 {
        browsers.push(Browser::of(&app, &agent).await);
        app.clock.advance(TimeDelta::seconds(1));
    }
    let mut open = Vec::new();
    for browser in &browsers {
        open.push(browser.get(HOME).await.status == 200);
    }
    assert_eq!(open.iter().filter(|open| **open).count(), 10);
    assert!(!open[0], "the oldest gave way");
    app.clock.advance(TimeDelta::hours(12));
    Browser::of(&app, &agent).await;
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM dashboard_sessions").fetch_one(app.app.db()).await.unwrap();
    assert_eq!(rows, 1, "expired ones go when another begins");
}

#[tokio::test]
async fn a_link_from_another_site_comes_in_by_a_second_step() {
    let app = TestApp::start().await;
    let request = app.anyone().request("GET", HOME).header("sec-fetch-site", "cross-site");
    let reply = app.anyone().send(request).await;
    assert!(reply.status == 200 && reply.text.contains("http-equiv=\"refresh\""), "{reply}");
    let request = app.anyone().request("GET", HOME).header("sec-fetch-site", "same-origin");
    assert_eq!(app.anyone().send(request).await.headers["location"], "/my-dashboard/sign-in");
}

#[tokio::test]
async fn every_page_has_the_policy_that_lets_nothing_in() {
    let app = TestApp::start().await;
    let agent = app.agent("Agent").await;
    let browser = Browser::of(&app, &agent).await;
    for path in [HOME, "/my-dashboard/affiliate", "/my-dashboard/advertiser", "/my-dashboard/sign-in"] {
        let reply = browser.get(path).await;
        let policy = reply.headers["content-security-policy"].to_str().unwrap();
        for rule in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(rule), "{path}: {rule}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(reply.headers["x-frame-options"], "DENY");
        assert_eq!(reply.headers["referrer-policy"], "no-referrer");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert!(!reply.text.contains(" style=") && !reply.text.contains(" onclick="), "{path}");
        assert!(!reply.headers.contains_key("access-control-allow-credentials"));
    }
}
