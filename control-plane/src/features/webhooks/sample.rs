//! Examples of every event, for tests of endpoints and for the documentation.

use super::event::{
    ConversionObject, Event, EventType, LinkCappedObject, PartnershipObject, PayoutAddressObject,
    PayoutObject, SuggestionObject,
};
use super::wire::Head;
use crate::money::Micros;
use crate::time::At;
use chrono::{DateTime, Utc};
use shared::id::{AgentId, ConversionId, EventId, LinkId, PartnershipId, PayoutId, ProgramId, SuggestionId};
use uuid::Uuid;

/// 2026-04-01, the documentation's today.
const DOCUMENTED: i64 = 1_775_001_600;

/// Ids that are nobody's, and the same in every example.
const fn example(number: u128) -> Uuid {
    Uuid::from_u128(0x018f_2f6e_7c1a_7bd3_9d53_0000_0000_0000 + number)
}

/// A test event for an agent, marked as one.
pub fn render(
    id: EventId,
    event_type: EventType,
    agent: AgentId,
    now: DateTime<Utc>,
) -> serde_json::Result<String> {
    let head = Head { id: id.uuid(), event_type, created_at: now.into(), test: true, sequence: 1 };
    event(event_type, agent, now.into()).object().render(&head)
}

/// The example of the documentation: a real event's shape, the same at every start.
pub fn document(event_type: EventType) -> serde_json::Result<String> {
    let now = At(DateTime::from_timestamp(DOCUMENTED, 0).unwrap_or_default());
    let head = Head { id: example(1), event_type, created_at: now, test: false, sequence: 1 };
    event(event_type, AgentId::from_uuid(example(2)), now).object().render(&head)
}

fn event(event_type: EventType, agent: AgentId, now: At) -> Event {
    match event_type {
        EventType::AffiliateJoined => Event::AffiliateJoined(partnership("pending", agent, now)),
        EventType::AffiliateApproved => Event::AffiliateApproved(partnership("approved", agent, now)),
        EventType::ConversionCreated => Event::ConversionCreated(conversion("pending", agent, now)),
        EventType::ConversionApproved => Event::ConversionApproved(conversion("approved", agent, now)),
        EventType::ConversionRejected => {
            let reason = Some("The order was cancelled".to_owned());
            Event::ConversionRejected(ConversionObject { reason, ..conversion("rejected", agent, now) })
        }
        EventType::PayoutProcessed => Event::PayoutProcessed(payout(agent, now)),
        EventType::PayoutAddressChanged => Event::PayoutAddressChanged(PayoutAddressObject {
            id: agent,
            address: "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed".to_owned(),
            usable_at: At(now.0 + chrono::TimeDelta::hours(72)),
        }),
        EventType::LinkCapped => Event::LinkCapped(LinkCappedObject {
            id: LinkId::from_uuid(example(7)),
            token: "0ECBc2xYuhVeaNv0".to_owned(),
            program_id: ProgramId::from_uuid(example(3)),
            partnership_id: PartnershipId::from_uuid(example(5)),
            advertiser_id: agent,
            affiliate_id: AgentId::from_uuid(example(4)),
            hour: now,
            cap: 5_000,
            capped: 1_200,
        }),
        EventType::MatchSuggested => Event::MatchSuggested(suggestion(agent, now)),
        EventType::MatchProgramSuggested => Event::MatchProgramSuggested(suggestion(agent, now)),
    }
}

fn partnership(status: &str, agent: AgentId, now: At) -> PartnershipObject {
    PartnershipObject {
        id: PartnershipId::from_uuid(example(5)),
        status: status.to_owned(),
        program_id: ProgramId::from_uuid(example(3)),
        program_name: "My SaaS".to_owned(),
        advertiser_id: agent,
        affiliate_id: AgentId::from_uuid(example(4)),
        affiliate_name: "GPT4Shopper".to_owned(),
        affiliate_handle: "gpt4-shopper".to_owned(),
        message: Some("I can promote this to AI founders".to_owned()),
        created_at: now,
    }
}

fn conversion(status: &str, agent: AgentId, now: At) -> ConversionObject {
    ConversionObject {
        id: ConversionId::from_uuid(example(6)),
        event_type: "sale".to_owned(),
        status: status.to_owned(),
        program_id: ProgramId::from_uuid(example(3)),
        partnership_id: PartnershipId::from_uuid(example(5)),
        link_id: LinkId::from_uuid(example(7)),
        advertiser_id: agent,
        affiliate_id: AgentId::from_uuid(example(4)),
        revenue_amount: Some(Micros(99_000_000)),
        commission_amount: Micros(29_700_000),
        currency: "usd".to_owned(),
        external_id: Some("order-456".to_owned()),
        click_id: None,
        reason: None,
        created_at: now,
    }
}

fn payout(agent: AgentId, now: At) -> PayoutObject {
    PayoutObject {
        id: PayoutId::from_uuid(example(8)),
        status: "paid".to_owned(),
        method: "wallet".to_owned(),
        program_id: ProgramId::from_uuid(example(3)),
        advertiser_id: agent,
        affiliate_id: AgentId::from_uuid(example(4)),
        amount: Micros(29_700_000),
        currency: "usd".to_owned(),
        commission_count: 1,
        reference: None,
        failure: None,
        created_at: now,
        paid_at: Some(now),
    }
}

fn suggestion(agent: AgentId, now: At) -> SuggestionObject {
    SuggestionObject {
        id: SuggestionId::from_uuid(example(9)),
        agent_id: agent,
        program_id: ProgramId::from_uuid(example(3)),
        program_name: "My SaaS".to_owned(),
        affiliate_id: AgentId::from_uuid(example(4)),
        score: 0.82,
        reasons: vec!["Both are about saas".to_owned()],
        created_at: now,
    }
}
