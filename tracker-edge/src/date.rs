//! The `Date` of answers, written once a second.

use http::HeaderValue;
use std::cell::RefCell;
use std::time::{Duration, UNIX_EPOCH};

/// The last second that a date has a form for.
const LAST_SECOND: i64 = 253_402_300_799;

/// The second, and how it is written (RFC 9110, section 5.6.7).
pub(crate) struct Date(RefCell<(i64, HeaderValue)>);

impl Date {
    pub(crate) fn new() -> Self {
        Self(RefCell::new((-1, HeaderValue::from_static(""))))
    }

    /// The time as an answer says it.
    pub(crate) fn value(&self, now_ms: i64) -> HeaderValue {
        let second = now_ms.div_euclid(1000).clamp(0, LAST_SECOND);
        let mut date = self.0.borrow_mut();
        if date.0 != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second as u64));
            *date = (second, HeaderValue::try_from(text).expect("a date is printable ASCII"));
        }
        date.1.clone()
    }
}
