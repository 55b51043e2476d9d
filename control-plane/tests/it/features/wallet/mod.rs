//! Wallets.

mod settings;
mod topup;
mod transactions;
