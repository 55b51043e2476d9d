//! The keys of agents an edge knows: from the operator's file, and from what the control plane publishes.
//!
//! Readers take no lock. Either source may be away: what it said last stays, until the process ends. A
//! published list that says nothing takes its keys away, one that is missing does not.

use crate::clicks::ship::Redis;
use crate::redis::query;
use arc_swap::ArcSwap;
use shared::agent_keys::{self, AgentKey, DirectoryError};
use shared::keys::Keys;
use shared::shutdown::Shutdown;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Pause between two looks into Redis: how late a key that was taken back is still believed.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Where keys come from.
#[derive(Clone, Copy)]
enum Source {
    File,
    Published,
}

#[derive(Default)]
struct Sources {
    file: Vec<AgentKey>,
    published: Vec<AgentKey>,
}

/// Keys by thumbprint.
#[derive(Default)]
pub(crate) struct Keyring {
    keys: ArcSwap<HashMap<String, AgentKey>>,
    sources: Mutex<Sources>,
}

/// What is known of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// Nobody we know has it.
    Nobody,
    /// Its time has not come, or is over.
    Expired,
    /// It signs for an agent.
    Valid([u8; 32]),
}

impl Keyring {
    /// Looks a key up by the name signatures give it.
    pub(crate) fn find(&self, id: &str, now_s: i64) -> Found {
        let keys = self.keys.load();
        match keys.get(id) {
            None => Found::Nobody,
            Some(key) if key.not_before <= now_s && now_s < key.expires => Found::Valid(key.public),
            Some(_) => Found::Expired,
        }
    }

    /// Keys known.
    pub(crate) fn len(&self) -> usize {
        self.keys.load().len()
    }

    /// Takes the operator's file for all it has to say.
    pub(crate) fn load(&self, path: &Path) -> Result<String, String> {
        let text = std::fs::read(path).map_err(|error| error.to_string())?;
        let keys = agent_keys::read(&text).map_err(|error| error.to_string())?;
        let found = format!("{} keys of agents", keys.len());
        self.replace(Source::File, keys);
        Ok(found)
    }

    fn take_published(&self, text: &[u8]) -> Result<(), DirectoryError> {
        self.replace(Source::Published, agent_keys::read(text)?);
        Ok(())
    }

    fn replace(&self, source: Source, keys: Vec<AgentKey>) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match source {
            Source::File => sources.file = keys,
            Source::Published => sources.published = keys,
        }
        // The operator's own word comes last and counts.
        let all = sources.published.iter().chain(&sources.file);
        self.keys.store(Arc::new(all.map(|key| (key.id.clone(), key.clone())).collect()));
    }

    /// Follows what the control plane publishes, until stopped.
    pub(crate) async fn follow(self: Arc<Self>, redis: Redis, keys: Keys, stop: Shutdown) {
        let mut said = None;
        loop {
            match query::<Option<Vec<u8>>>(&redis, &redis::Cmd::get(keys.agent_keys())).await {
                Ok(Some(text)) if said.as_ref() != Some(&text) => {
                    if let Err(error) = self.take_published(&text) {
                        tracing::error!(%error, "the published keys of agents cannot be read; the ones before stay");
                    }
                    said = Some(text);
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "cannot look for keys of agents now"),
            }
            tokio::select! {
                () = stop.stopping() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8, not_before: i64, expires: i64) -> AgentKey {
        let public = [first; 32];
        AgentKey { id: agent_keys::thumbprint(&public), public, not_before, expires }
    }

    #[test]
    fn both_sources_count_and_each_replaces_only_its_own() {
        let keyring = Keyring::default();
        let (a, b) = (key(1, i64::MIN, i64::MAX), key(2, 10, 20));
        keyring.replace(Source::File, vec![a.clone()]);
        keyring.replace(Source::Published, vec![b.clone()]);
        assert_eq!(keyring.find(&a.id, 0), Found::Valid(a.public));
        for (now_s, expected) in [
            (9, Found::Expired),
            (10, Found::Valid(b.public)),
            (19, Found::Valid(b.public)),
            (20, Found::Expired),
        ] {
            assert_eq!(keyring.find(&b.id, now_s), expected, "{now_s}");
        }
        keyring.replace(Source::Published, Vec::new());
        assert_eq!((keyring.find(&b.id, 10), keyring.len()), (Found::Nobody, 1));
    }

    #[test]
    fn a_list_that_cannot_be_read_changes_nothing() {
        let keyring = Keyring::default();
        let a = key(1, i64::MIN, i64::MAX);
        keyring.take_published(agent_keys::write(std::slice::from_ref(&a)).as_bytes()).unwrap();
        assert!(keyring.take_published(b"{").is_err());
        assert_eq!(keyring.find(&a.id, 0), Found::Valid(a.public));
    }
}
