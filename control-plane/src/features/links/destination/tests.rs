//! A corpus of destinations, and properties of all.

use super::*;
use proptest::prelude::*;

const OWN: [&str; 3] = ["https://go.affiliate.test", "https://api.affiliate.test", "http://127.0.0.1:8080"];

fn stored(given: &str) -> Option<String> {
    parse(given, &OWN).ok().map(|destination| destination.url)
}

#[test]
fn what_holds_is_stored_as_the_standard_writes_it() {
    let check = |given: &str, url: &str| assert_eq!(stored(given).as_deref(), Some(url), "{given}");
    check("https://example.com", "https://example.com/");
    check(" HTTPS://Example.COM:443/a/../b?x=1#y ", "https://example.com/b?x=1#y");
    check("http://example.com:8080/ü?q=ä b", "http://example.com:8080/%C3%BC?q=%C3%A4%20b");
    check("https://bücher.example/", "https://xn--bcher-kva.example/");
    check("https:example.com/x", "https://example.com/x");
    check("https:\\\\example.com\\x", "https://example.com/x");
    check("http://127.0.0.1:9000/shop", "http://127.0.0.1:9000/shop");
    check("http://0x7f000001:9000/", "http://127.0.0.1:9000/");
    check("http://[::1]/", "http://[::1]/");
    check("https://example.com/%zz?%", "https://example.com/%zz?%");
    check(
        "https://example.com/?next=https://user@other.test/",
        "https://example.com/?next=https://user@other.test/",
    );
    check("https://example.com/@handle", "https://example.com/@handle");
}

#[test]
fn macros_survive_in_path_query_and_fragment() {
    let check = |given: &str, url: &str| assert_eq!(stored(given).as_deref(), Some(url), "{given}");
    check(
        "https://example.com/{sub1}/x?c={click_id}#{token}",
        "https://example.com/{sub1}/x?c={click_id}#{token}",
    );
    check("https://example.com/{other}", "https://example.com/%7Bother%7D");
    check("https://example.com/%7Bsub2%7D", "https://example.com/{sub2}");
    assert_eq!(stored("https://{sub1}.example.com/"), None);
    assert_eq!(stored("{token}://example.com/"), None);
    assert_eq!(stored("https://example.com:{sub1}/"), None);
}

#[test]
fn what_would_mislead_or_break_is_refused() {
    for bad in [
        "",
        " ",
        "example.com",
        "/pricing",
        "//example.com/x",
        "/\\example.com",
        "?x",
        "#x",
        "https://",
        "https:///",
        "http://?x",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/passwd",
        "blob:https://example.com/x",
        "intent://x#Intent;end",
        "ftp://example.com/",
        "ws://example.com/",
        "mailto:a@example.com",
        "tel:+1",
        "about:blank",
        "myapp://open",
        "market://details",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://:pass@example.com/",
        "https://@example.com/",
        "https://example.com@evil.test/",
        "https:/\\user@example.com/",
        "https:user@example.com",
        "https://%75ser@example.com/",
        "https://example.com/\r\nSet-Cookie: x=1",
        "https://example.com/\n",
        "https://exa\tmple.com/",
        "https://example.com/\0",
        "https://example.com/\u{7f}",
        "https://example.com/\u{202e}gnp.exe",
        "https://example.com/\u{200b}",
        "https://exa mple.com/",
        "https://exa<mple.com/",
        "https://example.com:99999/",
        "https://example.com:x/",
        "https://[::1/",
        "https://1.2.3.4.5/",
        "https://256.256.256.256/",
        "https://%00.com/",
        "https://ex%41mple%2f.com/",
        "https://xn--a/",
        "https://go.affiliate.test/api/track/x",
        "http://go.affiliate.test:1234/",
        "https://GO.affiliate.test./",
        "https://api.affiliate.test/api/agents/me",
        "http://127.0.0.1:8080/api/track/x",
        "http://0x7f.1:8080/",
    ] {
        // Line breaks around an address are spaces to trim; inside they are refused.
        if bad == "https://example.com/\n" {
            assert_eq!(stored(bad).as_deref(), Some("https://example.com/"));
            continue;
        }
        assert_eq!(stored(bad), None, "{bad:?}");
    }
    let long = format!("https://example.com/{}", "x".repeat(LEN_MAX));
    assert_eq!(stored(&long), None);
    let escaped = format!("https://example.com/{}", "ü".repeat(500));
    assert_eq!(stored(&escaped), None, "six bytes for each letter");
    let longest = format!("https://example.com/{}", "x".repeat(LEN_MAX - 20));
    assert_eq!(stored(&longest).map(|url| url.len()), Some(LEN_MAX));
}

proptest! {
    #[test]
    fn nothing_panics_and_what_is_stored_reads_the_same(
        given in "(https?:)?[/\\\\]{0,3}[a-zA-Z0-9.@:%{}\\[\\]é\u{202e}\r\n-]{0,30}[/?#]?[ -~é\u{0}-\u{1f}]{0,60}",
    ) {
        if let Ok(destination) = parse(&given, &OWN) {
            prop_assert!(destination.url.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            prop_assert!(destination.url.len() <= LEN_MAX);
            prop_assert!(http::HeaderValue::from_str(&destination.url).is_ok());
            prop_assert_eq!(&parse(&destination.url, &OWN).unwrap(), &destination, "stable");
            let again = Url::parse(&destination.url).unwrap();
            prop_assert_eq!(hosts::host_of(&again), destination.host);
            prop_assert!(again.username().is_empty() && again.password().is_none());
        }
    }

    #[test]
    fn no_text_panics(given in any::<String>()) {
        drop(parse(&given, &OWN));
    }
}
