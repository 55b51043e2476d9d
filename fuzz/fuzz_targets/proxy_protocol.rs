//! No bytes make the reader of PROXY headers panic, and what it takes is as long as it says.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tracker-edge/src/proxy_protocol.rs"]
mod proxy_protocol;

fuzz_target!(|bytes: &[u8]| {
    if proxy_protocol::client(bytes).is_ok() {
        let fixed =
            bytes.first_chunk::<{ proxy_protocol::FIXED_LEN }>().expect("a header has its fixed part");
        let rest = proxy_protocol::rest_len(fixed).expect("it was taken");
        assert_eq!(bytes.len(), proxy_protocol::FIXED_LEN + rest);
        assert!(rest <= 216 + proxy_protocol::EXTENSIONS_LEN_MAX);
    }
});
