//! A click is answered with its destination, byte for byte, and is in the stream afterwards.

use crate::harness::{TestEdge, connect, eventually, link, path, read_reply};
use shared::{LinkRecord, LinkStatus};
use std::io::Write;

#[test]
fn a_click_is_redirected_and_recorded() {
    let edge = TestEdge::start();
    let destination = "https://shop.example/p/1?utm=%7e&&x#top";
    edge.publisher.publish(&link(1, destination));
    let reply = edge.get_with(
        &format!("{}?sub1=news&sub3=a%20b&foo=bar", path(1)),
        &[
            "User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
            "Referer: https://Blog.Example/post?secret=1",
        ],
    );
    assert_eq!(reply.status, 302);
    assert_eq!(reply.headers("location"), [destination]);
    assert_eq!(reply.headers("cache-control"), ["private, no-store"]);
    assert_eq!(reply.headers("content-length"), ["0"]);
    assert_eq!(reply.body, "");
    let clicks = edge.shipped(1);
    let click = &clicks[0];
    assert_eq!((click.link.0, click.advertiser, click.class, click.billable), (1, 7, "human", true));
    assert_ne!(click.visitor, 0);
    let notes = [(1, "news".to_owned()), (3, "a b".to_owned()), (6, "blog.example".to_owned())];
    assert_eq!(click.notes, notes);
}

#[test]
fn keep_alive_serves_many_clicks_on_one_connection() {
    let edge = TestEdge::start();
    edge.publisher.publish(&LinkRecord { dedup_seconds: 0, ..link(1, "https://shop.example/") });
    let mut stream = connect(edge.edge.addr());
    for _ in 0..50 {
        write!(stream, "GET {} HTTP/1.1\r\nHost: t.example\r\n\r\n", path(1)).unwrap();
        let reply = read_reply(&mut stream);
        assert_eq!((reply.status, reply.location()), (302, "https://shop.example/"));
    }
    assert_eq!(edge.shipped(50).len(), 50);
}

#[test]
fn a_repeat_by_one_visitor_is_a_duplicate_and_another_visitor_is_not() {
    let edge = TestEdge::start();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.get(&path(1));
    edge.get(&path(1));
    edge.get_with(&path(1), &["User-Agent: curl/8.5.0"]);
    let mut classes: Vec<_> = edge.shipped(3).iter().map(|click| (click.class, click.billable)).collect();
    classes.sort_unstable();
    assert_eq!(classes, [("duplicate", false), ("human", true), ("tool", true)]);
}

#[test]
fn classes_the_program_does_not_pay_for_are_kept_but_not_billable() {
    let edge = TestEdge::start();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    edge.get_with(&path(1), &["User-Agent: Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"]);
    edge.get_with(
        &path(1),
        &["User-Agent: Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"],
    );
    edge.get_with(
        &path(1),
        &["User-Agent: Mozilla/5.0 (compatible; ChatGPT-User/1.0; +https://openai.com/bot)"],
    );
    let mut classes: Vec<_> = edge.shipped(3).iter().map(|click| (click.class, click.billable)).collect();
    classes.sort_unstable();
    assert_eq!(classes, [("agent", true), ("crawler", false), ("preview", false)]);
}

#[test]
fn the_click_id_of_the_redirect_is_the_place_of_the_click() {
    let edge = TestEdge::start();
    let base = link(1, "https://shop.example/a?t={token}&s={sub1}#end");
    edge.publisher.publish(&LinkRecord { click_id_param: "cid", ..base });
    let reply = edge.get(&format!("{}?sub1=x%26cid=mine&cid=mine", path(1)));
    let location = reply.location();
    let token = path(1).rsplit('/').next().unwrap().to_owned();
    let id = location
        .strip_prefix(&format!("https://shop.example/a?t={token}&s=x%26cid%3Dmine&cid="))
        .and_then(|rest| rest.strip_suffix("#end"))
        .unwrap_or_else(|| panic!("{location}"));
    let secret = shared::Secret::parse(crate::harness::SECRET).unwrap();
    let parsed = shared::click_id::ClickIdKey::new(&secret).parse(id).unwrap();
    assert_eq!((parsed.link.0, parsed.seq), (1, 0));
}

#[test]
fn head_answers_like_get_and_records_nothing() {
    let edge = TestEdge::start();
    edge.wait_ready();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    let reply = edge.send("HEAD", &path(1), &[]);
    assert_eq!((reply.status, reply.location(), reply.body.as_str()), (302, "https://shop.example/", ""));
    edge.get(&path(1));
    assert_eq!(edge.shipped(1).len(), 1);
    assert_eq!(edge.metric("edge_responses_total{answer=\"redirect_unrecorded\"}"), 1);
}

#[test]
fn a_prefetch_is_put_off_and_records_nothing() {
    let edge = TestEdge::start();
    edge.publisher.publish(&link(1, "https://shop.example/"));
    for header in ["Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch"] {
        let reply = edge.get_with(&path(1), &[header]);
        assert_eq!(reply.status, 503, "{header}");
        assert_eq!(reply.headers("cache-control"), ["private, no-store"]);
    }
    edge.get(&path(1));
    assert_eq!(edge.shipped(1).len(), 1);
}

#[test]
fn untracked_links_redirect_uncounted_and_gone_ones_answer_410() {
    let edge = TestEdge::start();
    edge.publisher.publish(&LinkRecord { status: LinkStatus::Untracked, ..link(1, "https://shop.example/") });
    edge.publisher.publish(&LinkRecord { status: LinkStatus::Gone, ..link(2, "https://shop.example/") });
    edge.publisher.publish(&link(3, "https://shop.example/3"));
    assert_eq!(edge.get(&path(1)).location(), "https://shop.example/");
    let gone = edge.get(&path(2));
    assert_eq!((gone.status, gone.headers("content-type")[0]), (410, "text/html; charset=utf-8"));
    assert!(gone.body.contains("<h1>"), "{}", gone.body);
    edge.get(&path(3));
    let links: Vec<_> = edge.shipped(1).iter().map(|click| click.link.0).collect();
    assert_eq!(links, [3]);
}

#[test]
fn other_paths_and_methods_say_so_in_the_shape_asked_for() {
    let edge = TestEdge::start();
    let page = edge.get("/nowhere");
    assert_eq!((page.status, page.headers("content-type")[0]), (404, "text/html; charset=utf-8"));
    let json = edge.get_with("/api/track/0000000000000000", &["Accept: application/json"]);
    assert_eq!((json.status, json.headers("content-type")[0]), (404, "application/json"));
    let body: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(body["error"], "not_found");
    assert_eq!(body["docs"], "http://127.0.0.1:8081/docs");
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["docs", "error", "fix", "message"]);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let reply = edge.send(method, &path(1), &["Accept: application/json"]);
        assert_eq!((reply.status, reply.headers("allow")), (405, vec!["GET, HEAD"]), "{method}");
        assert!(reply.body.contains("method_not_allowed"));
    }
}

#[test]
fn visitors_behind_a_trusted_proxy_are_told_apart() {
    let edge = TestEdge::start_with(&["--trusted-proxies", "127.0.0.0/8"]);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    for client in ["203.0.113.1", "203.0.113.2", "203.0.113.1"] {
        edge.get_with(&path(1), &[&format!("X-Forwarded-For: 198.51.100.9, {client}")]);
    }
    let classes: Vec<_> = edge.shipped(3).iter().map(|click| click.class).collect();
    assert_eq!(classes.iter().filter(|class| **class == "duplicate").count(), 1);
}

#[test]
fn strict_answers_wait_for_the_disk() {
    let edge = TestEdge::start_with(&["--spool-strict", "true", "--spool-sync-ms", "60000"]);
    edge.publisher.publish(&link(1, "https://shop.example/"));
    assert_eq!(edge.get(&path(1)).status, 302);
    eventually("counted", || edge.metric("edge_responses_total{answer=\"redirect\"}") == 1);
}
