//! JSON shapes of links.

use super::model::{Counts, Link, LinkStatus};
use crate::time::At;
use crate::web::extract::Patch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A new tracking link.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"destination_url": "https://example.com/pricing"}))]
pub struct CreateLinkRequest {
    /// Where it leads: http or https, on a host the program allows, at most 2,048 bytes. `{click_id}`,
    /// `{token}` and `{sub1}` to `{sub5}` are replaced at each click, anywhere behind the host.
    #[schema(max_length = 2048, pattern = "^https?://[A-Za-z0-9]", example = "https://example.com/pricing")]
    pub destination_url: String,
    /// Your label, at most 100 characters.
    #[schema(max_length = 100, example = "newsletter-42")]
    pub sub_id: Option<String>,
    /// The domain that the tracking URL shall be on, such as `go.example.com`: an `active` one of yours or of the
    /// program's advertiser (Pro). Add yours with POST /api/domains.
    #[schema(max_length = 253, example = "go.example.com")]
    pub custom_domain: Option<String>,
}

/// What changes about a link. Absent members stay.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"destination_url": "https://example.com/plans"}))]
pub struct UpdateLinkRequest {
    /// Where it leads.
    #[serde(default)]
    #[schema(value_type = String, max_length = 2048, pattern = "^https?://[A-Za-z0-9]")]
    pub destination_url: Patch<String>,
    /// Your label; `null` clears it.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 100)]
    pub sub_id: Patch<String>,
    /// The domain that the tracking URL shall be on: an `active` one of yours or of the program's advertiser (Pro).
    /// `null` goes back to ours.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 253)]
    pub custom_domain: Patch<String>,
}

/// A tracking link.
#[derive(Debug, Serialize, ToSchema)]
pub struct LinkResponse {
    /// Its id.
    pub id: Uuid,
    /// Its token, as it stands in the tracking URL and in conversions.
    #[schema(example = "0ECBc2xYuhVeaNv0")]
    pub token: String,
    /// Send visitors here.
    #[schema(example = "http://127.0.0.1:8080/api/track/0ECBc2xYuhVeaNv0")]
    pub tracking_url: String,
    /// Where it leads.
    pub destination_url: String,
    /// The affiliate's label.
    pub sub_id: Option<String>,
    /// The domain it is on, when not ours. When Pro ends the domain is served for 30 more days.
    pub custom_domain: Option<String>,
    /// For which partnership.
    pub partnership_id: Uuid,
    /// For which program.
    pub program_id: Uuid,
    /// Whose it is.
    pub affiliate_id: Uuid,
    /// What a click on it does now.
    pub status: LinkStatus,
    /// Clicks of the classes the program pays for.
    pub clicks: i64,
    /// Of those, clicks the advertiser was not billed for because the link had far more than usual in an hour.
    pub clicks_capped: i64,
    /// All clicks by class; classes without any are left out.
    #[schema(value_type = std::collections::HashMap<String, i64>, example = json!({"human": 12, "preview": 3}))]
    pub clicks_by_class: BTreeMap<&'static str, i64>,
    /// Leads and sales, rejected ones left out.
    pub conversions: i64,
    /// When it was made.
    pub created_at: At,
    /// When it last changed.
    pub updated_at: At,
}

impl LinkResponse {
    /// A link with what happened to it, as reached under `tracking_origin`.
    pub fn new(link: Link, counts: Counts, tracking_origin: &str) -> Self {
        Self {
            id: link.id.uuid(),
            tracking_url: link.tracking_url(tracking_origin),
            status: link.status(),
            token: link.token,
            destination_url: link.destination_url,
            sub_id: link.sub_id,
            custom_domain: link.custom_domain,
            partnership_id: link.partnership_id.uuid(),
            program_id: link.program_id.uuid(),
            affiliate_id: link.affiliate_id.uuid(),
            clicks: counts.clicks,
            clicks_capped: counts.capped,
            clicks_by_class: counts.by_class.into_iter().map(|(class, n)| (class.name(), n)).collect(),
            conversions: counts.conversions,
            created_at: link.created_at.into(),
            updated_at: link.updated_at.into(),
        }
    }
}

/// What became of a deleted link.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteLinkResponse {
    /// The link's id.
    pub id: Uuid,
    /// Always true: the tracking URL answers 410 from now on.
    pub deleted: bool,
}

/// Which links of a partnership, newest first.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListLinksQuery {
    /// Those with this label.
    #[param(max_length = 100)]
    pub sub_id: Option<String>,
    /// Page, from 1: `page` times `per_page` is 10,000 at most, go on by cursor.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
    /// `pagination.next_cursor` of the page before, instead of `page`.
    #[param(pattern = "^[A-Za-z0-9_-]{44}$")]
    pub cursor: Option<String>,
}

/// The filter that was answered.
#[derive(Debug, Serialize)]
pub struct LinkFilter {
    /// Those with this label.
    pub sub_id: Option<String>,
}
