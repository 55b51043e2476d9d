//! The spool from outside: folders, files, crashes and damage.

mod basic;
mod corrupt;
mod faulty;
mod golden;
mod kit;
mod limits;
mod model;
