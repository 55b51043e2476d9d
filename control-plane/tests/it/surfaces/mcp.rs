//! `/mcp`: tools are the API's operations, and what moves money asks first.

mod clients;
mod conformance;

use crate::harness::{Client, TestApp};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const ACCEPT: &str = "application/json, text/event-stream";

async fn rpc(client: &Client, method: &str, params: Value) -> Value {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let request = client.request("POST", "/mcp").header("accept", ACCEPT).json(&message);
    client.send(request).await.expect(200).clone()
}

/// Calls a tool and gives its structured result.
async fn call(client: &Client, tool: &str, arguments: Value) -> Value {
    let reply = rpc(client, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    assert_eq!(reply["result"]["isError"], false, "{reply}");
    reply["result"]["structuredContent"].clone()
}

/// Calls a tool that refuses and gives the error.
async fn refused(client: &Client, tool: &str, arguments: Value) -> Value {
    let reply = rpc(client, "tools/call", json!({"name": tool, "arguments": arguments})).await;
    assert_eq!(reply["result"]["isError"], true, "{reply}");
    assert!(reply["result"].get("structuredContent").is_none(), "{reply}");
    let error: Value = serde_json::from_str(reply["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(error["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{error}");
    error
}

#[tokio::test]
async fn every_operation_of_an_agent_is_a_tool_and_what_destroys_asks_first() {
    let app = TestApp::start().await;
    let document = app.anyone().get("/openapi.json").await.expect(200).clone();
    let tools = rpc(&app.anyone(), "tools/list", json!({})).await["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    let named = |tool: &Value| tool["name"].as_str().unwrap().to_owned();
    let names: BTreeSet<String> = tools.iter().map(named).collect();
    assert_eq!(names.len(), tools.len(), "a name twice");
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            if operation["x-not-a-tool"] == true {
                continue;
            }
            assert_eq!(names.contains(id), path.starts_with("/api/"), "{id}");
            let Some(tool) = tools.iter().find(|tool| tool["name"] == id) else { continue };
            let hints = &tool["annotations"];
            assert_eq!(hints["readOnlyHint"], method == "get", "{id}");
            let asks = tool["inputSchema"]["properties"].get("confirmation_token").is_some();
            assert_eq!(hints["destructiveHint"], asks, "{id}");
            assert!(asks || method != "delete", "{id} destroys without asking");
            for schema in ["inputSchema", "outputSchema"] {
                assert_eq!(tool[schema]["type"], "object", "{id}");
                assert!(!tool[schema].to_string().contains("#/components"), "{id}: a reference leads out");
            }
        }
    }
}

#[tokio::test]
async fn money_moves_after_a_confirmation_once_and_for_this_call_only() {
    let app = TestApp::start().await;
    let (agent, other) = (app.agent("Payer").await, app.agent("Other").await);
    let balance = async || call(&agent, "get_wallet", json!({})).await["balance"].clone();
    let asked = call(&agent, "topup_wallet", json!({"amount": 50})).await;
    assert_eq!(asked["confirmation_required"], true, "{asked}");
    assert_eq!(asked["preview"]["balance"], 0, "{asked}");
    assert_eq!(balance().await, 0, "asking changed nothing");
    let token = asked["confirmation_token"].clone();
    for (client, tool, arguments) in [
        (&agent, "topup_wallet", json!({"amount": 500, "confirmation_token": token})),
        (&other, "topup_wallet", json!({"amount": 50, "confirmation_token": token})),
        (&agent, "start_pro", json!({"confirmation_token": token})),
    ] {
        let error = refused(client, tool, arguments).await;
        assert_eq!(
            (&error["error"], &error["field"]),
            (&json!("invalid_value"), &json!("confirmation_token"))
        );
    }
    assert_eq!(balance().await, 0, "nor did a token of another call");
    let confirmed = json!({"amount": 50, "confirmation_token": token});
    let (first, again) = tokio::join!(
        call(&agent, "topup_wallet", confirmed.clone()),
        rpc(&agent, "tools/call", json!({"name": "topup_wallet", "arguments": confirmed}))
    );
    assert_eq!(first["amount"], 50, "{first}");
    // The second of two at once is told to wait, or gets the first one's answer.
    assert!(again["result"]["content"].is_array(), "{again}");
    assert_eq!(balance().await, 50, "used twice, it acted once");
    app.clock.advance(chrono::TimeDelta::seconds(601));
    let late = refused(&agent, "topup_wallet", confirmed).await;
    assert!(late["message"].as_str().unwrap().contains("ten minutes"), "{late}");
    app.audit().await;
}

#[tokio::test]
async fn errors_are_the_apis_own_and_say_how_to_mend_them() {
    let app = TestApp::start().await;
    let agent = app.agent("Typist").await;
    assert_eq!(refused(&app.anyone(), "get_me", json!({})).await["error"], "api_key_missing");
    let unknown = refused(&agent, "get_me", json!({"verbose": true})).await;
    assert_eq!(unknown["fix"], "Call it without arguments.");
    let body = refused(&agent, "create_program", json!({"nmae": "X"})).await;
    assert_eq!(body["field"], "nmae", "{body}");
    let missing = refused(&agent, "get_link", json!({})).await;
    assert_eq!((&missing["error"], &missing["field"]), (&json!("missing_field"), &json!("id")));
    assert_eq!(refused(&agent, "get_link", json!({"id": "../agents/me"})).await["error"], "invalid_id");
    // What cannot be looked at cannot be confirmed.
    let id = uuid::Uuid::nil();
    assert_eq!(refused(&agent, "delete_program", json!({"id": id})).await["error"], "not_found");
    let reply = rpc(&agent, "tools/call", json!({"name": "get_mee", "arguments": {}})).await;
    assert_eq!(reply["error"]["code"], -32602, "{reply}");
    assert_eq!(reply["error"]["data"]["did_you_mean"], "get_me", "{reply}");
    let reply = rpc(&agent, "resources/read", json!({"uri": "affiliateos://secrets"})).await;
    assert!(reply["error"]["message"].as_str().unwrap().contains("resources/list"), "{reply}");
    let reply = rpc(&app.anyone(), "resources/read", json!({"uri": "affiliateos://wallet"})).await;
    assert_eq!(reply["error"]["data"]["error"], "api_key_missing", "{reply}");
    let reply =
        rpc(&agent, "prompts/get", json!({"name": "earn_as_affiliate", "arguments": {"niche": "x"}})).await;
    assert!(reply["error"]["message"].as_str().unwrap().contains("audience"), "{reply}");
}

#[tokio::test]
async fn a_page_of_another_site_is_refused() {
    let app = TestApp::start().await;
    let agent = app.agent("Browser").await;
    let ask = async |name: &str, value: &str| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request =
            agent.request("POST", "/mcp").header("accept", ACCEPT).header(name, value).json(&message);
        agent.send(request).await.status
    };
    assert_eq!(ask("origin", "http://localhost:6274").await, 200);
    assert_eq!(ask("origin", "https://evil.example").await, 403);
    assert_eq!(ask("host", "evil.example").await, 403);
}
