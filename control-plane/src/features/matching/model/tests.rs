//! Rules of matching, by cases.
