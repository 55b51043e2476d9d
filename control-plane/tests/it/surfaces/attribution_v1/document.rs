//! The document's examples, run as printed: only the host, the keys and the ids are replaced.

use super::{Market, market};
use crate::harness::peers;
use serde_json::{Value, json};

const ADDRESS: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";

impl Market {
    /// An example with everything replaced that is not ours or not real.
    fn filled_in(&self, example: &str, slat: &str) -> String {
        example
            .replace("https://api.syndicatelinks.co", self.app.origin())
            .replace("aff_agent_abc123", self.track.key())
            .replace("merch_key_xyz", self.verify.key())
            .replace("merch_xyz", &self.merchant_id)
            .replace("slat_v1_...", slat)
            .replace("0x4808...6D66", ADDRESS)
    }

    /// Runs one and gives the JSON of its last line; `shown` is a line of ours that prints what it has.
    async fn run(&self, name: &str, example: &str, slat: &str, shown: &str) -> Value {
        let folder = peers::workshop();
        let file = folder.path().join(name);
        std::fs::write(&file, self.filled_in(example, slat) + shown).unwrap();
        let printed = peers::run(&file, &[], "").await;
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{name}: {error}: {printed}"))
    }
}

fn members(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn five_curl_lines_from_the_first_to_the_payout() {
    let market = market().await;
    let run = async |name: &'static str, example: &'static str, slat: &str| {
        market.run(name, example, slat, "").await
    };
    let none = run("auth.sh", include_str!("document/auth.sh"), "").await;
    assert_eq!(none, json!({"commissions": [], "total_pending": 0, "total_approved": 0, "total_paid": 0}));
    let tracked = run("track.sh", include_str!("document/track.sh"), "").await;
    assert_eq!(members(&tracked), ["created_at", "event_id", "slat_token", "status"]);
    assert_eq!(tracked["status"], "tracked");
    let slat = tracked["slat_token"].as_str().unwrap();
    let verified = run("verify.sh", include_str!("document/verify.sh"), slat).await;
    assert_eq!(members(&verified), ["commission", "status", "verification_id"]);
    assert!(verified["verification_id"].as_str().unwrap().starts_with("ver_"));
    assert_eq!(
        verified["commission"],
        json!({"amount": 990, "currency": "usd", "rate": "10%", "publisher_id": market.publisher_id})
    );
    let list = run("commissions.sh", include_str!("document/commissions.sh"), "").await;
    assert_eq!(members(&list), ["commissions", "total_approved", "total_paid", "total_pending"]);
    let line = &list["commissions"][0];
    assert_eq!(members(line), ["amount", "created_at", "currency", "id", "merchant", "order_id", "status"]);
    assert_eq!((&line["merchant"], &line["order_id"]), (&json!("Linear"), &json!("order_001")));
    assert_eq!((&line["status"], &list["total_pending"]), (&json!("pending"), &json!(990)));
    let conversions =
        market.publisher.get(&format!("/api/agents/{}/conversions", market.publisher.id())).await;
    let conversion = conversions.expect(200)["data"][0]["id"].as_str().unwrap().to_owned();
    let approve = json!({"status": "approved"});
    market.merchant.patch(&format!("/api/conversions/{conversion}"), approve).await.expect(200);
    let paid = run("payouts.sh", include_str!("document/payouts.sh"), "").await;
    assert_eq!((&paid["total"], &paid["currency"]), (&json!(990), &json!("usd")), "{paid}");
    assert!(paid["payouts"][0]["id"].as_str().unwrap().starts_with("pay_"));
}

#[tokio::test]
async fn the_python_and_the_node_example_get_a_token_that_verifies() {
    let market = market().await;
    let shown = [
        (
            "track.py",
            include_str!("document/track.py"),
            "\nimport json\nprint(json.dumps([slat_token, event_id]))\n",
        ),
        (
            "track.mjs",
            include_str!("document/track.mjs"),
            "\nconsole.log(JSON.stringify([slat_token, event_id]));\n",
        ),
    ];
    for (name, example, shown) in shown {
        let printed = market.run(name, example, "", shown).await;
        let (slat, event) = (printed[0].as_str().unwrap(), printed[1].as_str().unwrap());
        assert!(slat.starts_with("slat_v1_") && event.starts_with("evt_"), "{name}: {printed}");
        market.verified(name, slat).await.expect(200);
    }
}
