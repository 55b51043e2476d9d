//! Claiming a domain, and proving it by the DNS.

use super::{activate, app_with, claim, get, look, record, set_records};
use crate::harness::{NameServer, TestApp};
use chrono::TimeDelta;
use serde_json::json;

#[tokio::test]
async fn a_claim_says_which_records_to_set_and_is_proven_by_them() {
    let names = NameServer::start().await;
    let app = app_with(names.addr).await;
    let (owner, stranger) = (app.pro("Owner").await, app.pro("Stranger").await);
    let made = owner.post("/api/domains", json!({"domain": " Go.Example.COM. "})).await;
    let made = made.expect(201).clone();
    let id = made["id"].as_str().unwrap();
    assert_eq!((&made["domain"], &made["status"]), (&json!("go.example.com"), &json!("pending_dns")));
    assert_eq!(made["records"][0]["name"], "_affiliateos.go.example.com");
    assert_eq!(
        (&made["records"][1]["type"], &made["records"][1]["name"], &made["records"][1]["value"]),
        (&json!("CNAME"), &json!("go.example.com"), &json!("edge.affiliateos.example"))
    );
    stranger.get(&format!("/api/domains/{id}")).await.is_error(404, "not_found");
    // Nothing there, another account's value, no address: each is told apart.
    look(&app).await;
    let seen = get(&owner, id).await;
    assert_eq!(seen["status"], "pending_dns");
    assert!(
        seen["problem"].as_str().unwrap().contains("no TXT record _affiliateos.go.example.com"),
        "{seen}"
    );
    let other = stranger.post("/api/domains", json!({"domain": "go.example.com"})).await;
    set_records(&names, other.expect(201));
    names.no_text("go.example.com");
    app.clock.advance(TimeDelta::minutes(10));
    look(&app).await;
    assert!(get(&owner, id).await["problem"].as_str().unwrap().contains("another value"));
    // The stranger has set its own record, and so it is the stranger's: a claim alone holds nothing.
    let others = other.body["id"].as_str().unwrap();
    assert_eq!(get(&stranger, others).await["status"], "issuing");
    owner.post("/api/domains", json!({"domain": "go.example.com"})).await.is_error(409, "domain_taken");
    // Its real owner takes it over by the DNS when the stranger lets go.
    set_records(&names, &made);
    app.clock.advance(TimeDelta::minutes(1));
    let asked = owner.post(&format!("/api/domains/{id}/verify"), json!({})).await;
    assert!(asked.expect(200)["problem"].as_str().unwrap().contains("Another account"), "{asked}");
    stranger.delete(&format!("/api/domains/{others}")).await.expect(200);
    app.clock.advance(TimeDelta::minutes(1));
    let asked = owner.post(&format!("/api/domains/{id}/verify"), json!({})).await;
    let shown = asked.expect(200);
    assert_eq!((&shown["status"], &shown["problem"]), (&json!("issuing"), &json!(null)), "{shown}");
    assert!(shown["verified_at"].is_string());
}

#[tokio::test]
async fn an_address_is_needed_and_an_outage_is_no_answer() {
    let names = NameServer::start().await;
    let app = app_with(names.addr).await;
    let owner = app.pro("Owner").await;
    let id = claim(&owner, "go.example.com").await;
    let shown = get(&owner, &id).await;
    let text = &shown["records"][0];
    names.set_text(text["name"].as_str().unwrap(), text["value"].as_str().unwrap());
    look(&app).await;
    assert!(get(&owner, &id).await["problem"].as_str().unwrap().contains("leads nowhere"));
    names.set_failing("_affiliateos.go.example.com", true);
    app.clock.advance(TimeDelta::minutes(10));
    look(&app).await;
    assert!(get(&owner, &id).await["problem"].as_str().unwrap().contains("do not answer"));
    names.set_failing("_affiliateos.go.example.com", false);
    names.set_address("go.example.com");
    // Checks by hand wait for nothing, but the DNS is not asked twice within seconds.
    let path = format!("/api/domains/{id}/verify");
    let before = names.asked();
    for _ in 0..3 {
        owner.post(&path, json!({})).await.expect(200);
    }
    assert_eq!(names.asked(), before, "looked at a moment ago");
    app.clock.advance(TimeDelta::seconds(6));
    assert_eq!(owner.post(&path, json!({})).await.expect(200)["status"], "issuing");
}

#[tokio::test]
async fn claims_need_pro_and_are_bounded_and_checked() {
    let app = TestApp::start().await;
    let (free, pro) = (app.agent("Free").await, app.pro("Pro").await);
    let body = json!({"domain": "go.example.com"});
    assert!(
        free.post("/api/domains", body.clone()).await.is_error(403, "feature_requires_pro").contains("POST")
    );
    for bad in [
        "",
        "com",
        "127.0.0.1",
        "https://a.test",
        "a_b.example.com",
        "edge.affiliateos.example",
        "x.edge.affiliateos.example",
    ] {
        let refused = pro.post("/api/domains", json!({"domain": bad})).await;
        refused.is_error(400, "invalid_value");
        assert_eq!(refused.body["field"], "domain", "{bad}");
    }
    pro.post("/api/domains", json!({})).await.is_error(400, "missing_field");
    let first = claim(&pro, "go.example.com").await;
    let again = pro.post("/api/domains", body).await;
    again.is_error(409, "domain_taken");
    assert_eq!(again.body["domain_id"], first);
    for number in 1..20 {
        claim(&pro, &format!("a{number}.example.com")).await;
    }
    pro.post("/api/domains", json!({"domain": "one.more.example"})).await.is_error(409, "invalid_state");
    let list = pro.get("/api/domains?per_page=2").await;
    let list = list.expect(200);
    assert_eq!(list["pagination"]["total"], 20);
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    pro.delete(&format!("/api/domains/{first}")).await.expect(200);
    pro.get(&format!("/api/domains/{first}")).await.is_error(404, "not_found");
    claim(&pro, "go.example.com").await;
}

#[tokio::test]
async fn a_deployment_without_an_acme_server_says_so() {
    let app = TestApp::start_with(|config| config.domains.acme = None).await;
    let pro = app.pro("Pro").await;
    let refused = pro.post("/api/domains", json!({"domain": "go.example.com"})).await;
    assert!(refused.is_error(409, "domains_unavailable").contains("AOS_ACME_DIRECTORY"));
}

#[tokio::test]
async fn a_claim_that_nobody_proves_ends_and_can_be_taken_up_again() {
    let names = NameServer::start().await;
    let app = app_with(names.addr).await;
    let owner = app.pro("Owner").await;
    let id = claim(&owner, "go.example.com").await;
    look(&app).await;
    app.clock.advance(TimeDelta::days(31));
    look(&app).await;
    let shown = get(&owner, &id).await;
    assert_eq!((&shown["status"], &shown["next_check_at"]), (&json!("failed"), &json!(null)));
    let asked = names.asked();
    app.clock.advance(TimeDelta::days(1));
    look(&app).await;
    assert_eq!(names.asked(), asked, "nobody looks any more");
    set_records(&names, &shown);
    let shown = owner.post(&format!("/api/domains/{id}/verify"), json!({})).await;
    assert_eq!(shown.expect(200)["status"], "issuing");
}

#[tokio::test]
async fn domains_outlive_pro_by_thirty_days_and_come_back_with_it() {
    let app = TestApp::start().await;
    let owner = app.pro("Owner").await;
    let id = activate(&app, &owner, "go.example.com").await;
    let plans = async || {
        control_plane::features::domains::keeper::plans_job(app.app.clone()).await.unwrap();
        super::publish(&app).await;
    };
    plans().await;
    assert_eq!(record(&app, "go.example.com").await.map(|record| record.removed), Some(false));
    app.set_tier(&owner, "free").await;
    plans().await;
    let shown = get(&owner, &id).await;
    assert_eq!(shown["status"], "active");
    assert!(shown["served_until"].as_str().unwrap().starts_with("2026-07-15"), "{shown}");
    app.clock.advance(TimeDelta::days(29));
    plans().await;
    assert_eq!(record(&app, "go.example.com").await.map(|record| record.removed), Some(false));
    app.clock.advance(TimeDelta::days(1));
    plans().await;
    let shown = get(&owner, &id).await;
    assert_eq!(shown["status"], "failed");
    assert!(shown["fix"].as_str().unwrap().contains("/api/subscription/pro"));
    let gone = record(&app, "go.example.com").await.unwrap();
    assert!(gone.removed && gone.certificate.is_none());
    app.set_tier(&owner, "pro").await;
    plans().await;
    let shown = get(&owner, &id).await;
    assert_eq!((&shown["status"], &shown["served_until"]), (&json!("active"), &json!(null)));
    let back = record(&app, "go.example.com").await.unwrap();
    assert!(!back.removed && back.certificate.is_some() && back.version > gone.version);
}

#[tokio::test]
async fn links_are_on_active_domains_of_either_side_alone() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let links = format!("/api/partnerships/{}/links", offer.partnership);
    let link = |domain: &str| json!({"destination_url": "https://example.com/", "custom_domain": domain});
    app.set_tier(&offer.affiliate, "pro").await;
    app.set_tier(&offer.advertiser, "pro").await;
    let stranger = app.pro("Stranger").await;
    activate(&app, &stranger, "strange.example").await;
    let refused = offer.affiliate.post(&links, link("strange.example")).await;
    assert!(refused.is_error(400, "invalid_value").contains("POST /api/domains"));
    let own = claim(&offer.affiliate, "own.example").await;
    let refused = offer.affiliate.post(&links, link("own.example")).await;
    assert!(refused.is_error(409, "invalid_state").contains("active"));
    offer.affiliate.delete(&format!("/api/domains/{own}")).await.expect(200);
    let own = activate(&app, &offer.affiliate, "own.example").await;
    activate(&app, &offer.advertiser, "brand.example").await;
    for domain in ["Own.Example.", "brand.example"] {
        let made = offer.affiliate.post(&links, link(domain)).await;
        let made = made.expect(201);
        let host = domain.to_lowercase();
        let url = format!("https://{}/{}", host.trim_end_matches('.'), made["token"].as_str().unwrap());
        assert_eq!(made["tracking_url"], url);
    }
    // A removed domain leaves its links on ours.
    let removed = offer.affiliate.delete(&format!("/api/domains/{own}")).await;
    assert_eq!(removed.expect(200)["links_moved"], 1);
    let left = offer.affiliate.get(&links).await;
    let on: Vec<_> =
        left.expect(200)["data"].as_array().unwrap().iter().map(|link| &link["custom_domain"]).collect();
    assert!(on.contains(&&json!("brand.example")) && !on.contains(&&json!("own.example")), "{on:?}");
}
