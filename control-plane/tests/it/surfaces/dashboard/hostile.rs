//! Names that try to be markup, script, another address or a formula.

use super::Browser;
use crate::harness::{Client, TestApp};
use serde_json::json;

/// Sixty-one ways to break out of a page, from the lists that testers use.
pub(crate) const PAYLOADS: [&str; 61] = [
    "<script>alert(1)</script>",
    "<script>hacked=1</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "\"><script>alert(1)</script>",
    "'><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</select><script>alert(1)</script>",
    "</option><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    "<ScRiPt>alert(1)</ScRiPt>",
    "<script/x>alert(1)</script>",
    "<script src=//evil.example></script>",
    "<iframe src=javascript:alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<select autofocus onfocus=alert(1)>",
    "<video><source onerror=alert(1)>",
    "<audio src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<marquee onstart=alert(1)>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    "<a href=\"jav&#x09;ascript:alert(1)\">x</a>",
    "<form action=javascript:alert(1)><button>x</button>",
    "<button formaction=javascript:alert(1)>x",
    "<math><mi xlink:href=javascript:alert(1)>x",
    "<svg><animate onbegin=alert(1) attributeName=x>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><a xlink:href=javascript:alert(1)><text>x",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<link rel=stylesheet href=//evil.example>",
    "<style>*{display:none}</style>",
    "<div style=background:url(//evil.example)>",
    "\" onmouseover=alert(1) x=\"",
    "' onmouseover=alert(1) x='",
    "\" autofocus onfocus=alert(1) \"",
    "` onmouseover=alert(1)",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)&#60;/script&#62;",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "+ADw-script+AD4-alert(1)+ADw-/script+AD4-",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "<%= alert(1) %>",
    "#{alert(1)}",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<x onclick=alert(1)>x",
    "<!--<img src=\"--><img src=x onerror=alert(1)//\">",
    "=HYPERLINK(\"http://evil.example\",\"x\")",
    "=cmd|'/C calc'!A0",
];

/// Characters that mean something in HTML, as a page has to write them.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[tokio::test]
async fn names_and_words_of_others_are_text() {
    let app = TestApp::start().await;
    let advertiser = app.agent("Advertiser").await;
    let affiliate = app.agent("Affiliate").await;
    for payload in PAYLOADS {
        let body = json!({"name": payload, "description": payload, "niche": "saas"});
        let program = app.program_with(&advertiser, body).await;
        let join = format!("/api/network/join/{}", program["id"].as_str().unwrap());
        affiliate.post(&join, json!({"message": payload})).await.expect(201);
    }
    let (theirs, mine) = (Browser::of(&app, &advertiser).await, Browser::of(&app, &affiliate).await);
    let mut pages = String::new();
    for number in 1..=3 {
        pages += &theirs.page(&format!("/my-dashboard/advertiser/programs?page={number}")).await;
        pages += &mine.page(&format!("/my-dashboard/affiliate/programs?page={number}")).await;
    }
    for payload in PAYLOADS {
        assert!(pages.contains(&escaped(payload)), "{payload} is shown");
        let raw = payload.contains('<') && pages.contains(payload);
        assert!(!raw, "{payload} is markup");
    }
    for (name, path) in
        [("search", "/my-dashboard/affiliate/programs?q="), ("sign-in", "/my-dashboard/sign-in?refused=")]
    {
        for payload in PAYLOADS {
            let query: String = url::form_urlencoded::byte_serialize(payload.as_bytes()).collect();
            let page = mine.get(&format!("{path}{query}")).await.text;
            assert!(!payload.contains('<') || !page.contains(payload), "{name}: {payload}");
        }
    }
}

#[tokio::test]
async fn an_exported_list_runs_nothing() {
    let app = TestApp::start().await;
    let offer = app.offer().await;
    let sale = |client: &Client, name: &str| {
        let body = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 99.5, "external_id": name});
        let client = client.clone();
        async move { client.post("/api/conversions/track", body).await.expect(201).clone() }
    };
    sale(&offer.advertiser, "=HYPERLINK(\"http://evil.example\",\"x\")").await;
    sale(&offer.advertiser, "@SUM(A1)").await;
    sale(&offer.advertiser, "plain, \"quoted\"").await;
    let browser = Browser::of(&app, &offer.advertiser).await;
    let reply = browser.get(&format!("/my-dashboard/export/conversions.csv?of={}", offer.program)).await;
    assert_eq!(reply.status, 200, "{reply}");
    assert_eq!(reply.headers["content-type"], "text/csv; charset=utf-8");
    assert!(reply.headers["content-disposition"].to_str().unwrap().starts_with("attachment"));
    for part in [
        "\"'=HYPERLINK(\"\"http://evil.example\"\",\"\"x\"\")\"",
        "\"'@SUM(A1)\"",
        "\"plain, \"\"quoted\"\"\"",
        ",99.5,19.9,\"pending\"",
    ] {
        assert!(reply.text.contains(part), "{part} in {}", reply.text);
    }
    assert_eq!(reply.text.lines().count(), 4, "a title and three rows");
    // Another's program is not ours to read.
    let other = app.agent("Other").await;
    let stranger = Browser::of(&app, &other).await;
    let path = format!("/my-dashboard/export/conversions.csv?of={}", offer.program);
    assert_eq!(stranger.get(&path).await.status, 403);
    for path in
        ["earned", "paid-to-me", "paid-by-me", "wallet", "clicks-on-my-links", "clicks-to-my-programs"]
    {
        let reply = browser.get(&format!("/my-dashboard/export/{path}.csv")).await;
        assert_eq!(
            (reply.status, reply.headers["content-type"].to_str().unwrap()),
            (200, "text/csv; charset=utf-8"),
            "{path}"
        );
    }
}
