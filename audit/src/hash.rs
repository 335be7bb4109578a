//! SHA-256 as RFC 6962 uses it: leaves and nodes are hashed in different domains, so that no record can be
//! passed off as an inner node.
use aws_lc_rs::digest;

/// A SHA-256 hash.
pub type Hash = [u8; 32];

const LEAF: &[u8] = &[0x00];
const NODE: &[u8] = &[0x01];

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Hash {
    finish(digest::digest(&digest::SHA256, bytes))
}

/// The leaf hash of a record: its exact bytes without the line feed (RFC 6962 section 2.1).
pub fn leaf_hash(record: &[u8]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(LEAF);
    context.update(record);
    finish(context.finish())
}

/// The hash of an inner node over its two children (RFC 6962 section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(NODE);
    context.update(left);
    context.update(right);
    finish(context.finish())
}

fn finish(digest: digest::Digest) -> Hash {
    let mut hash = [0; 32];
    hash.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

/// Appends `bytes` in lower-case hexadecimal.
pub(crate) fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.push(digit(byte >> 4));
        out.push(digit(byte & 0x0f));
    }
}

/// `bytes` in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0x0f)]).map(char::from).collect()
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}
