//! The description at `/openapi.json`: that it says all that calls can answer, that its examples are true,
//! that linters, fuzzers and generators of clients can work with it.

mod peers;
mod recorder;
mod tour;

use crate::harness::TestApp;

#[tokio::test]
async fn every_call_lists_what_any_call_can_answer() {
    let app = TestApp::start().await;
    let reply = app.anyone().get("/openapi.json").await;
    let paths = reply.expect(200)["paths"].as_object().unwrap();
    let mut seen = 0;
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/api/")) {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters")
        {
            let responses = operation["responses"].as_object().unwrap();
            for status in ["500", "503"] {
                assert!(responses.contains_key(status), "{method} {path} without {status}");
            }
            let body = operation.get("requestBody").is_some();
            assert!(
                !body || responses.contains_key("413") && responses.contains_key("415"),
                "{method} {path}"
            );
            for (status, response) in responses {
                let described = response["description"].as_str().is_some_and(|text| !text.is_empty());
                assert!(described, "{method} {path} {status} has no description");
            }
            assert!(
                operation["operationId"].is_string() && operation["summary"].is_string(),
                "{method} {path}"
            );
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} calls");
    assert!(reply.body["components"]["schemas"]["ErrorBody"].is_object());
}
