//! Who may call what: every operation of the description × {no key, revoked key, a key of another kind,
//! advertiser, affiliate, stranger} × {its id, a missing one, a malformed one}.
//!
//! The calls come from `/openapi.json`; what each must answer is in [`table`]. An operation that the table
//! does not have fails the test, so nothing new goes unlooked at.

mod table;

use crate::harness::{Client, Offer, Receiver, Reply, TestApp};
use serde_json::{Value, json};
use shared::{ClickId, LinkKey};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use table::{Answer, Door, table};

/// The id of nothing.
const NOBODY: &str = "018f2f6e-7c1a-7bd3-9d53-1c2a6f6e8a10";
const ROLES: [&str; 3] = ["advertiser", "affiliate", "stranger"];

/// Operations that take the caller's key away with them: a repeat cannot be sent with it.
const ENDS_THE_KEY: [&str; 2] = ["rotate_key", "regenerate_key"];

/// An operation as the description has it.
struct Operation {
    id: String,
    method: String,
    template: String,
    public: bool,
}

async fn described(app: &TestApp) -> Vec<Operation> {
    let reply = app.anyone().get("/openapi.json").await;
    let mut operations = Vec::new();
    for (template, item) in reply.expect(200)["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(id) = operation["operationId"].as_str() else { continue };
            // An empty list: no key. A list with an empty way: a key, or none.
            let open = |needs: &Value| needs.as_object().is_some_and(serde_json::Map::is_empty);
            let ways = operation["security"].as_array().expect("every call says which key it takes");
            let public = ways.is_empty() || ways.iter().any(open);
            let (id, method, template) = (id.to_owned(), method.to_uppercase(), template.clone());
            operations.push(Operation { id, method, template, public });
        }
    }
    operations
}

/// Three agents and one of everything that has an id.
struct World {
    offer: Offer,
    agents: [Client; 3],
    publishers: [Client; 3],
    merchants: [Client; 3],
    revoked: BTreeMap<&'static str, Client>,
    ids: BTreeMap<&'static str, String>,
    unknown_click: String,
    _receiver: Receiver,
}

fn text(reply: &Reply, member: &str) -> String {
    assert!(reply.status < 300, "{reply}");
    reply.body[member].as_str().unwrap_or_else(|| panic!("{member} in {reply}")).to_owned()
}

async fn v1_key(app: &TestApp, agent: &Client, kind: &str) -> (Client, String) {
    let made = agent.post(&format!("/api/agents/{}/keys", agent.id()), json!({"kind": kind})).await;
    (app.with_key(&text(&made, "key")), text(&made, "id"))
}

impl World {
    async fn build(app: &TestApp, with_delivery: bool) -> Self {
        let offer = app.offer_named("Advertiser", "Affiliate").await;
        let stranger = app.agent("Stranger").await;
        let agents = [offer.advertiser.clone(), offer.affiliate.clone(), stranger];
        app.set_tier(&agents[0], "pro").await;
        let receiver = Receiver::start().await;
        let hook = json!({"url": receiver.url("/hook"), "events": ["conversion.created"]});
        let webhook = text(&agents[0].post("/api/webhooks", hook).await, "id");
        let domain = text(&agents[0].post("/api/domains", json!({"domain": "go.example.com"})).await, "id");
        let topup = text(&agents[0].post("/api/wallet/topup", json!({"amount": 50})).await, "id");
        let (mut publishers, mut merchants) = (Vec::new(), Vec::new());
        let mut key = String::new();
        for agent in &agents {
            let (publisher, id) = v1_key(app, agent, "publisher").await;
            publishers.push(publisher);
            if key.is_empty() {
                key = id;
            }
            merchants.push(v1_key(app, agent, "merchant").await.0);
        }
        let mut revoked = BTreeMap::new();
        for kind in ["publisher", "merchant"] {
            let (client, id) = v1_key(app, &agents[0], kind).await;
            agents[0].delete(&format!("/api/agents/{}/keys/{id}", agents[0].id())).await.expect(200);
            revoked.insert(kind, client);
        }
        let dead = app.agent("Rotated").await;
        app.program_with(&dead, json!({"name": "Suggested"})).await;
        app.suggest_all().await;
        let suggested = agents[0].get("/api/match-suggestions").await;
        let suggestion = suggested.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
        dead.post(&format!("/api/agents/{}/rotate-key", dead.id()), json!({})).await.expect(200);
        revoked.insert("agent", dead);
        let click = json!({"tracking_token": offer.token});
        let click = text(&agents[1].post("/api/conversions/track-click", click).await, "click_id");
        // One sale in a payout on its way, one approved: the next payout takes it.
        let mut conversion = String::new();
        let mut payout = String::new();
        for order in ["first", "second"] {
            let sale = json!({"tracking_token": offer.token, "event_type": "sale", "revenue_amount": 20, "external_id": order});
            conversion = text(&agents[0].post("/api/conversions/track", sale).await, "id");
            let decided = json!({"status": "approved"});
            agents[0].patch(&format!("/api/conversions/{conversion}"), decided).await.expect(200);
            if payout.is_empty() {
                let order = json!({"program_id": offer.program, "method": "external"});
                let made = agents[0].post("/api/payouts/process", order).await;
                made.expect(201)["payouts"][0]["id"].as_str().unwrap().clone_into(&mut payout);
            }
        }
        let merchant = text(&agents[0].get("/api/agents/me").await, "merchant_id");
        let event = json!({"event": "click", "merchant_id": merchant, "program_id": offer.program});
        let slat = text(&publishers[1].post("/v1/track", event).await, "slat_token");
        let delivery = if with_delivery { delivery(&agents[0], &webhook).await } else { NOBODY.to_owned() };
        let unknown =
            ClickId { at_ms: app.app.clock().now_ms(), spool_tag: 1, seq: 1, link: LinkKey::generate() };
        let unknown_click = String::from_utf8(app.app.click_id_key().mint(&unknown).to_vec()).unwrap();
        let ids = BTreeMap::from([
            ("agent", agents[0].id().to_owned()),
            ("key", key),
            ("program", offer.program.clone()),
            ("partnership", offer.partnership.clone()),
            ("link", offer.link.clone()),
            ("domain", domain),
            ("token", offer.token.clone()),
            ("conversion", conversion),
            ("payout", payout),
            ("topup", topup),
            ("suggestion", suggestion),
            ("webhook", webhook),
            ("delivery", delivery),
            ("click", click),
            ("merchant", merchant),
            ("slat", slat),
        ]);
        let three = |clients: Vec<Client>| -> [Client; 3] { clients.try_into().ok().unwrap() };
        Self {
            offer,
            agents,
            publishers: three(publishers),
            merchants: three(merchants),
            revoked,
            ids,
            unknown_click,
            _receiver: receiver,
        }
    }

    fn clients(&self, door: Door) -> &[Client; 3] {
        match door {
            Door::Publisher => &self.publishers,
            Door::Merchant => &self.merchants,
            Door::Public | Door::Optional | Door::Agent => &self.agents,
        }
    }

    /// The names of a template's parameters, as keys of `ids`.
    fn params(template: &str) -> Vec<(String, &'static str)> {
        let names = template.split('/').filter(|segment| segment.starts_with('{'));
        let thing = |name: &str| match name {
            "{key_id}" => "key",
            "{delivery_id}" => "delivery",
            "{click_id}" => "click",
            "{program_id}" => "program",
            "{agent_id}" => "agent",
            _ => match template.split('/').nth(2).unwrap_or_default() {
                "agents" => "agent",
                "programs" => "program",
                "partnerships" => "partnership",
                "links" => "link",
                "domains" => "domain",
                "conversions" => "conversion",
                "payouts" => "payout",
                "wallet" => "topup",
                "webhooks" => "webhook",
                "match-suggestions" => "suggestion",
                other => panic!("whose id is {name} of {template}, under {other}?"),
            },
        };
        names.map(|name| (name.to_owned(), thing(name))).collect()
    }

    /// A template filled, one parameter replaced.
    fn path(&self, template: &str, replaced: Option<(usize, &str)>) -> String {
        let mut path = template.to_owned();
        for (at, (name, thing)) in Self::params(template).iter().enumerate() {
            let value = match replaced {
                Some((which, value)) if which == at => value,
                _ => &self.ids[thing],
            };
            path = path.replacen(name.as_str(), value, 1);
        }
        // The one operation that names what it is about in its query.
        if template == "/api/outreach/suggest" {
            path.push_str(&format!("?program_id={}", self.ids["program"]));
        }
        path
    }

    fn body(&self, body: &Value) -> String {
        let mut text = body.to_string();
        for (name, id) in &self.ids {
            text = text.replace(&format!("\"${name}\""), &json!(id).to_string());
        }
        text
    }
}

async fn delivery(advertiser: &Client, webhook: &str) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let list = advertiser.get(&format!("/api/webhooks/{webhook}/deliveries")).await;
        if let Some(id) = list.expect(200)["data"][0]["id"].as_str() {
            return id.to_owned();
        }
        assert!(Instant::now() < deadline, "nothing was delivered");
        tokio::task::yield_now().await;
    }
}

async fn send(client: &Client, method: &str, path: &str, body: &str, key: Option<&str>) -> Reply {
    let mut request = client.request(method, path);
    if body != "null" {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    client.send(request).await
}

#[track_caller]
fn is(reply: &Reply, wanted: Answer, what: &str) {
    let code = reply.body["error"].as_str().or_else(|| reply.body["error"]["code"].as_str());
    assert_eq!((reply.status, code.unwrap_or_default()), wanted, "{what}: {reply}");
}

/// Everything a refusal could have changed, as one text.
async fn rows(app: &TestApp) -> String {
    sqlx::query_scalar(
        "SELECT md5(concat_ws('|',
                (SELECT json_agg(t ORDER BY id) FROM agents AS t), (SELECT json_agg(t ORDER BY id) FROM programs AS t),
                (SELECT json_agg(t ORDER BY id) FROM partnerships AS t), (SELECT json_agg(t ORDER BY id) FROM links AS t),
                (SELECT json_agg(t ORDER BY id) FROM conversions AS t), (SELECT json_agg(t ORDER BY id) FROM commissions AS t),
                (SELECT json_agg(t ORDER BY id) FROM payouts AS t), (SELECT json_agg(t ORDER BY id) FROM refunds AS t),
                (SELECT json_agg(t ORDER BY id) FROM ledger_transfers AS t),
                (SELECT json_agg(t ORDER BY id) FROM subscriptions AS t),
                (SELECT json_agg(t ORDER BY id) FROM match_suggestions AS t), (SELECT count(*) FROM match_requests), (SELECT count(*) FROM webhook_endpoints),
                (SELECT count(*) FROM payout_addresses), (SELECT count(*) FROM idempotency_keys),
                (SELECT json_agg(json_build_array(id, revoked_at) ORDER BY id) FROM api_keys)))",
    )
    .fetch_one(app.app.db())
    .await
    .unwrap()
}

#[tokio::test]
async fn every_operation_is_in_the_table() {
    let app = TestApp::start().await;
    let table = table();
    let operations = described(&app).await;
    let described: Vec<_> = operations.iter().map(|one| one.id.as_str()).collect();
    let unlooked: Vec<_> = described.iter().filter(|id| !table.contains_key(**id)).collect();
    assert!(unlooked.is_empty(), "add these operations to the table: {unlooked:?}");
    let gone: Vec<_> = table.keys().filter(|id| !described.contains(*id)).collect();
    assert!(gone.is_empty(), "these operations are no more: {gone:?}");
    for operation in &operations {
        let public = matches!(table[operation.id.as_str()].door, Door::Public | Door::Optional);
        assert_eq!(operation.public, public, "{} says whether it takes a key", operation.id);
    }
}

#[tokio::test]
async fn refusals_come_in_their_order_and_change_nothing() {
    let app = TestApp::start().await;
    let world = World::build(&app, false).await;
    let table = table();
    let before = rows(&app).await;
    for operation in described(&app).await {
        let Some(row) = table.get(operation.id.as_str()) else { continue };
        let Operation { id, method, template, .. } = &operation;
        let params = World::params(template);
        let (path, body) = (world.path(template, None), world.body(&row.body));
        let call =
            async |client: &Client, path: &str, body: &str| send(client, method, path, body, None).await;
        let broken = if *method == "GET" || *method == "DELETE" { "null" } else { "{" };
        let bad = params.first().map(|_| world.path(template, Some((0, "not-a-uuid"))));
        // 401 before everything else.
        if !matches!(row.door, Door::Public) {
            let kind = match row.door {
                Door::Publisher => "publisher",
                Door::Merchant => "merchant",
                _ => "agent",
            };
            let wrong = if kind == "agent" { &world.publishers[0] } else { &world.agents[0] };
            for (client, who) in [(&world.revoked[kind], "revoked"), (wrong, "of another kind")] {
                for path in [Some(&path), bad.as_ref()].into_iter().flatten() {
                    let reply = call(client, path, broken).await;
                    is(&reply, (401, "api_key_invalid"), &format!("{id} with a key {who}"));
                    assert!(reply.headers.contains_key("www-authenticate"), "{id}: {reply}");
                }
            }
            if row.door != Door::Optional {
                for path in [Some(&path), bad.as_ref()].into_iter().flatten() {
                    is(&call(&app.anyone(), path, broken).await, (401, "api_key_missing"), id);
                }
            }
        }
        // A malformed id before a missing thing, that before whose it is, that before the body.
        for (at, (_, thing)) in params.iter().enumerate() {
            let missing = if *thing == "click" { world.unknown_click.clone() } else { NOBODY.to_owned() };
            for (value, wanted) in [("not-a-uuid", (400, "invalid_id")), (&missing, (404, "not_found"))] {
                let path = world.path(template, Some((at, value)));
                is(&call(&world.agents[0], &path, &body).await, wanted, &format!("{id} {path}"));
                is(&call(&world.agents[0], &format!("{path}?nonsense=1"), broken).await, wanted, id);
            }
        }
        for (role, client) in world.clients(row.door).iter().enumerate() {
            let (status, _) = row.roles[role];
            if status < 300 {
                continue;
            }
            let what = format!("{id} by the {}", ROLES[role]);
            is(&call(client, &path, &body).await, row.roles[role], &what);
            // Whose step it is can depend on the body; a state is looked at behind it.
            let by_body = id == "update_partnership" && role == 1;
            if !params.is_empty() && [403, 404].contains(&status) && !by_body {
                let reply = call(client, &format!("{path}?nonsense=1"), broken).await;
                is(&reply, row.roles[role], &format!("{what}, the body broken"));
            }
        }
    }
    assert_eq!(rows(&app).await, before, "a refusal changed something");
    assert!(world.offer.token.len() == 16);
}

/// Calls of every role that may: on a fresh world each, since they change it; POSTs twice, under one key.
async fn those_who_may_can(part: usize, parts: usize) {
    let app = TestApp::start().await;
    app.deliver();
    let table = table();
    let reading = World::build(&app, false).await;
    let mut called = 0;
    for (number, operation) in described(&app).await.into_iter().enumerate() {
        let Some(row) = table.get(operation.id.as_str()).filter(|_| number % parts == part) else { continue };
        let Operation { id, method, template, public } = &operation;
        for (role, name) in ROLES.iter().enumerate() {
            if row.roles[role].0 >= 300 {
                continue;
            }
            let fresh;
            let world = if *method == "GET" {
                &reading
            } else {
                fresh = World::build(&app, id.contains("deliver")).await;
                &fresh
            };
            called += 1;
            let client = &world.clients(row.door)[role];
            let (path, body) = (world.path(template, None), world.body(&row.body));
            let what = format!("{id} by the {name}");
            if *method != "GET" && *method != "DELETE" {
                let reply = send(client, method, &path, "{", None).await;
                is(&reply, (400, "invalid_value"), &format!("{what}, the body broken"));
            }
            // Of its own: those without an account share a scope.
            let key =
                (*method == "POST" && !ENDS_THE_KEY.contains(&id.as_str())).then(|| format!("{id} {role}"));
            let once = async || send(client, method, &path, &body, key.as_deref()).await;
            let reply = match &key {
                Some(key) => {
                    // Four at once, of which one has an effect; the others get its answer.
                    let replies: [Reply; 4] = tokio::join!(once(), once(), once(), once()).into();
                    let replayed =
                        replies.iter().filter(|one| one.headers.contains_key("idempotent-replayed"));
                    assert_eq!(replayed.count(), 3, "{what}, four at once: {}", replies[0]);
                    for one in &replies {
                        let pair = ((one.status, &one.text), (replies[0].status, &replies[0].text));
                        assert_eq!(pair.0, pair.1, "{what}, four at once");
                    }
                    let other = send(client, method, &path, &format!(" {body}"), Some(key)).await;
                    is(&other, (409, "idempotency_key_reused"), &format!("{what}, with another body"));
                    replies.into_iter().next().unwrap()
                }
                None => once().await,
            };
            is(&reply, row.roles[role], &what);
            if *public {
                let anybody = send(&app.anyone(), method, &path, &body, None).await;
                assert_eq!(anybody.status, row.roles[role].0, "{id} without a key: {anybody}");
            }
        }
    }
    assert!(called > 10, "{called} calls");
}

#[tokio::test]
async fn those_who_may_can_first_third() {
    those_who_may_can(0, 3).await;
}

#[tokio::test]
async fn those_who_may_can_second_third() {
    those_who_may_can(1, 3).await;
}

#[tokio::test]
async fn those_who_may_can_last_third() {
    those_who_may_can(2, 3).await;
}
