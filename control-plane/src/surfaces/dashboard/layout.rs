//! The frame around every page: head, bar, the pages of a role.

use super::error::Failure;
use super::shapes::Me;
use super::visit::Visit;
use super::words;
use crate::surfaces::site;
use maud::{DOCTYPE, Markup, html};

/// The two roles of an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Affiliate,
    Advertiser,
}

impl Role {
    const ALL: [Self; 2] = [Self::Affiliate, Self::Advertiser];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Affiliate => "/my-dashboard/affiliate",
            Self::Advertiser => "/my-dashboard/advertiser",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Affiliate => "Promote",
            Self::Advertiser => "Advertise",
        }
    }

    /// Its pages: path below the role's, and name.
    const fn pages(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Affiliate => &[
                ("", "Overview"),
                ("/links", "Links"),
                ("/programs", "Programs"),
                ("/earnings", "Earnings"),
                ("/live", "Live"),
            ],
            Self::Advertiser => &[
                ("", "Overview"),
                ("/programs", "Programs"),
                ("/affiliates", "Affiliates"),
                ("/conversions", "Conversions"),
                ("/payouts", "Payouts"),
                ("/wallet", "Wallet"),
                ("/live", "Live"),
            ],
        }
    }
}

/// A page of a role.
pub(super) struct Page<'a> {
    pub(super) role: Role,
    /// Its path below the role's.
    pub(super) at: &'a str,
    pub(super) title: &'a str,
    pub(super) body: Markup,
}

/// Whose dashboard it is.
pub(super) async fn who(visit: &Visit) -> Result<Me, Failure> {
    visit.api.get("/api/agents/me").await
}

/// The whole page.
pub(super) fn page(visit: &Visit, me: &Me, page: &Page<'_>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(page.title))
            body.app {
                a.skip href="#main" { "Skip to the content" }
                header.bar {
                    a.brand href="/my-dashboard" { (site::mark()) span { "AffiliateOS" } }
                    nav.roles aria-label="Your roles" {
                        @for role in Role::ALL {
                            a href=(role.path()) aria-current=[(role == page.role).then_some("true")] { (role.name()) }
                        }
                    }
                    div.account {
                        span.who { b { (me.name) } small { "@" (me.handle) " · " (words::state(&me.tier)) } }
                        form method="post" action="/my-dashboard/sign-out" {
                            (token(visit))
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
                nav.pages aria-label=(page.role.name()) {
                    @for (at, name) in page.role.pages() {
                        a href={ (page.role.path()) (at) } aria-current=[(*at == page.at).then_some("page")] { (name) }
                    }
                }
                main #main tabindex="-1" { (page.body) }
                footer.foot {
                    a href="/docs" { "API" } a href="/docs/webhooks" { "Webhooks" } a href="/llms.txt" { "For agents" }
                }
            }
        }
    }
}

/// A page for somebody who is not signed in.
pub(super) fn bare(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body.bare {
                header.bar { a.brand href="/" { (site::mark()) span { "AffiliateOS" } } }
                main #main.narrow { (body) }
            }
        }
    }
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) " · AffiliateOS" }
            link rel="icon" href="/favicon.svg" type="image/svg+xml";
            link rel="stylesheet" href=(site::style_path());
            script src=(site::script_path()) defer {}
        }
    }
}

/// What every form of a session carries.
pub(super) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name="token" value=(visit.session.form_token()); }
}

/// The same, and a name for this press of the button.
pub(super) fn once(visit: &Visit) -> Markup {
    html! {
        (token(visit))
        input type="hidden" name="once" value=(shared::id::EventId::generate());
    }
}
