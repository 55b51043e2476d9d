//! Which country a click came from, when the operator has a database that says: any in the MaxMind format.
//!
//! The address is looked up and forgotten; two letters are kept. Read whole into memory and put anew as a
//! whole: a file that shrinks under a mapping would end the process. Without a database, without an entry
//! and with a damaged one the country is unknown, and the click is a click.
//! Limit: [`LEN_MAX`] bytes.

use arc_swap::ArcSwapOption;
use maxminddb::{LookupResult, PathElement, Reader};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A country database has some ten megabytes, one of cities sixty.
const LEN_MAX: u64 = 1 << 30;

/// Where databases keep the country: MaxMind's own, where the address is registered, and the plain ones.
const PLACES: [&[PathElement<'static>]; 3] = [
    &[PathElement::Key("country"), PathElement::Key("iso_code")],
    &[PathElement::Key("registered_country"), PathElement::Key("iso_code")],
    &[PathElement::Key("country_code")],
];

/// The database in force, if any.
#[derive(Default)]
pub(crate) struct Countries(ArcSwapOption<Reader<Vec<u8>>>);

impl Countries {
    /// The country's two letters, or two zeros.
    #[inline]
    pub(crate) fn of(&self, address: IpAddr) -> [u8; 2] {
        match &*self.0.load() {
            None => [0; 2],
            Some(database) => look_up(database, address).unwrap_or_default(),
        }
    }

    /// Puts an operator's database in force.
    pub(crate) fn load(&self, path: &Path) -> Result<String, String> {
        let len = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
        if len > LEN_MAX {
            return Err(format!("{len} bytes are more than a country database of {LEN_MAX}"));
        }
        let database = Reader::open_readfile(path).map_err(|error| error.to_string())?;
        if !has_countries(&database) {
            return Err(format!("{} is no database of countries", database.metadata().database_type));
        }
        let metadata = database.metadata();
        let found = format!("{}, built {}", metadata.database_type, metadata.build_epoch);
        self.0.store(Some(Arc::new(database)));
        Ok(found)
    }
}

fn look_up(database: &Reader<Vec<u8>>, address: IpAddr) -> Option<[u8; 2]> {
    let found = database.lookup(address.to_canonical()).ok()?;
    if found.has_data() { country_in(&found) } else { None }
}

/// Whether one of the first networks has a country: somebody may have given one of networks' names.
fn has_countries(database: &Reader<Vec<u8>>) -> bool {
    const LOOKED_AT: usize = 10_000;
    let networks = database.networks(maxminddb::WithinOptions::default());
    let Ok(networks) = networks else { return false };
    networks.take(LOOKED_AT).flatten().any(|found| found.has_data() && country_in(&found).is_some())
}

fn country_in(found: &LookupResult<'_, Vec<u8>>) -> Option<[u8; 2]> {
    let code: &str = PLACES.iter().find_map(|place| found.decode_path(place).ok().flatten())?;
    let letters: [u8; 2] = code.as_bytes().try_into().ok()?;
    letters.iter().all(u8::is_ascii_uppercase).then_some(letters)
}

#[cfg(test)]
#[path = "countries_tests.rs"]
mod tests;
