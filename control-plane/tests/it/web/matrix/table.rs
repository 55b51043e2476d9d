//! What each operation must answer to each role.

use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Which key a call takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Door {
    /// None; one that is sent is not looked at.
    Public,
    /// None; a wrong one is refused.
    Optional,
    Agent,
    Publisher,
    Merchant,
}

/// What a role gets: a status, and the code of an error.
pub(super) type Answer = (u16, &'static str);

/// What an operation must answer.
pub(super) struct Row {
    pub(super) door: Door,
    pub(super) body: Value,
    /// To the advertiser of the world's things, the affiliate, and a stranger.
    pub(super) roles: [Answer; 3],
}

const OK: Answer = (200, "");
const MADE: Answer = (201, "");
const NOT_OWNER: Answer = (403, "not_owner");
const HIDDEN: Answer = (404, "not_found");
const NEEDS_PRO: Answer = (403, "feature_requires_pro");

/// Every operation. `$name` in a body is one of the world's ids.
pub(super) fn table() -> BTreeMap<&'static str, Row> {
    use Door::{Agent, Merchant, Optional, Public, Publisher};
    let all = |answer| [answer, answer, answer];
    let own = |answer| [answer, NOT_OWNER, NOT_OWNER];
    let sides = |answer| [answer, answer, HIDDEN];
    let none = || Value::Null;
    let rows = [
        // Accounts: the advertiser's.
        ("sign_up", Public, json!({"name": "New"}), all(MADE)),
        ("quickstart", Public, json!({"name": "New"}), all(MADE)),
        ("list_agents", Public, none(), all(OK)),
        ("get_agent", Optional, none(), all(OK)),
        ("get_me", Agent, none(), all(OK)),
        ("get_stats", Agent, none(), all(OK)),
        ("get_weekly_digest", Agent, none(), all(OK)),
        ("update_agent", Agent, json!({"niche": "saas"}), own(OK)),
        ("delete_agent", Agent, none(), own(OK)),
        ("rotate_key", Agent, json!({}), own(OK)),
        ("regenerate_key", Agent, json!({}), own(OK)),
        ("list_keys", Agent, none(), own(OK)),
        ("create_key", Agent, json!({"kind": "publisher"}), own(MADE)),
        ("delete_key", Agent, none(), own(OK)),
        ("get_earnings", Agent, none(), own(OK)),
        ("list_agent_conversions", Agent, none(), own(OK)),
        ("list_agent_partnerships", Agent, none(), own(OK)),
        ("list_agent_suggestions", Agent, none(), own(OK)),
        ("get_payout_address", Agent, none(), own(OK)),
        (
            "set_payout_address",
            Agent,
            json!({"address": "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}),
            own(OK),
        ),
        // Programs: the advertiser's.
        ("list_programs", Public, none(), all(OK)),
        ("get_program", Public, none(), all(OK)),
        (
            "create_program",
            Agent,
            json!({"name": "Mine", "commission_type": "fixed", "commission_value": 5}),
            all(MADE),
        ),
        ("update_program", Agent, json!({"commission_value": 30}), own(OK)),
        ("pause_program", Agent, json!({}), own(OK)),
        ("activate_program", Agent, json!({}), [(409, "already_active"), NOT_OWNER, NOT_OWNER]),
        ("delete_program", Agent, none(), own(OK)),
        ("list_program_affiliates", Agent, none(), own(OK)),
        ("list_program_conversions", Agent, none(), own(OK)),
        ("get_program_payouts", Agent, none(), own(OK)),
        ("list_agent_runtimes", Agent, none(), own(OK)),
        ("list_attribution_events", Agent, none(), own(OK)),
        // The network.
        ("discover", Optional, none(), all(OK)),
        ("list_niches", Public, none(), all(OK)),
        ("network_stats", Public, none(), all(OK)),
        ("join_program", Agent, json!({}), [(403, "own_program"), (409, "already_affiliated"), MADE]),
        // Matching: the suggestion is the advertiser's, to whom a stranger's program was suggested.
        ("get_recommendations", Agent, none(), own(OK)),
        ("list_pending_suggestions", Agent, none(), all(OK)),
        ("respond_to_suggestion", Agent, json!({"decision": "accept"}), [OK, HIDDEN, HIDDEN]),
        ("suggest_affiliates", Agent, none(), [OK, NOT_OWNER, NOT_OWNER]),
        // Partnerships and links: of both sides, the links the affiliate's.
        ("get_partnership", Agent, none(), sides(OK)),
        ("update_partnership", Agent, json!({"status": "suspended"}), [OK, NOT_OWNER, HIDDEN]),
        ("list_links", Agent, none(), sides(OK)),
        (
            "create_link",
            Agent,
            json!({"destination_url": "https://example.com/x"}),
            [NOT_OWNER, MADE, HIDDEN],
        ),
        ("get_link", Agent, none(), sides(OK)),
        ("update_link", Agent, json!({"sub_id": "x"}), [NOT_OWNER, OK, HIDDEN]),
        ("delete_link", Agent, none(), [NOT_OWNER, OK, HIDDEN]),
        // Domains: the advertiser's, who is the only one on Pro.
        ("list_domains", Agent, none(), all(OK)),
        ("create_domain", Agent, json!({"domain": "two.example.com"}), [MADE, NEEDS_PRO, NEEDS_PRO]),
        ("get_domain", Agent, none(), [OK, HIDDEN, HIDDEN]),
        ("verify_domain", Agent, json!({}), [OK, HIDDEN, HIDDEN]),
        ("delete_domain", Agent, none(), [OK, HIDDEN, HIDDEN]),
        // Clicks and conversions.
        ("track_click", Agent, json!({"tracking_token": "$token"}), [MADE, MADE, NOT_OWNER]),
        (
            "track_conversion",
            Agent,
            json!({"tracking_token": "$token", "event_type": "lead"}),
            [MADE, NOT_OWNER, NOT_OWNER],
        ),
        ("explain_click", Agent, none(), sides(OK)),
        ("get_conversion", Agent, none(), sides(OK)),
        ("explain_conversion", Agent, none(), sides(OK)),
        ("list_conversions", Agent, none(), all(OK)),
        ("decide_conversion", Agent, json!({"status": "rejected"}), [OK, NOT_OWNER, HIDDEN]),
        ("refund_conversion", Agent, json!({}), [MADE, NOT_OWNER, HIDDEN]),
        // Money.
        ("list_payouts", Agent, none(), all(OK)),
        (
            "process_payouts",
            Agent,
            json!({"program_id": "$program", "dry_run": false}),
            [MADE, NOT_OWNER, NOT_OWNER],
        ),
        ("get_payout", Agent, none(), sides(OK)),
        ("mark_payout_paid", Agent, json!({"reference": "SEPA 1"}), [OK, NOT_OWNER, HIDDEN]),
        ("mark_payout_failed", Agent, json!({"reason": "Bounced"}), [OK, NOT_OWNER, HIDDEN]),
        ("get_wallet", Agent, none(), all(OK)),
        ("change_wallet", Agent, json!({"monthly_spend_cap": 10}), all(OK)),
        ("topup_wallet", Agent, json!({"amount": 20}), all(MADE)),
        ("get_topup", Agent, none(), [OK, HIDDEN, HIDDEN]),
        ("list_wallet_transactions", Agent, none(), all(OK)),
        ("get_usage", Agent, none(), all(OK)),
        ("get_subscription", Agent, none(), all(OK)),
        ("start_pro", Agent, json!({}), [(409, "already_active"), MADE, MADE]),
        ("cancel_subscription", Agent, none(), [OK, HIDDEN, HIDDEN]),
        // Nobody paid by card, and this deployment takes none.
        ("open_billing_portal", Agent, json!({}), all(HIDDEN)),
        ("receive_stripe_event", Public, json!({}), all(HIDDEN)),
        // Webhooks: the advertiser's, who is the only one on Pro.
        ("list_events", Agent, none(), all(OK)),
        ("list_webhooks", Agent, none(), all(OK)),
        ("create_webhook", Agent, json!({"url": "https://example.com/hook"}), [MADE, NEEDS_PRO, NEEDS_PRO]),
        ("test_webhook", Agent, json!({"webhook_id": "$webhook"}), [OK, NEEDS_PRO, NEEDS_PRO]),
        ("get_webhook", Agent, none(), [OK, HIDDEN, HIDDEN]),
        ("update_webhook", Agent, json!({"status": "paused"}), [OK, HIDDEN, HIDDEN]),
        ("delete_webhook", Agent, none(), [OK, HIDDEN, HIDDEN]),
        ("rotate_webhook_secret", Agent, json!({}), [OK, HIDDEN, HIDDEN]),
        ("list_webhook_deliveries", Agent, none(), [OK, HIDDEN, HIDDEN]),
        ("redeliver_webhook_delivery", Agent, json!({}), [(202, ""), HIDDEN, HIDDEN]),
        // `/v1`: the affiliate is the publisher, the advertiser the merchant.
        ("slat_keys", Public, none(), all(OK)),
        (
            "track_event",
            Publisher,
            json!({"event": "click", "merchant_id": "$merchant"}),
            [(403, "own_program"), MADE, MADE],
        ),
        (
            "verify_conversion",
            Merchant,
            json!({"order_id": "order_1", "amount": 990, "currency": "usd", "slat_token": "$slat"}),
            [OK, (401, "invalid_slat_token"), (401, "invalid_slat_token")],
        ),
        ("list_publisher_commissions", Publisher, none(), all(OK)),
        (
            "request_payout",
            Publisher,
            json!({"method": "wallet"}),
            [(409, "nothing_to_pay"), MADE, (409, "nothing_to_pay")],
        ),
    ];
    rows.into_iter().map(|(id, door, body, roles)| (id, Row { door, body, roles })).collect()
}
