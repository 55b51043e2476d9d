//! JSON shapes of custom domains.

use super::model::{self, Domain, GRACE, Status};
use crate::time::At;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::Secret;
use utoipa::ToSchema;
use uuid::Uuid;

/// A domain to claim.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"domain": "go.example.com"}))]
pub struct CreateDomainRequest {
    /// A host name of yours: without scheme, port or path. International names are taken in either spelling.
    #[schema(max_length = 1024)]
    pub domain: String,
}

/// A record to set at the domain's DNS provider.
#[derive(Debug, Serialize, ToSchema)]
pub struct DnsRecord {
    /// `TXT`, `CNAME`, `A` or `AAAA`.
    #[serde(rename = "type")]
    #[schema(example = "TXT")]
    pub kind: &'static str,
    /// The record's whole name.
    #[schema(example = "_affiliateos.go.example.com")]
    pub name: String,
    /// Its value.
    #[schema(example = "affiliateos-verify=0f8a5d5b9c0c4b6f8c6f4a1d2e3b4c5d")]
    pub value: String,
    /// What it is for.
    pub purpose: &'static str,
}

/// A custom domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct DomainResponse {
    /// Its id.
    pub id: Uuid,
    /// The name, lower case, in ASCII.
    #[schema(example = "go.example.com")]
    pub domain: String,
    /// Where it stands. Links can be made on it while it is `active`.
    pub status: Status,
    /// What keeps it from going on, if anything. An `active` one may have a problem with its renewal.
    pub problem: Option<String>,
    /// What to do about it.
    pub fix: Option<String>,
    /// The records to set, and to keep: they are looked up again before each renewal.
    pub records: Vec<DnsRecord>,
    /// Since when the DNS says that it is yours.
    pub verified_at: Option<At>,
    /// When the certificate was issued.
    pub certificate_issued_at: Option<At>,
    /// When the certificate expires.
    pub certificate_expires_at: Option<At>,
    /// When the certificate will be renewed, by itself.
    pub renews_at: Option<At>,
    /// Whether it is being renewed now.
    pub renewing: bool,
    /// When it was last looked at.
    pub checked_at: Option<At>,
    /// When it will be looked at next, by itself.
    pub next_check_at: Option<At>,
    /// When Pro has ended: until when it is served all the same.
    pub served_until: Option<At>,
    /// When it was claimed.
    pub created_at: At,
    /// When it last changed.
    pub updated_at: At,
}

impl DomainResponse {
    /// A domain of this deployment, whose edges are at `target`.
    pub fn new(domain: Domain, secret: &Secret, target: &str, now: DateTime<Utc>) -> Self {
        let records = vec![
            DnsRecord {
                kind: "TXT",
                name: model::ownership_name(&domain.host),
                value: model::ownership_value(secret, domain.agent_id),
                purpose: "Proves that the domain is yours.",
            },
            DnsRecord {
                kind: model::pointer_type(target),
                name: domain.host.clone(),
                value: target.to_owned(),
                purpose: "Leads visitors to us. Where a CNAME is not allowed (the domain itself), use your provider's ALIAS or ANAME, or A and AAAA records with the same addresses.",
            },
        ];
        let renewing = domain.status == Status::Active && domain.renew_at.is_some_and(|at| at <= now);
        Self {
            id: domain.id.uuid(),
            domain: domain.host,
            status: domain.status,
            problem: domain.problem,
            fix: domain.fix,
            records,
            verified_at: domain.verified_at.map(At),
            certificate_issued_at: domain.issued_at.map(At),
            certificate_expires_at: domain.expires_at.map(At),
            renews_at: domain.renew_at.map(At),
            renewing,
            checked_at: domain.checked_at.map(At),
            next_check_at: domain.check_at.map(At),
            served_until: domain.lapsed_at.map(|at| At(at + GRACE)),
            created_at: domain.created_at.into(),
            updated_at: domain.updated_at.into(),
        }
    }
}

/// What became of a removed domain.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeleteDomainResponse {
    /// Its id.
    pub id: Uuid,
    /// Always true: nothing is served on it any more.
    pub deleted: bool,
    /// Links that were on it; their tracking URLs are on our domain now.
    pub links_moved: u64,
}
