//! Pages of lists: `page` from 1, `per_page` 1 to 100, 20 unless asked otherwise.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Rows of a page unless asked otherwise.
pub const PER_PAGE_DEFAULT: i64 = 20;
/// Rows of a page at most.
pub const PER_PAGE_MAX: i64 = 100;
/// Rows that pages reach; beyond that a list must be narrowed.
pub const REACH_MAX: i64 = 100_000;

/// Which page of a list.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Page, from 1.
    #[param(minimum = 1, default = 1)]
    pub page: Option<i64>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    pub per_page: Option<i64>,
}

/// A page that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// From 1.
    pub page: i64,
    /// Rows.
    pub per_page: i64,
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
        if page < 1 || page > REACH_MAX / per_page {
            return Err(Error::invalid(
                "page",
                format!("`page` is {page}."),
                format!(
                    "Send `page` from 1 to {}, or narrow the list with its filters.",
                    REACH_MAX / per_page
                ),
            ));
        }
        Ok(Page { page, per_page })
    }
}

impl Page {
    /// `LIMIT`.
    pub const fn limit(self) -> i64 {
        self.per_page
    }

    /// `OFFSET`.
    pub const fn offset(self) -> i64 {
        (self.page - 1) * self.per_page
    }

    /// The answer's envelope.
    pub fn of<T>(self, data: Vec<T>, total: i64) -> Paged<T> {
        let total_pages = total.div_euclid(self.per_page) + i64::from(total.rem_euclid(self.per_page) > 0);
        Paged {
            data,
            pagination: Pagination { page: self.page, per_page: self.per_page, total, total_pages },
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Paged<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where they stand.
    pub pagination: Pagination,
}

/// Where a page stands in its list.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Pagination {
    /// This page, from 1.
    pub page: i64,
    /// Rows of a page.
    pub per_page: i64,
    /// Rows in all.
    pub total: i64,
    /// Pages in all.
    pub total_pages: i64,
}
