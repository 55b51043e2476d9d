//! The spool from outside: folders, files, crashes and damage.

mod basic;
mod faulty;
mod kit;
mod limits;
