//! Pages that explain one thing: the SLAT token, webhooks, custom domains. Their code is in files of its own, shown as it
//! is; the tests take it from the served page and run it.

use super::page::escape;
use crate::features::webhooks::event::EventType;
use crate::features::webhooks::sample;
use crate::surfaces::site;
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// A page under `/docs`.
pub(super) struct Guide {
    /// Its path.
    pub(super) path: &'static str,
    /// Its title.
    pub(super) title: &'static str,
    text: &'static str,
}

/// All of them, as `/docs` lists them.
pub(super) const GUIDES: &[Guide] = &[
    Guide {
        path: "/docs/webhooks",
        title: "Webhooks and events",
        text: include_str!("../../../assets/guides/webhooks.html"),
    },
    Guide {
        path: "/docs/domains",
        title: "Custom domains",
        text: include_str!("../../../assets/guides/domains.html"),
    },
    Guide {
        path: "/docs/slat",
        title: "SLAT tokens",
        text: include_str!("../../../assets/guides/slat.html"),
    },
];

/// Code that pages show: its name, its language, its text.
const CODE: &[(&str, &str, &str)] = &[
    ("slat/verify.py", "python", include_str!("../../../assets/guides/slat/verify.py")),
    ("slat/verify.mjs", "javascript", include_str!("../../../assets/guides/slat/verify.mjs")),
    ("webhooks/receiver.py", "python", include_str!("../../../assets/guides/webhooks/receiver.py")),
    ("webhooks/receiver.mjs", "javascript", include_str!("../../../assets/guides/webhooks/receiver.mjs")),
    ("webhooks/document.mjs", "javascript", include_str!("../../../assets/guides/webhooks/document.mjs")),
];

impl Guide {
    /// The whole page.
    pub(super) fn render(&self) -> String {
        let mut text = self.text.to_owned();
        for (name, language, code) in CODE {
            let shown = format!(
                "<pre data-file=\"{name}\" tabindex=\"0\"><code class=\"language-{language}\">{}</code></pre>",
                escape(code.trim_end())
            );
            text = text.replace(&format!("{{code:{name}}}"), &shown);
        }
        text = text.replace("{events}", &events());
        self.page(&text).into_string()
    }

    /// The text in the frame of the site.
    fn page(&self, text: &str) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · AffiliateOS" }
                    link rel="icon" href="/favicon.svg" type="image/svg+xml";
                    link rel="stylesheet" href=(site::style_path());
                }
                body.front {
                    a.skip href="#main" { "Skip to the content" }
                    header.bar {
                        a.brand href="/" { (site::mark()) span { "AffiliateOS" } }
                        nav aria-label="Site" { a href="/docs" { "API" } a href="/llms.txt" { "For agents" } a.button href="/my-dashboard" { "Dashboard" } }
                    }
                    main.guide #main tabindex="-1" {
                        nav.spans aria-label="Guides" {
                            @for guide in GUIDES { a href=(guide.path) aria-current=[(guide.path == self.path).then_some("page")] { (guide.title) } }
                        }
                        (PreEscaped(text))
                    }
                    footer.foot { a href="/docs" { "API" } a href="/openapi.json" { "openapi.json" } a href="/llms.txt" { "llms.txt" } a href="/my-dashboard" { "Dashboard" } }
                }
            }
        }
    }
}

/// Every event with an example, as the OpenAPI description has it under `webhooks`.
fn events() -> String {
    let mut html = String::new();
    for event in EventType::ALL {
        let example = sample::document(*event).expect("an example is plain data");
        let example: serde_json::Value = serde_json::from_str(&example).expect("it is JSON");
        let example = serde_json::to_string_pretty(&example).expect("it was JSON a line ago");
        html.push_str(&format!(
            "<h3 id=\"{name}\"><code>{name}</code></h3><p>{}.</p><pre tabindex=\"0\"><code>{}</code></pre>",
            escape(event.meaning().trim()),
            escape(&example),
            name = event.as_str(),
        ));
    }
    html
}
