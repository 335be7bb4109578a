//! The demo's policy: an example of the repository, signed by a key that is made for the occasion.
use super::{DemoError, write};
use postern_policy::SigningKey;
use postern_policy::bundle::signed_archive_of;
use std::path::Path;

/// Builds and signs the bundle, and writes it with the public key that verifies it.
pub(super) fn write_bundle(directory: &Path) -> Result<(), DemoError> {
    let key = SigningKey::generate_p256()?.with_id("demo");
    let archive = signed_archive_of(FILES.iter().map(|(name, text)| (*name, text.as_bytes())), &key)?;
    write(&directory.join("bundle.tar.gz"), &archive)?;
    write(&directory.join("bundle.pub.pem"), key.public_pem()?.as_bytes())
}

const FILES: [(&str, &str); 2] = [
    (".manifest", include_str!("../../../examples/policies/demo-bank/bundle/.manifest")),
    ("policy.rego", include_str!("../../../examples/policies/demo-bank/bundle/policy.rego")),
];
