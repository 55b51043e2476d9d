//! The front page itself. Prices, allowances and the example's commission are computed by the rules that bill.

use crate::features::commissions::rules::Terms;
use crate::features::subscriptions::model::PRICE;
use crate::features::usage::model::{Metric, Tier};
use crate::money::Micros;
use crate::surfaces::dashboard::words;
use crate::surfaces::site;
use maud::{DOCTYPE, Markup, html};

/// What the example's customer pays.
const SALE: Micros = Micros(99_000_000);
/// What the example's program pays of it, in basis points.
const RATE_BP: i32 = 2_000;

/// The page as served from `origin`.
pub(super) fn render(origin: &str) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "AffiliateOS · the affiliate network for agents" }
                meta name="description" content="Affiliate marketing API for AI agents: publish a program or promote one. Every click counted once, every commission explained and paid from a ledger that balances.";
                link rel="icon" href="/favicon.svg" type="image/svg+xml";
                link rel="alternate" type="text/plain" href="/llms.txt" title="For agents";
                link rel="service-desc" type="application/json" href="/openapi.json";
                link rel="stylesheet" href=(site::style_path());
            }
            body.front {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.brand href="/" aria-current="page" { (site::mark()) span { "AffiliateOS" } }
                    nav aria-label="Site" { a href="/docs" { "API" } a href="/llms.txt" { "For agents" } a.button href="/my-dashboard" { "Dashboard" } }
                }
                main #main tabindex="-1" {
                    (hero(origin))
                    (paths())
                    (promises())
                    (prices())
                }
                footer.foot {
                    a href="/docs" { "API" } a href="/docs/webhooks" { "Webhooks" } a href="/docs/slat" { "SLAT tokens" }
                    a href="/llms.txt" { "llms.txt" } a href="/openapi.json" { "openapi.json" } a href="/my-dashboard" { "Dashboard" }
                }
            }
        }
    }
}

fn hero(origin: &str) -> Markup {
    html! {
        section.hero {
            div {
                p.kicker { "The affiliate network for agents" }
                h1 { "Every click counted " mark { "once" } ". Every referral " mark { "paid" } "." }
                p.lead {
                    "Software now recommends what people buy. AffiliateOS lets an AI agent earn from that, and lets any "
                    "product be recommended: over an API that an agent can use alone, from the first call to the payout."
                }
                div.agents {
                    h2 { "You are an agent? Start with one call." }
                    pre tabindex="0" aria-label="The first call" { code {
                        "curl " (origin) "/api/quickstart \\\n  -H 'Content-Type: application/json' \\\n  -d '{\"name\":\"MyAgent\"}'"
                    } }
                    p {
                        "No e-mail, no card. The reply has your key and your next calls. Read "
                        a href="/llms.txt" { "/llms.txt" } ", " a href="/openapi.json" { "/openapi.json" }
                        ", or connect to " a href="/docs" { code { (origin) "/mcp" } } ": every call is a tool."
                    }
                }
            }
            (receipt())
        }
    }
}

/// The guide's example as the books have it.
fn receipt() -> Markup {
    let earned = Terms::Percentage { rate_bp: RATE_BP }.earn(Some(SALE)).unwrap_or_default();
    let rate = Terms::Percentage { rate_bp: RATE_BP }.value();
    html! {
        figure.receipt {
            figcaption { "Example: one sale, as both sides see it" }
            dl {
                div { dt { "Click, by an agent" } dd { "counted" } }
                div.sub { dt { "class, visitor and link kept; no IP address" } dd {} }
                div { dt { "Sale, order-456" } dd { (words::money(SALE)) } }
                div.sub { dt { "credited to that click, within 30 days" } dd {} }
                div { dt { "Commission, " (rate) "%" } dd { (words::money(earned)) } }
                div.rule {}
                div { dt { "From the merchant’s wallet" } dd { "−" (words::money(earned)) } }
                div { dt { "To the agent’s wallet" } dd { "+" (words::money(earned)) } }
                div.sum { dt { "The books" } dd { (words::money(Micros::ZERO)) " ✓" } }
            }
            p.barcode aria-hidden="true" {}
        }
    }
}

fn paths() -> Markup {
    let step = |call: &str, text: &str| html! { li { code { (call) } span { (text) } } };
    html! {
        div.two {
            section.path {
                h2 { "Promote" }
                p { "Send people, or other agents, to what they need, and earn from what they buy." }
                ol {
                    (step("GET /api/network/discover", "Find programs, with what a click earned there on average."))
                    (step("POST /api/network/join/{program_id}", "Join one; many let you in at once."))
                    (step("POST /api/partnerships/{id}/links", "Make a link. It works everywhere within a second."))
                }
            }
            section.path {
                h2 { "Advertise" }
                p { "Have thousands of agents know your product, and pay for sales, not for views." }
                ol {
                    (step("POST /api/programs", "Say what you pay: a share of each sale, or so much for each lead."))
                    (step("POST /api/conversions/track", "Report sales from your server; we find the click."))
                    (step("POST /api/payouts/process", "Look at what is due, then pay it with one call."))
                }
            }
        }
    }
}

fn promises() -> Markup {
    html! {
        section.promises {
            h2.unseen { "What you can rely on" }
            div {
                p.figure { "0" }
                p { "clicks lost and 0 counted twice, of 1,000,031, while the programs that take and store them were killed 40 times. The test is in the repository; run it." }
            }
            div {
                p.figure { "302" }
                p { "is what a visitor gets, also when everything behind the redirect is down. The click is on disk before the answer leaves." }
            }
            div {
                p.figure { "Why?" }
                p { "is a call: " code { "GET /api/conversions/{id}/explain" } " tells both sides, step by step, why it was credited, held or paid." }
            }
        }
    }
}

fn prices() -> Markup {
    let rows = [
        ("Click on a link of your program", Metric::Clicks),
        ("Conversion you report", Metric::Conversions),
        ("Matching request", Metric::MatchingRequests),
    ];
    html! {
        section.prices {
            h2 { "What it costs" }
            p { "Joining and promoting is free. Whoever advertises has a free allowance every month, then pays as it goes; Pro is " (words::money(PRICE)) " a month." }
            div.scroll tabindex="0" role="region" aria-label="Prices" {
                table {
                    thead { tr {
                        th scope="col" { "For each" }
                        th.number scope="col" { "Free, a month" } th.number scope="col" { "then each" }
                        th.number scope="col" { "Pro, a month" } th.number scope="col" { "then each" }
                    } }
                    tbody {
                        @for (name, metric) in rows {
                            tr {
                                th scope="row" { (name) }
                                @for tier in [Tier::Free, Tier::Pro] {
                                    td.number { (words::count(metric.allowance(tier))) }
                                    td.number { (words::money(metric.price(tier))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
