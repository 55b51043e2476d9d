//! What Stripe tells us, as far as we listen. Pure.
//!
//! Events come in the API version of the endpoint, which the operator chose, not in ours; so members that
//! have moved are looked for in both places. A member we need and do not find makes the event unreadable,
//! which is said and kept, never guessed.

use crate::money::Micros;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An event that was signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its id; one made of its bytes where the sender gives none.
    pub id: String,
    /// `checkout.session.completed`, …
    pub kind: String,
    /// When it happened.
    pub created: DateTime<Utc>,
    /// Whether it is about real money.
    pub livemode: bool,
    /// What it is about.
    pub object: Value,
}

impl Event {
    /// Reads a signed body that came at `now`.
    pub fn read(body: &[u8], now: DateTime<Utc>) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let object = value.pointer("/data/object")?.clone();
        let id =
            text(&value, "id").unwrap_or_else(|| format!("sha256:{}", hex::encode(Sha256::digest(body))));
        let flag = |value: &Value| value.get("livemode").and_then(Value::as_bool);
        Some(Self {
            id,
            kind: text(&value, "type")?,
            created: instant(&value, "/created").unwrap_or(now),
            livemode: flag(&value).or_else(|| flag(&object)).unwrap_or(false),
            object,
        })
    }

    /// The id of what it is about.
    pub fn object_ref(&self) -> Option<String> {
        text(&self.object, "id")
    }
}

/// A Checkout session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// `cs_…`
    pub id: String,
    /// Whether it is for a subscription.
    pub subscribes: bool,
    /// Whether the money is there.
    pub paid: bool,
    /// `open`, `complete`, `expired`.
    pub status: Option<String>,
    /// What was paid.
    pub amount: Option<Micros>,
    /// In which currency.
    pub currency: Option<String>,
    /// Our id, as we sent it along.
    pub ours: Option<String>,
    /// `pi_…`
    pub payment: Option<String>,
    /// `cus_…`
    pub customer: Option<String>,
    /// `sub_…`
    pub subscription: Option<String>,
    /// `in_…`
    pub invoice: Option<String>,
    /// Where it is paid.
    pub url: Option<String>,
}

impl Session {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        let paid = matches!(text(object, "payment_status").as_deref(), Some("paid" | "no_payment_required"));
        Some(Self {
            id: text(object, "id")?,
            subscribes: text(object, "mode").as_deref() == Some("subscription"),
            paid,
            status: text(object, "status"),
            amount: cents(object, "amount_total"),
            currency: text(object, "currency"),
            ours: our_id(object).or_else(|| text(object, "client_reference_id")),
            payment: reference(object, "payment_intent"),
            customer: reference(object, "customer"),
            subscription: reference(object, "subscription"),
            invoice: reference(object, "invoice"),
            url: text(object, "url"),
        })
    }
}

/// A payment intent, or what we read of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// `pi_…`
    pub id: String,
    /// What came in.
    pub received: Option<Micros>,
    /// In which currency.
    pub currency: Option<String>,
    /// Our id, as we sent it along.
    pub ours: Option<String>,
}

impl Payment {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        Some(Self {
            id: text(object, "id")?,
            received: cents(object, "amount_received"),
            currency: text(object, "currency"),
            ours: our_id(object),
        })
    }
}

/// A charge, of which some may have been refunded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// `pi_…`, or `ch_…` of a charge without one.
    pub payment: String,
    /// All refunds so far.
    pub refunded: Micros,
    /// Our id, which Stripe copies from the payment intent.
    pub ours: Option<String>,
}

impl Charge {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        Some(Self {
            payment: reference(object, "payment_intent").or_else(|| text(object, "id"))?,
            refunded: cents(object, "amount_refunded")?,
            ours: our_id(object),
        })
    }
}

/// A refund or a dispute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reversal {
    /// `re_…`, `du_…`, `dp_…`
    pub id: String,
    /// `pi_…`, or `ch_…` of a charge without one.
    pub payment: String,
    /// How much.
    pub amount: Micros,
    /// How it stands.
    pub status: String,
    /// Our id, where it is copied.
    pub ours: Option<String>,
}

impl Reversal {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        Some(Self {
            id: text(object, "id")?,
            payment: reference(object, "payment_intent").or_else(|| reference(object, "charge"))?,
            amount: cents(object, "amount").filter(|amount| *amount > Micros::ZERO)?,
            // Refunds of old versions have none: they were done at once.
            status: text(object, "status").unwrap_or_else(|| "succeeded".to_owned()),
            ours: our_id(object),
        })
    }
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// `active`, `past_due`, `canceled`, …
    pub status: String,
    /// Whether it ends with its month.
    pub cancel_at_period_end: bool,
    /// `cus_…`
    pub customer: Option<String>,
    /// Our id, as we sent it along.
    pub ours: Option<String>,
}

impl Subscription {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        let flag = object.get("cancel_at_period_end").and_then(Value::as_bool).unwrap_or(false);
        Some(Self {
            id: text(object, "id")?,
            status: text(object, "status")?,
            // A date to end at is shown in its place by newer versions of the customer portal.
            cancel_at_period_end: flag || object.get("cancel_at").is_some_and(Value::is_number),
            customer: reference(object, "customer"),
            ours: our_id(object),
        })
    }
}

/// An invoice of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// `sub_…`; none for an invoice of something else.
    pub subscription: Option<String>,
    /// Our id, as we sent it along with the subscription.
    pub ours: Option<String>,
    /// What was paid.
    pub paid: Micros,
    /// In which currency.
    pub currency: Option<String>,
    /// `pi_…`, or `ch_…` of a charge without one: what paid it.
    pub payment: Option<String>,
    /// The month it is for.
    pub period: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Invoice {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        let parent = object.pointer("/parent/subscription_details");
        let details = object.get("subscription_details");
        let ours = [parent, details, Some(object)].into_iter().flatten().find_map(our_id);
        Some(Self {
            id: text(object, "id")?,
            subscription: parent
                .and_then(|parent| reference(parent, "subscription"))
                .or_else(|| reference(object, "subscription")),
            ours,
            paid: cents(object, "amount_paid").unwrap_or_default(),
            currency: text(object, "currency"),
            payment: invoice_payment(object),
            period: period(object),
        })
    }
}

/// What paid an invoice: in a list since 2025-03-31, which events of some versions leave out.
fn invoice_payment(invoice: &Value) -> Option<String> {
    let listed = invoice.pointer("/payments/data").and_then(Value::as_array);
    let listed = listed.into_iter().flatten().filter_map(|one| one.get("payment"));
    listed
        .chain([invoice])
        .find_map(|one| reference(one, "payment_intent").or_else(|| reference(one, "charge")))
}

/// An invoice and what paid it, of `invoice_payment.paid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvoicePayment {
    /// `in_…`
    pub invoice: String,
    /// `pi_…`, or `ch_…`
    pub payment: String,
}

impl InvoicePayment {
    /// Reads one.
    pub fn read(object: &Value) -> Option<Self> {
        let payment = object.get("payment")?;
        Some(Self {
            invoice: reference(object, "invoice")?,
            payment: reference(payment, "payment_intent").or_else(|| reference(payment, "charge"))?,
        })
    }
}

/// The month the subscription's own line is for; an invoice's own period is the one before it.
fn period(invoice: &Value) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let lines = invoice.pointer("/lines/data")?.as_array()?;
    let is_proration = |line: &&Value| {
        let in_parent = line.pointer("/parent/subscription_item_details/proration");
        in_parent.or_else(|| line.get("proration")).and_then(Value::as_bool).unwrap_or(false)
    };
    lines
        .iter()
        .filter(|line| !is_proration(line))
        .filter_map(|line| Some((instant(line, "/period/start")?, instant(line, "/period/end")?)))
        .filter(|(start, end)| end > start)
        .max_by_key(|(_, end)| *end)
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An id, or the object that has it.
fn reference(value: &Value, name: &str) -> Option<String> {
    let member = value.get(name)?;
    member.as_str().map(str::to_owned).or_else(|| text(member, "id"))
}

fn cents(value: &Value, name: &str) -> Option<Micros> {
    Micros::from_cents(value.get(name)?.as_i64().filter(|cents| *cents >= 0)?).ok()
}

fn instant(value: &Value, pointer: &str) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(value.pointer(pointer)?.as_i64()?, 0)
}

/// The id of ours that we put into the metadata.
fn our_id(value: &Value) -> Option<String> {
    let metadata = value.get("metadata")?;
    text(metadata, "topup_id").or_else(|| text(metadata, "subscription_id"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_without_an_id_is_named_by_its_bytes() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let body =
            br#"{"type":"checkout.session.completed","data":{"object":{"id":"cs_1","livemode":false}}}"#;
        let event = Event::read(body, now).unwrap();
        assert_eq!(event.id, Event::read(body, now).unwrap().id);
        assert!(event.id.starts_with("sha256:"), "{}", event.id);
        assert_eq!((event.created, event.livemode), (now, false));
        for unreadable in ["", "[]", "{}", r#"{"type":"x"}"#, r#"{"data":{"object":{}}}"#] {
            assert_eq!(Event::read(unreadable.as_bytes(), now), None, "{unreadable}");
        }
    }

    #[test]
    fn an_invoice_is_read_in_the_shape_of_either_version() {
        let line = |start: i64, end: i64| json!({"period": {"start": start, "end": end}});
        let old = json!({
            "id": "in_1", "subscription": "sub_1", "amount_paid": 9900, "currency": "usd",
            "subscription_details": {"metadata": {"subscription_id": "ours"}},
            "lines": {"data": [line(1_800_000_000, 1_802_600_000)]},
        });
        let new = json!({
            "id": "in_1", "amount_paid": 9900, "currency": "usd",
            "parent": {"type": "subscription_details", "subscription_details": {
                "subscription": "sub_1", "metadata": {"subscription_id": "ours"}}},
            "lines": {"data": [
                {"period": {"start": 1, "end": 1_900_000_000},
                 "parent": {"subscription_item_details": {"proration": true}}},
                line(1_800_000_000, 1_802_600_000)]},
        });
        let invoice = Invoice::read(&old).unwrap();
        assert_eq!(Invoice::read(&new).unwrap(), invoice);
        assert_eq!(
            (invoice.subscription.as_deref(), invoice.ours.as_deref(), invoice.paid),
            (Some("sub_1"), Some("ours"), Micros(99_000_000))
        );
        assert_eq!(invoice.period.unwrap().1.timestamp(), 1_802_600_000);
    }

    #[test]
    fn references_may_be_expanded_and_amounts_are_never_negative() {
        let dispute = json!({"id": "du_1", "charge": {"id": "ch_1"}, "amount": 500, "status": "lost"});
        assert_eq!(Reversal::read(&dispute).unwrap().payment, "ch_1");
        for amount in [json!(-1), json!(0), json!(1.5), json!("5"), json!(i64::MAX)] {
            let refund = json!({"id": "re_1", "payment_intent": "pi_1", "amount": amount});
            assert_eq!(Reversal::read(&refund), None, "{amount}");
        }
    }
}
