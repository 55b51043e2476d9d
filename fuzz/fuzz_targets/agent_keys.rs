//! A directory of AI agents' keys: nothing panics; what is read is, written again, the same keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::agent_keys;

fuzz_target!(|data: &[u8]| {
    let Ok(keys) = agent_keys::read(data) else { return };
    for key in &keys {
        assert_eq!(key.id, agent_keys::thumbprint(&key.public));
    }
    let again = agent_keys::read(agent_keys::write(&keys).as_bytes()).expect("what we write can be read");
    assert_eq!(again.len(), keys.len());
    assert!(again.iter().zip(&keys).all(|(again, key)| again.id == key.id && again.public == key.public));
});
