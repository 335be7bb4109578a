//! The identities that every proxy and every caller of a run share.

use std::fs;
use std::path::Path;

use postern_tests::authority::key_pair;
use postern_tests::{Authority, Caller, Identity};
use serde_json::{Value, json};

/// Writes `trust.pem`, `sidecar.{pem,key}`, `client.{pem,key}` and an audit key.
pub(crate) fn write(folder: &Path) -> Result<Value, String> {
    fs::create_dir_all(folder).map_err(|error| format!("cannot make `{}`: {error}", folder.display()))?;
    let authority = Authority::new("example.org");
    let (audit_key, _) = key_pair(&postern_tests::authority::ED25519);
    for (name, text) in [("trust.pem", authority.bundle_pem()), ("audit.key", audit_key.as_str())] {
        fs::write(folder.join(name), text).map_err(|error| format!("cannot write `{name}`: {error}"))?;
    }
    authority.issue("/sidecar").write(folder, "sidecar");
    authority.issue("/client").write(folder, "client");
    Ok(json!({ "folder": folder }))
}

/// The caller that `write` left in `folder`.
pub(crate) fn caller(folder: &Path) -> Result<Caller, String> {
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).map_err(|error| format!("`{name}`: {error}"));
    let identity = Identity {
        spiffe_id: "spiffe://example.org/client".to_owned(),
        certificate_pem: read("client.pem")?,
        key_pem: read("client.key")?,
    };
    Ok(Caller::new(&identity, &read("trust.pem")?))
}
