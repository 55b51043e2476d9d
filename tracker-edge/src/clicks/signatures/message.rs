//! A signed request, read as RFC 9421 and the Web Bot Auth draft say. Pure: no key, no clock.
//!
//! Of the signatures of a request the first whose `tag` is `web-bot-auth` counts. It must cover
//! `@authority` or `@target-uri`, and `signature-agent` when the request has one. What a signature may cover: `@method`,
//! `@authority`, `@scheme`, `@target-uri`, `@request-target`, `@path`, `@query`, and any field, of a
//! dictionary also a single member (`;key=`). Scheme and authority are the public
//! ones: a request signed for another site than ours verifies nothing here, whoever repeats it.
//! Limit: [`COMPONENTS_MAX`] components.

use http::header::HOST;
use http::request::Parts;
use sfv::{Dictionary, FieldType, GenericBareItem, InnerList, Item, ListEntry, Parameters, Parser};
use std::fmt::Write;

const TAG: &str = "web-bot-auth";
/// Components one signature covers at most; real ones cover two or three.
const COMPONENTS_MAX: usize = 16;

/// A public origin of tracking URLs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Origin {
    /// `http` or `https`.
    scheme: &'static str,
    /// Host, and port unless it is the scheme's own, in lower case.
    authority: String,
}

impl Origin {
    /// Reads `https://go.example`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.trim().trim_end_matches('/').parse().ok()?;
        let (scheme, port) = match uri.scheme_str()? {
            "http" => ("http", ":80"),
            "https" => ("https", ":443"),
            _ => return None,
        };
        let authority = uri.authority()?.as_str().to_ascii_lowercase();
        let is_bare = uri.path() == "/" && uri.query().is_none() && !authority.contains('@');
        let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
        is_bare.then_some(Self { scheme, authority })
    }

    /// A custom domain.
    pub(crate) fn of_domain(host: &str) -> Self {
        let authority = host.to_ascii_lowercase();
        Self { scheme: "https", authority: authority.strip_suffix(":443").unwrap_or(&authority).to_owned() }
    }

    /// As a client writes it into `Host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether a `Host` names it.
    fn is(&self, host: &str) -> bool {
        let port = if self.scheme == "https" { ":443" } else { ":80" };
        host.strip_suffix(port).unwrap_or(host).eq_ignore_ascii_case(&self.authority)
    }
}

/// Why a signature is not even looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unusable;

/// What a signature says of itself.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Signed {
    /// The key's thumbprint.
    pub(super) key_id: String,
    /// Seconds since the Unix epoch.
    pub(super) created: i64,
    /// The same.
    pub(super) expires: i64,
    /// Makes the request one of its kind, if there is one.
    pub(super) nonce: Option<String>,
    /// The bytes of the signature.
    pub(super) signature: Vec<u8>,
    covered: InnerList,
}

impl Signed {
    /// Finds the signature of a request. The base, which costs most, is left for [`Self::base`].
    pub(super) fn find(parts: &Parts) -> Result<Self, Unusable> {
        let inputs = dictionary(parts, "signature-input")?;
        let tagged = |entry: &ListEntry| match entry {
            ListEntry::InnerList(list) => text(&list.params, "tag") == Some(TAG),
            ListEntry::Item(_) => false,
        };
        let (label, entry) = inputs.into_iter().find(|(_, entry)| tagged(entry)).ok_or(Unusable)?;
        let ListEntry::InnerList(covered) = entry else { return Err(Unusable) };
        if covered.items.len() > COMPONENTS_MAX || !covers_enough(&covered, parts) {
            return Err(Unusable);
        }
        // Ed25519 is all we take; what names another would never verify.
        if covered.params.contains_key("alg") && text(&covered.params, "alg") != Some("ed25519") {
            return Err(Unusable);
        }
        let entry = dictionary(parts, "signature")?.swap_remove(&label);
        let Some(ListEntry::Item(Item { bare_item: GenericBareItem::ByteSequence(signature), .. })) = entry
        else {
            return Err(Unusable);
        };
        Ok(Self {
            key_id: text(&covered.params, "keyid").ok_or(Unusable)?.to_owned(),
            created: number(&covered.params, "created").ok_or(Unusable)?,
            expires: number(&covered.params, "expires").ok_or(Unusable)?,
            nonce: text(&covered.params, "nonce").map(str::to_owned),
            signature,
            covered,
        })
    }

    /// The bytes that were signed (RFC 9421, section 2.5).
    pub(super) fn base(self, parts: &Parts, origins: &[Origin]) -> Result<String, Unusable> {
        let origin = origin_of(parts, origins).ok_or(Unusable)?;
        let mut base = String::with_capacity(512);
        let mut seen: Vec<String> = Vec::with_capacity(self.covered.items.len());
        for item in &self.covered.items {
            let component = item.serialize();
            let value = value_of(item, parts, origin)?;
            // The same component twice would sign two readings of one thing.
            if seen.contains(&component) || value.contains('\n') || !value.is_ascii() {
                return Err(Unusable);
            }
            writeln!(base, "{component}: {value}").map_err(|_| Unusable)?;
            seen.push(component);
        }
        let params = vec![ListEntry::InnerList(self.covered)].serialize().ok_or(Unusable)?;
        write!(base, "\"@signature-params\": {params}").map_err(|_| Unusable)?;
        Ok(base)
    }
}

/// Where the request was meant to go, and whose it says it is.
fn covers_enough(covered: &InnerList, parts: &Parts) -> bool {
    let covers = |name: &str| covered.items.iter().any(|item| component_name(item) == Some(name));
    let covers_plainly = |name: &str| {
        covered.items.iter().any(|item| component_name(item) == Some(name) && item.params.is_empty())
    };
    let is_addressed = covers_plainly("@authority") || covers_plainly("@target-uri");
    is_addressed && (!parts.headers.contains_key("signature-agent") || covers("signature-agent"))
}

fn component_name(item: &Item) -> Option<&str> {
    item.bare_item.as_string().map(|name| name.as_str())
}

/// A component's value.
fn value_of(item: &Item, parts: &Parts, origin: &Origin) -> Result<String, Unusable> {
    let name = component_name(item).ok_or(Unusable)?;
    if !name.starts_with('@') {
        return field(name, &item.params, parts);
    }
    // None of the derived ones we know takes a parameter.
    if !item.params.is_empty() {
        return Err(Unusable);
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    match name {
        "@method" => Ok(parts.method.as_str().to_owned()),
        "@authority" => Ok(origin.authority.clone()),
        "@scheme" => Ok(origin.scheme.to_owned()),
        "@target-uri" => Ok(format!("{}://{}{target}", origin.scheme, origin.authority)),
        "@request-target" => Ok(target.to_owned()),
        "@path" => Ok(parts.uri.path().to_owned()),
        "@query" => Ok(format!("?{}", parts.uri.query().unwrap_or_default())),
        _ => Err(Unusable),
    }
}

/// Which of our origins the request came to.
fn origin_of<'a>(parts: &Parts, origins: &'a [Origin]) -> Option<&'a Origin> {
    let host = parts.headers.get(HOST)?.to_str().ok()?;
    origins.iter().find(|origin| origin.is(host))
}

/// A field's value: all its lines as one, or one member of the dictionary it is.
fn field(name: &str, params: &Parameters, parts: &Parts) -> Result<String, Unusable> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) || !parts.headers.contains_key(name) {
        return Err(Unusable);
    }
    let Some((param, key)) = params.first() else { return lines(name, parts) };
    let (1, "key", Some(key)) = (params.len(), param.as_str(), key.as_string()) else {
        return Err(Unusable);
    };
    let members = dictionary(parts, name)?;
    match members.get(key.as_str()).ok_or(Unusable)? {
        ListEntry::Item(item) => Ok(item.serialize()),
        list @ ListEntry::InnerList(_) => vec![list.clone()].serialize().ok_or(Unusable),
    }
}

fn lines(name: &str, parts: &Parts) -> Result<String, Unusable> {
    let mut joined = String::new();
    for (at, line) in parts.headers.get_all(name).iter().enumerate() {
        if at > 0 {
            joined.push_str(", ");
        }
        joined.push_str(line.to_str().map_err(|_| Unusable)?.trim());
    }
    Ok(joined)
}

fn dictionary(parts: &Parts, name: &str) -> Result<Dictionary, Unusable> {
    Parser::new(&lines(name, parts)?).parse().map_err(|_| Unusable)
}

fn text<'a>(params: &'a Parameters, wanted: &str) -> Option<&'a str> {
    params.get(wanted).and_then(|value| value.as_string()).map(|text| text.as_str())
}

fn number(params: &Parameters, wanted: &str) -> Option<i64> {
    params.get(wanted).and_then(|value| value.as_integer()).map(i64::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn request(headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::get("/path/to/resource?a=b&c").header("host", "Example.com");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn ours() -> Vec<Origin> {
        vec![Origin::parse("https://other.example").unwrap(), Origin::parse("https://example.com").unwrap()]
    }

    fn base(input: &str, headers: &[(&str, &str)]) -> Result<String, Unusable> {
        let input = format!("sig=({input});created=1;expires=2;keyid=\"k\";tag=\"web-bot-auth\"");
        let headers = [headers, &[("signature-input", input.as_str()), ("signature", "sig=:AAAA:")]].concat();
        let parts = request(&headers);
        Signed::find(&parts)?.base(&parts, &ours())
    }

    #[test]
    fn every_component_has_its_value() {
        let check = |input: &str, headers: &[(&str, &str)], expected: &str| {
            let all = base(&format!("\"@authority\" {input}"), headers).unwrap();
            let lines: Vec<&str> = all.lines().collect();
            assert_eq!(lines[0], "\"@authority\": example.com");
            assert_eq!(lines[1], expected);
            assert!(
                lines[2].starts_with(&format!("\"@signature-params\": (\"@authority\" {input});created=1"))
            );
        };
        check("\"@method\"", &[], "\"@method\": GET");
        check("\"@scheme\"", &[], "\"@scheme\": https");
        check("\"@path\"", &[], "\"@path\": /path/to/resource");
        check("\"@query\"", &[], "\"@query\": ?a=b&c");
        check("\"@request-target\"", &[], "\"@request-target\": /path/to/resource?a=b&c");
        check("\"@target-uri\"", &[], "\"@target-uri\": https://example.com/path/to/resource?a=b&c");
        check("\"accept\"", &[("accept", "a"), ("Accept", " b ")], "\"accept\": a, b");
        check(
            "\"signature-agent\";key=\"two\"",
            &[("signature-agent", "one=\"https://one.test\", two=\"https://two.test\";x")],
            "\"signature-agent\";key=\"two\": \"https://two.test\";x",
        );
        check("\"x-list\";key=\"l\"", &[("x-list", "l=( 1  2 )")], "\"x-list\";key=\"l\": (1 2)");
    }

    #[test]
    fn what_is_not_understood_is_not_believed() {
        for input in [
            "",
            "\"@method\"",
            "\"@authority\";req",
            "\"@authority\" \"@authority\"",
            "\"@authority\" \"@status\"",
            "\"@authority\" \"@query-param\";name=\"a\"",
            "\"@authority\" \"@path\";req",
            "\"@authority\" \"missing\"",
            "\"@authority\" \"HOST\"",
            "\"@authority\" \"host\";bs",
            "\"@authority\" \"host\";key=\"a\";sf",
            "\"@authority\" host",
            "\"@authority\" 7",
        ] {
            assert_eq!(base(input, &[]), Err(Unusable), "{input}");
        }
        let many = vec!["\"@authority\""; COMPONENTS_MAX + 1].join(" ");
        assert_eq!(base(&many, &[]), Err(Unusable));
        // An agent that says whose it is must have signed that too.
        assert_eq!(base("\"@authority\"", &[("signature-agent", "a=\"https://a.test\"")]), Err(Unusable));
    }

    #[test]
    fn parameters_decide_which_signature_counts() {
        let find = |input: &str, signature: &str| {
            Signed::find(&request(&[("signature-input", input), ("signature", signature)]))
        };
        let sound = "b=(\"@authority\");created=1;expires=2;keyid=\"k\";nonce=\"n\";tag=\"web-bot-auth\"";
        let found =
            find(&format!("a=(\"@authority\");tag=\"other\", {sound}"), "a=:AA==:, b=:AQ==:").unwrap();
        assert_eq!((found.key_id.as_str(), found.created, found.expires), ("k", 1, 2));
        assert_eq!((found.nonce.as_deref(), found.signature), (Some("n"), vec![1]));
        for (input, signature) in [
            ("", "b=:AA==:"),
            ("nonsense(", "b=:AA==:"),
            (sound, ""),
            (sound, "a=:AA==:"),
            (sound, "b=text"),
            (sound, "b=(:AA==:)"),
            ("b=\"@authority\";tag=\"web-bot-auth\"", "b=:AA==:"),
            ("b=(\"@authority\");expires=2;keyid=\"k\";tag=\"web-bot-auth\"", "b=:AA==:"),
            ("b=(\"@authority\");created=1;keyid=\"k\";tag=\"web-bot-auth\"", "b=:AA==:"),
            ("b=(\"@authority\");created=1;expires=2;tag=\"web-bot-auth\"", "b=:AA==:"),
            ("b=(\"@authority\");created=1.5;expires=2;keyid=\"k\";tag=\"web-bot-auth\"", "b=:AA==:"),
            ("b=(\"@authority\");created=1;expires=2;keyid=\"k\";tag=web-bot-auth", "b=:AA==:"),
            (
                "b=(\"@authority\");created=1;expires=2;keyid=\"k\";alg=\"hmac-sha256\";tag=\"web-bot-auth\"",
                "b=:AA==:",
            ),
        ] {
            assert_eq!(find(input, signature), Err(Unusable), "{input} {signature}");
        }
    }

    #[test]
    fn origins_are_origins() {
        for (text, host, is) in [
            ("https://go.example", "GO.example", true),
            ("https://go.example/", "go.example:443", true),
            ("https://go.example:443", "go.example", true),
            ("https://go.example", "go.example:80", false),
            ("http://go.example:8080", "go.example:8080", true),
            ("http://go.example:8080", "go.example", false),
            ("https://go.example", "go.example.evil", false),
        ] {
            assert_eq!(Origin::parse(text).unwrap().is(host), is, "{text} {host}");
        }
        for text in
            ["", "go.example", "ftp://go.example", "https://go.example/x", "https://u@go.example", "https://"]
        {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
