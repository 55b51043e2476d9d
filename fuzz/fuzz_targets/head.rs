//! A request's head: nothing panics, and what is sound has one host, no coding and a target of its own host.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{Secret, TokenKey};
use std::sync::LazyLock;
use tracker_edge::fuzzing::{Judged, client_of, judge, signature_base};

static TOKENS: LazyLock<TokenKey> = LazyLock::new(|| TokenKey::new(&Secret::from_bytes([7; 32])));

fuzz_target!(|data: &[u8]| {
    let Some(parts) = fuzz::head(data) else { return };
    let judged = judge(&parts);
    if judged != Judged::Unsound {
        assert!(!parts.headers.contains_key("transfer-encoding"));
        let hosts: Vec<_> = parts.headers.get_all("host").iter().collect();
        assert!(hosts.len() == 1 || (hosts.is_empty() && parts.version == http::Version::HTTP_10));
        if let (Some(authority), Some(host)) = (parts.uri.authority(), hosts.first()) {
            assert!(host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()));
        }
        assert!(hosts.iter().all(|host| host.as_bytes().iter().all(|byte| byte.is_ascii_graphic())));
    }
    if let Judged::Token(token) = judged
        && let Some(link) = TOKENS.parse(token.as_bytes())
    {
        assert_eq!(TOKENS.mint(link).as_str(), token, "a token has one spelling");
    }
    let forwarded: Vec<_> =
        parts.headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
    client_of(&forwarded);
    // One line a component, and the parameters: nothing a client says adds a line.
    if let Some(base) = signature_base(&parts, "https://a") {
        assert!(base.lines().count() <= 17, "{base}");
    }
});
