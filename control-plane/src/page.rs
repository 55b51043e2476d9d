//! Pages of lists: `page` from 1, `per_page` 1 to 100, 20 unless asked otherwise; and cursors.
//!
//! A page by number counts rows from the top, so it costs what it skips and moves when rows are added: it reaches
//! [`REACH_MAX`] rows, and totals are counted so far, in a list of whatever length.
//! A cursor names the row it goes on after: as cheap on page 10,000 as on page 1, and nothing is shown
//! twice or left out by inserts. Lists are sorted by one number or instant and the row's id, descending.
//! A cursor also knows the total that the walk began with: counting again would cost more than the page.

use crate::error::{Error, Result};
use crate::text::UNTRUSTED;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Rows of a page unless asked otherwise.
pub const PER_PAGE_DEFAULT: i64 = 20;
/// Rows of a page at most.
pub const PER_PAGE_MAX: i64 = 100;
/// Rows that pages by number reach at most, and totals are counted to; beyond that a list is read by cursor.
pub const REACH_MAX: i64 = 10_000;

/// Which page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Page, from 1: `page` times `per_page` is 10,000 at most.
    #[param(minimum = 1, maximum = 10000, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
}

/// The lists that go on by cursor. A cursor says whose it is, so that one list refuses another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum List {
    /// Programs, in each of their orders.
    Programs = 0,
    /// Programs to join, in each of their orders.
    Discover = 16,
    /// Agents.
    Agents = 32,
    /// Conversions.
    Conversions,
    /// Sums of commissions.
    Sums,
    /// Partnerships of an agent.
    Partnerships,
    /// Affiliates of a program.
    Affiliates,
    /// Links.
    Links,
    /// Payouts.
    Payouts,
    /// Attribution events.
    AttributionEvents,
    /// Suggestions.
    Suggestions,
    /// Transactions of a wallet.
    Transactions,
    /// Deliveries to a webhook.
    Deliveries,
}

impl List {
    /// The list's first or only order.
    pub const fn order(self) -> u8 {
        self as u8
    }

    /// One of its orders, numbered from 0 to 15.
    pub const fn ordered(self, order: u8) -> u8 {
        self as u8 | (order & 15)
    }
}

/// A page that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub page: i64,
    /// Rows.
    pub per_page: i64,
    order: u8,
    after: Option<(i64, Uuid)>,
    total: Option<i64>,
}

/// What to send as a parameter of pages that is no number at all.
pub fn bounds(parameter: &str) -> Option<String> {
    let max = match parameter {
        "page" => REACH_MAX,
        "per_page" => PER_PAGE_MAX,
        _ => return None,
    };
    Some(format!("Send `{parameter}` as a whole number from 1 to {max}."))
}

impl PageQuery {
    /// Checks the bounds.
    pub fn checked(self) -> Result<Page> {
        let page = self.page.unwrap_or(1);
        let per_page = self.per_page.unwrap_or(PER_PAGE_DEFAULT);
        if !(1..=PER_PAGE_MAX).contains(&per_page) {
            return Err(Error::invalid(
                "per_page",
                format!("`per_page` is {per_page}."),
                "Send `per_page` from 1 to 100.",
            ));
        }
        let page_max = REACH_MAX / per_page;
        if !(1..=page_max).contains(&page) {
            return Err(Error::invalid(
                "page",
                format!("`page` is {page}."),
                format!(
                    "Send `page` from 1 to {page_max} with `per_page` {per_page}; go on with `pagination.next_cursor` as `cursor`, or narrow the list with its filters."
                ),
            ));
        }
        Ok(Page { page, per_page, order: 0, after: None, total: None })
    }

    /// The same for a list with cursors. `order` is the [`List`]'s, so that a cursor of one list or order is
    /// refused by another.
    pub fn checked_from(self, cursor: Option<&str>, order: u8) -> Result<Page> {
        let page = Page { order, ..self.checked()? };
        let Some(cursor) = cursor else { return Ok(page) };
        if self.page.is_some() {
            return Err(Error::invalid(
                "cursor",
                "`cursor` and `page` exclude each other.",
                "Send `cursor` without `page`, or `page` without `cursor`.",
            ));
        }
        let cursor = Cursor::parse(cursor).filter(|cursor| cursor.order == order).ok_or_else(|| {
            Error::invalid(
                "cursor",
                "`cursor` is not one of this list in this order.",
                "Send `pagination.next_cursor` of the page before as it is, with the same `sort`; start without it.",
            )
        })?;
        Ok(Page { page: cursor.page, after: Some((cursor.key, cursor.id)), total: cursor.total, ..page })
    }
}

impl Page {
    /// `LIMIT`.
    pub const fn limit(self) -> i64 {
        self.per_page
    }

    /// `LIMIT` of a list with cursors: one row more tells whether there is a next page.
    pub const fn limit_and_one(self) -> i64 {
        self.per_page + 1
    }

    /// `OFFSET`.
    pub const fn offset(self) -> i64 {
        if self.after.is_some() { 0 } else { (self.page - 1) * self.per_page }
    }

    /// The row to go on below, in a list sorted by a number; above every row for a page by number.
    pub fn below(self) -> (i64, Uuid) {
        self.after.unwrap_or((i64::MAX, Uuid::max()))
    }

    /// The same in a list sorted by an instant.
    pub fn below_instant(self) -> (DateTime<Utc>, Uuid) {
        let (micros, id) = self.after.unwrap_or((FAR_FUTURE_MICROS, Uuid::max()));
        (DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH), id)
    }

    /// How many rows there are, where the walk by cursor knows it since it began; else they are to be counted.
    pub const fn total(self) -> Option<i64> {
        self.total
    }

    /// The same where the list is cut off at `to`: of two bounds an index scan may begin at the looser.
    pub fn below_instant_and(self, to: Option<DateTime<Utc>>) -> (DateTime<Utc>, Uuid) {
        let below = self.below_instant();
        to.map_or(below, |to| below.min((to, Uuid::nil())))
    }

    /// Whether rows that [`Self::limit_and_one`] let through end the list.
    pub const fn ends_with<T>(self, rows: &[T]) -> bool {
        rows.len() as i64 <= self.per_page
    }

    /// The answer's envelope.
    pub fn of<T>(self, data: Vec<T>, total: i64) -> Paged<T> {
        Paged { data, pagination: self.pagination(total), query: None, untrusted: None }
    }

    /// The envelope of a list with cursors, from at most [`Self::limit_and_one`] rows; `key` tells what
    /// the list is sorted by (an instant in microseconds) and the row's id.
    pub fn of_rows<T>(self, mut rows: Vec<T>, total: i64, key: impl Fn(&T) -> (i64, Uuid)) -> Paged<T> {
        let more = i64::try_from(rows.len()).is_ok_and(|len| len > self.per_page);
        rows.truncate(usize::try_from(self.per_page).unwrap_or_default());
        let next_cursor = rows.last().filter(|_| more).map(|last| {
            let (key, id) = key(last);
            Cursor { order: self.order, page: self.page.saturating_add(1), total: Some(total), key, id }
                .text()
        });
        let pagination = Pagination { next_cursor, ..self.pagination(total) };
        Paged { data: rows, pagination, query: None, untrusted: None }
    }

    fn pagination(self, total: i64) -> Pagination {
        let total_pages = total.div_euclid(self.per_page) + i64::from(total.rem_euclid(self.per_page) > 0);
        Pagination {
            page: self.page,
            per_page: self.per_page,
            total,
            total_pages,
            more_than_total: (total == REACH_MAX).then_some(true),
            next_cursor: None,
        }
    }
}

/// 9999-12-31: sorts above every instant we store.
const FAR_FUTURE_MICROS: i64 = 253_402_214_400_000_000;

/// A place in a list, as opaque text.
struct Cursor {
    order: u8,
    page: i64,
    total: Option<i64>,
    key: i64,
    id: Uuid,
}

/// Of a cursor, in bytes: order, page, total, key, id.
const CURSOR_LEN: usize = 1 + 4 + 4 + 8 + 16;

impl Cursor {
    fn text(&self) -> String {
        let mut bytes = Vec::with_capacity(CURSOR_LEN);
        let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
        bytes.push(self.order);
        bytes.extend_from_slice(&number(self.page));
        // `u32::MAX` is none.
        bytes.extend_from_slice(&number(self.total.unwrap_or(i64::MAX)));
        bytes.extend_from_slice(&self.key.to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(text: &str) -> Option<Self> {
        // Longer texts are none of ours; decoding them would be work for nothing.
        let bytes = URL_SAFE_NO_PAD.decode(text.get(..44).filter(|start| start.len() == text.len())?).ok()?;
        let (order, rest) = bytes.split_first()?;
        let (page, rest) = rest.split_first_chunk()?;
        let (total, rest) = rest.split_first_chunk()?;
        let (key, id) = rest.split_first_chunk()?;
        let mut page = u32::from_be_bytes(*page);
        let mut total = u32::from_be_bytes(*total);
        if page == 0 {
            // As the version before this one wrote them: the page in eight bytes, and no total.
            (page, total) = (total, u32::MAX);
        }
        let total = Some(i64::from(total)).filter(|total| *total != i64::from(u32::MAX));
        let id = Uuid::from_slice(id).ok()?;
        (page > 1).then_some(Self {
            order: *order,
            page: page.into(),
            total,
            key: i64::from_be_bytes(*key),
            id,
        })
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paged<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where they stand.
    pub pagination: Pagination,
    /// The filters and the order that were answered, as they were understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub query: Option<serde_json::Value>,
    /// How to read texts of others, in a list that shows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrusted: Option<&'static str>,
}

impl<T> Paged<T> {
    /// The same page of other rows.
    pub fn map<U>(self, each: impl FnMut(T) -> U) -> Paged<U> {
        Paged {
            data: self.data.into_iter().map(each).collect(),
            pagination: self.pagination,
            query: self.query,
            untrusted: self.untrusted,
        }
    }

    /// Says that the rows hold what others wrote about themselves.
    #[must_use]
    pub fn untrusted(mut self) -> Self {
        self.untrusted = Some(UNTRUSTED);
        self
    }

    /// Says which query was answered; members that are null are left out, and what `pagination` says.
    pub fn answering(mut self, query: &impl Serialize) -> Result<Self> {
        let mut query = serde_json::to_value(query).map_err(Error::bug)?;
        if let Some(members) = query.as_object_mut() {
            members.retain(|name, value| {
                !value.is_null() && !["page", "per_page", "cursor"].contains(&name.as_str())
            });
        }
        self.query = Some(query);
        Ok(self)
    }
}

/// Where a page stands in its list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pagination {
    /// This page, from 1.
    pub page: i64,
    /// Rows of a page.
    pub per_page: i64,
    /// Rows in all, counted up to 10,000; with `cursor`, as many as there were when the walk began.
    pub total: i64,
    /// Pages of `total`.
    pub total_pages: i64,
    /// True when counting stopped at `total`: there may be more. Absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_than_total: Option<bool>,
    /// Send it as `cursor` (without `page`) for the next page, however deep; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(page: Option<i64>, per_page: Option<i64>) -> PageQuery {
        PageQuery { page, per_page }
    }

    #[test]
    fn bounds() {
        assert_eq!(query(None, None).checked().unwrap().limit(), 20);
        assert_eq!(query(Some(3), Some(50)).checked().unwrap().offset(), 100);
        assert_eq!(query(Some(500), Some(20)).checked().unwrap().offset(), 9_980);
        for (page, per_page) in
            [(0, 20), (-1, 20), (1, 0), (1, 101), (i64::MAX, 100), (i64::MIN, 1), (501, 20), (101, 100)]
        {
            assert!(query(Some(page), Some(per_page)).checked().is_err(), "{page}, {per_page}");
        }
    }

    #[test]
    fn a_cursor_goes_on_below_the_last_row() {
        let page = query(None, Some(2)).checked_from(None, 3).unwrap();
        let id = Uuid::from_u128(9);
        let first = page.of_rows(vec![30, 20, 10], 5, |row| (*row, id));
        assert_eq!(first.data, [30, 20]);
        let cursor = first.pagination.next_cursor.unwrap();
        let next = query(None, Some(2)).checked_from(Some(&cursor), 3).unwrap();
        assert_eq!((next.below(), next.offset(), next.page, next.total()), ((20, id), 0, 2, Some(5)));
        let last = next.of_rows(vec![10], 5, |row| (*row, id));
        assert!(last.pagination.next_cursor.is_none());
        assert!(query(None, None).checked_from(Some(&cursor), 1).is_err(), "of another order");
        assert!(query(Some(1), None).checked_from(Some(&cursor), 3).is_err(), "beside a page");
        for bad in [
            "",
            "x",
            cursor.get(1..).unwrap(),
            &format!("{cursor}A"),
            &"A".repeat(44),
            "ä".repeat(22).as_str(),
        ] {
            assert!(query(None, None).checked_from(Some(bad), 3).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cursor_of_the_version_before_still_leads_on() {
        let id = Uuid::from_u128(9);
        let mut bytes = vec![3];
        bytes.extend_from_slice(&7_i64.to_be_bytes());
        bytes.extend_from_slice(&20_i64.to_be_bytes());
        bytes.extend_from_slice(id.as_bytes());
        let cursor = URL_SAFE_NO_PAD.encode(bytes);
        let page = query(None, None).checked_from(Some(&cursor), 3).unwrap();
        assert_eq!((page.below(), page.page, page.total()), ((20, id), 7, None));
    }

    #[test]
    fn a_total_that_was_not_counted_to_its_end_says_so() {
        let page = query(None, None).checked().unwrap();
        let more = |total| page.of(Vec::<()>::new(), total).pagination.more_than_total;
        assert_eq!([more(0), more(REACH_MAX - 1), more(REACH_MAX)], [None, None, Some(true)]);
    }

    #[test]
    fn every_instant_is_below_the_first_page() {
        let (instant, id) = query(None, None).checked_from(None, 0).unwrap().below_instant();
        assert_eq!(instant.to_rfc3339(), "9999-12-31T00:00:00+00:00");
        assert_eq!(id, Uuid::max());
    }
}
