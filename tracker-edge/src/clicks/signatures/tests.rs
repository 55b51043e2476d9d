//! Cloudflare's published vectors, RFC 9421's key, and everything that must not verify.

use super::*;
use http::Request;
use ring::signature::Ed25519KeyPair;
use shared::agent_keys;

/// The key of RFC 9421, appendix B.1.4: private part, and its directory entry.
const PRIVATE: &str = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
const DIRECTORY: &[u8] =
    br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"test-key-ed25519","x":"JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"}]}"#;
const KEY_ID: &str = "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";
/// 2025-01-01T00:00:00Z, when the vectors were made.
const CREATED: i64 = 1_735_689_600;

/// Headers of a request to `https://example.com/path/to/resource`.
type Headers<'a> = &'a [(&'a str, &'a str)];

fn request(headers: Headers<'_>) -> Parts {
    let mut request = Request::get("/path/to/resource").header("host", "example.com");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn signatures() -> Signatures {
    let keyring = Keyring::default();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.json");
    std::fs::write(&path, DIRECTORY).unwrap();
    keyring.load(&path).unwrap();
    let origins = vec![Origin::parse("https://example.com").unwrap()];
    Signatures::new(Arc::new(keyring), origins, Arc::new(Duplicates::new()))
}

fn judge(signatures: &Signatures, headers: Headers<'_>, now_s: i64) -> Verdict {
    signatures.judge(&request(headers), None, now_s * 1000, &Budget::default())
}

/// Signs as an agent would, with the vectors' key.
fn sign(covered: &str, params: &str, headers: Headers<'_>) -> Vec<(String, String)> {
    let input = format!("sig1=({covered}){params}");
    let mut all: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    all.push(("signature-input".to_owned(), input));
    all.push(("signature".to_owned(), "sig1=:AA==:".to_owned()));
    let borrowed: Vec<(&str, &str)> = all.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let parts = request(&borrowed);
    let base =
        Signed::find(&parts).unwrap().base(&parts, &[Origin::parse("https://example.com").unwrap()]).unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&hex::decode(PRIVATE).unwrap()).unwrap();
    let signature = sfv::FieldType::serialize(&sfv::Item::new(pair.sign(base.as_bytes()).as_ref()));
    all.last_mut().unwrap().1 = format!("sig1={signature}");
    all
}

fn params(created: i64, expires: i64, nonce: &str) -> String {
    format!(
        ";created={created};keyid=\"{KEY_ID}\";alg=\"ed25519\";expires={expires};nonce=\"{nonce}\";tag=\"web-bot-auth\""
    )
}

fn judge_own(signatures: &Signatures, signed: &[(String, String)], now_s: i64) -> Verdict {
    let borrowed: Vec<(&str, &str)> = signed.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    judge(signatures, &borrowed, now_s)
}

#[test]
fn the_vector_of_the_draft_verifies_while_it_is_valid() {
    let vector: Headers<'_> = &[
        (
            "signature-input",
            r#"sig1=("@authority");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=1735693200;nonce="gubxywVx7hzbYKatLgzuKDllDAIXAkz41PydU7aOY7vT+Mb3GJNxW0qD4zJ+IOQ1NVtg+BNbTCRUMt1Ojr5BgA==";tag="web-bot-auth""#,
        ),
        (
            "signature",
            "sig1=:uz2SAv+VIemw+Oo890bhYh6Xf5qZdLUgv6/PbiQfCFXcX/vt1A8Pf7OcgL2yUDUYXFtffNpkEr5W6dldqFrkDg==:",
        ),
    ];
    let check = |now_s, expected| assert_eq!(judge(&signatures(), vector, now_s), expected, "{now_s}");
    check(CREATED, Verdict::Verified);
    check(CREATED - SKEW_S, Verdict::Verified);
    check(CREATED - SKEW_S - 1, Verdict::Expired);
    check(CREATED + 3599, Verdict::Verified);
    check(CREATED + 3600, Verdict::Expired);
}

#[test]
fn the_published_vectors_verify_over_the_same_bytes() {
    // Valid for a century, which we would not take from anybody: only the signatures are checked.
    let vectors: [Headers<'_>; 2] = [
        &[
            (
                "signature-input",
                r#"sig1=("@authority");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=4889289600;nonce="zIW8+cdmA3vdYagbxojpONwa/l0EKJ/O3/wD486VvsQjO/RxPaSt6ZxvQaMcQzNnqKN/mQ6hpGiFro2L2qkz5A==";tag="web-bot-auth""#,
            ),
            (
                "signature",
                "sig1=:QKN4fTdIYfh82fvoZCQiQA1weuozfCS/Led2zTMbewMMqH8PI2Wsy/5c4ao6B6D09nraNQdBNOADg8aM1MqfCg==:",
            ),
        ],
        &[
            ("signature-agent", r#"agent2="https://signature-agent.test""#),
            (
                "signature-input",
                r#"sig2=("@authority" "signature-agent";key="agent2");created=1735689600;keyid="poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U";alg="ed25519";expires=4889289600;nonce="n9p433xm+NJ3ph3upfBIGmsuwHw387YV7Q/F+6BSpGCVjYCqQw6rznNA8PVVLySrAWsv0hQtFioQb6E1YsauiA==";tag="web-bot-auth""#,
            ),
            (
                "signature",
                "sig2=:RdNFx5Bj6au3YgAMQL/RzmUlZE8QZLIaXGRpw985hWnwPfMxT228NMk6ehRS1PSl4e8PhbNZACSanGdhEwYCCg==:",
            ),
        ],
    ];
    let keys = agent_keys::read(DIRECTORY).unwrap();
    let origins = [Origin::parse("https://example.com").unwrap()];
    for vector in vectors {
        let parts = request(vector);
        let signed = Signed::find(&parts).unwrap();
        assert_eq!(signed.key_id, keys[0].id);
        verify(signed, &parts, &origins, &keys[0].public).unwrap();
        assert_eq!(judge(&signatures(), vector, CREATED), Verdict::Invalid, "valid for too long");
    }
}

#[test]
fn a_signature_counts_once_and_only_for_what_it_signed() {
    let signatures = signatures();
    let agent = ("signature-agent", r#"me="https://agent.test""#);
    let signed = sign(
        r#""@authority" "@method" "@path" "signature-agent";key="me""#,
        &params(CREATED, CREATED + 300, "one"),
        &[agent],
    );
    let mut forged = signed.clone();
    forged[0].1 = r#"me="https://other.test""#.to_owned();
    assert_eq!(judge_own(&signatures, &forged, CREATED), Verdict::Invalid);
    // The forgery has not used up the nonce.
    assert_eq!(judge_own(&signatures, &signed, CREATED), Verdict::Verified);
    assert_eq!(judge_own(&signatures, &signed, CREATED + 299), Verdict::Repeated);
    assert_eq!(judge_own(&signatures, &signed, CREATED + 300), Verdict::Expired);
    let another = sign(r#""@authority""#, &params(CREATED, CREATED + 300, "two"), &[]);
    assert_eq!(judge_own(&signatures, &another, CREATED), Verdict::Verified);
}

#[test]
fn without_a_nonce_it_counts_until_it_expires() {
    let signatures = signatures();
    let params =
        format!(";created={CREATED};keyid=\"{KEY_ID}\";expires={};tag=\"web-bot-auth\"", CREATED + 60);
    let signed = sign(r#""@target-uri""#, &params, &[]);
    for now_s in [CREATED, CREATED, CREATED + 59] {
        assert_eq!(judge_own(&signatures, &signed, now_s), Verdict::Verified);
    }
    assert_eq!(judge_own(&signatures, &signed, CREATED + 60), Verdict::Expired);
}

#[test]
fn nothing_else_verifies() {
    let signatures = signatures();
    let signed = sign(r#""@authority""#, &params(CREATED, CREATED + 60, "n"), &[]);
    let with = |at: usize, from: &str, to: &str| {
        let mut changed = signed.clone();
        assert!(changed[at].1.contains(from));
        changed[at].1 = changed[at].1.replacen(from, to, 1);
        judge_own(&signatures, &changed, CREATED)
    };
    assert_eq!(with(0, KEY_ID, "x"), Verdict::UnknownKey);
    assert_eq!(with(0, "created=1735689600", "created=1735689599"), Verdict::Invalid);
    assert_eq!(with(0, "\"n\"", "\"m\""), Verdict::Invalid);
    assert_eq!(with(0, "ed25519", "rsa-pss-sha512"), Verdict::Invalid);
    assert_eq!(with(0, "web-bot-auth", "other"), Verdict::Invalid);
    assert_eq!(with(1, "sig1=:", "sig1=:AAAA"), Verdict::Invalid);
    let long = sign(r#""@authority""#, &params(CREATED, CREATED + LIFETIME_S_MAX + 1, "n"), &[]);
    assert_eq!(judge_own(&signatures, &long, CREATED), Verdict::Invalid);
    let backwards = sign(r#""@authority""#, &params(i64::from(i32::MIN), 999_999_999_999_999, "n"), &[]);
    assert_eq!(judge_own(&signatures, &backwards, CREATED), Verdict::Invalid);
    // The same request, repeated at a site that is not ours and from there at ours.
    let mut elsewhere = Request::get("/path/to/resource").header("host", "other.example");
    for (name, value) in &signed {
        elsewhere = elsewhere.header(name, value);
    }
    let parts = elsewhere.body(()).unwrap().into_parts().0;
    assert_eq!(signatures.judge(&parts, None, CREATED * 1000, &Budget::default()), Verdict::Invalid);
    assert_eq!(judge_own(&signatures, &signed, CREATED), Verdict::Verified);
}

#[test]
fn a_worker_looks_at_so_many_a_second() {
    let signatures = signatures();
    let budget = Budget::default();
    let parts = request(&[("signature-input", "x")]);
    for at in 0..=BUDGET_PER_SECOND {
        let expected = if at < BUDGET_PER_SECOND { Verdict::Invalid } else { Verdict::Skipped };
        assert_eq!(signatures.judge(&parts, None, 5_999, &budget), expected, "{at}");
    }
    assert_eq!(signatures.judge(&parts, None, 6_000, &budget), Verdict::Invalid);
}

proptest::proptest! {
    #[test]
    fn no_header_panics(input in "[ -~]{0,120}", signature in "[ -~]{0,60}", agent in "[ -~]{0,40}") {
        let headers = [("signature-input", input.as_str()), ("signature", &signature), ("signature-agent", &agent)];
        proptest::prop_assert_eq!(judge(&signatures(), &headers, CREATED), Verdict::Invalid);
    }
}

#[test]
fn on_a_custom_domain_a_signature_is_for_that_domain() {
    let signatures = signatures();
    let signed = sign("\"@authority\"", &params(CREATED, CREATED + 60, "d"), &[]);
    let borrowed: Vec<(&str, &str)> = signed.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let judge = |domain: &str| {
        let domain = Origin::of_domain(domain);
        signatures.judge(&request(&borrowed), Some(&domain), CREATED * 1000, &Budget::default())
    };
    assert_eq!(judge("shop.example"), Verdict::Invalid, "made for one of our own");
    assert_eq!(judge("Example.com:443"), Verdict::Verified);
}
