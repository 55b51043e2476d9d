//! `/docs`, `/llms.txt`, `/openapi.json`.

use crate::harness::TestApp;
use serde_json::Value;

#[tokio::test]
async fn the_service_carries_its_documentation() {
    let app = TestApp::start().await;
    let anyone = app.anyone();
    let described = anyone.get("/openapi.json").await;
    let paths = described.expect(200)["paths"].as_object().unwrap().clone();
    let page = anyone.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.headers["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    // Everything the page loads comes from here, and nothing in it is inline.
    for asset in
        page.text.split("src=\"").skip(1).chain(page.text.split("<link rel=\"stylesheet\" href=\"").skip(1))
    {
        assert!(asset.starts_with("/docs/"), "{}", asset.split('"').next().unwrap_or_default());
    }
    assert!(
        !page.text.contains("<style") && !page.text.contains(" style=") && !page.text.contains("<script>")
    );
    assert_eq!(anyone.get("/docs/docs.js").await.headers["content-type"], "text/javascript; charset=utf-8");
    for (path, methods) in &paths {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            assert!(page.text.contains(&format!("id=\"{id}\"")), "{id} is in /docs");
            let replies = operation["responses"].as_object().unwrap();
            let silent =
                replies.values().any(|reply| reply["description"].as_str().is_none_or(str::is_empty));
            assert!(!silent, "{method} {path} describes every reply");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        }
    }
    assert_eq!(anyone.get("/docs/style.css").await.status, 200);
    let llms = anyone.get("/llms.txt").await;
    assert!(llms.status == 200 && llms.text.contains(app.origin()) && !llms.text.contains("{origin}"));
    // Every call that the page names exists.
    for line in llms.text.lines() {
        for (method, rest) in ["GET ", "POST ", "PATCH ", "PUT "]
            .iter()
            .flat_map(|m| line.match_indices(m).map(move |(at, _)| (m, line.split_at(at + m.len()).1)))
        {
            let path = rest.split([' ', '`', '?', '.', ',', ':', ';']).next().unwrap_or_default();
            if !path.starts_with("/api") {
                continue;
            }
            let known = paths.iter().any(|(template, methods)| {
                let matches = template.split('/').count() == path.split('/').count()
                    && template
                        .split('/')
                        .zip(path.split('/'))
                        .all(|(left, right)| left.starts_with('{') || left == right);
                matches
                    && methods.get(method.trim().to_lowercase()) != Some(&Value::Null)
                    && methods.get(method.trim().to_lowercase()).is_some()
            });
            assert!(known, "{method}{path}");
        }
    }
}
