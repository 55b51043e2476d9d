//! What the targets share: bytes that a checksum does not turn away, heads of requests, places for files.

use http::Request;
use http::request::Parts;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

/// Puts the right XXH3-64 at the end, where writers put it: damage is told by the checksum, and what the
/// readers must also bear are bytes that a careless writer has summed.
pub fn summed(body: &[u8]) -> Vec<u8> {
    let mut bytes = body.to_vec();
    bytes.extend_from_slice(&xxh3_64(body).to_le_bytes());
    bytes
}

/// A request's head as the edge's parser reads it; `None` when it refuses it by itself.
pub fn head(bytes: &[u8]) -> Option<Parts> {
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let mut read = httparse::Request::new(&mut headers);
    if !read.parse(bytes).ok()?.is_complete() {
        return None;
    }
    let version = if read.version? == 1 { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut request = Request::builder().method(read.method?).uri(read.path?).version(version);
    for header in read.headers {
        request = request.header(header.name, header.value);
    }
    Some(request.body(()).ok()?.into_parts().0)
}

/// A folder of this process, in memory where there is such a place.
pub fn folder() -> PathBuf {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
        let memory = PathBuf::from("/dev/shm");
        let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
        tempfile::Builder::new().prefix("fuzz-").tempdir_in(place).expect("a folder can be made")
    });
    FOLDER.path().to_owned()
}
