//! `.manifest`: the bundle's revision and what it owns.
use super::{BundleError, Files, MANIFEST};
use crate::document::{Document, DocumentLimits, parse};

/// The version of the Rego language that a file is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RegoVersion {
    /// The old language, without `if` and `contains`.
    V0,
    /// Rego v1.
    #[default]
    V1,
}

/// What the manifest says, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) revision: String,
    /// Data paths without outer slashes; `""` owns everything.
    pub(crate) roots: Vec<String>,
    pub(crate) rego_version: RegoVersion,
    pub(crate) file_versions: Vec<(String, RegoVersion)>,
    pub(crate) sequence: Option<u64>,
}

/// Longer revisions do not fit into records.
const REVISION_BYTES_MAX: usize = 256;
const ROOTS_MAX: usize = 256;
/// What OPA keeps for itself; policies and data there would shadow it.
const RESERVED_ROOT: &str = "system";

impl Manifest {
    /// Reads the manifest at the bundle's root; without one the bundle owns everything and has no revision.
    pub(crate) fn of(files: &Files) -> Result<Self, BundleError> {
        if let Some(stray) = files.keys().find(|name| name.ends_with("/.manifest")) {
            return refuse(format!("`{stray}` is not at the bundle's root"));
        }
        let Some(bytes) = files.get(MANIFEST) else {
            return Ok(Self { roots: vec![String::new()], ..Self::default() });
        };
        let limits = DocumentLimits { depth_max: 16, values_max: 10_000 };
        let document = parse(bytes, limits)
            .map_err(|e| BundleError::Document { name: MANIFEST.to_owned(), what: e.to_string() })?;
        let Some(members) = document.as_object() else {
            return refuse(format!("it is {}, not an object", document.kind()));
        };
        let mut manifest = Self { roots: vec![String::new()], ..Self::default() };
        for (name, value) in members {
            manifest.take(name, value)?;
        }
        Ok(manifest)
    }

    fn take(&mut self, name: &str, value: &Document) -> Result<(), BundleError> {
        match name {
            "revision" => self.revision = revision(value)?,
            "roots" => self.roots = roots(value)?,
            "rego_version" => self.rego_version = version(value)?,
            "file_rego_versions" => self.file_versions = file_versions(value)?,
            "metadata" => self.sequence = sequence(value)?,
            "wasm" if value.as_array().is_some_and(<[Document]>::is_empty) => {}
            "wasm" => {
                return refuse(
                    "`wasm` policies are not run here; build the bundle from Rego sources".to_owned(),
                );
            }
            _ => {
                return refuse(format!(
                    "member `{}` is not known",
                    name.chars().take(64).collect::<String>()
                ));
            }
        }
        Ok(())
    }

    /// Whether a data path lies under one of the roots.
    pub(crate) fn owns(&self, path: &str) -> bool {
        !under(path, RESERVED_ROOT) && self.roots.iter().any(|root| under(path, root))
    }

    /// The language of one file.
    pub(crate) fn version_of(&self, file: &str) -> RegoVersion {
        let listed = self.file_versions.iter().find(|(name, _)| name == file);
        listed.map_or(self.rego_version, |(_, version)| *version)
    }

    /// A root of `self` and one of `other` of which one contains the other.
    pub(crate) fn overlap<'a>(&'a self, other: &'a Self) -> Option<(&'a str, &'a str)> {
        self.roots.iter().find_map(|mine| {
            other
                .roots
                .iter()
                .find(|theirs| under(mine, theirs) || under(theirs, mine))
                .map(|t| (&**mine, &**t))
        })
    }
}

/// Whether `path` is `root` or below it, by whole segments.
fn under(path: &str, root: &str) -> bool {
    root.is_empty() || path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn refuse<T>(what: String) -> Result<T, BundleError> {
    Err(BundleError::Manifest { what })
}

fn revision(value: &Document) -> Result<String, BundleError> {
    match value.as_str() {
        Some(text) if text.len() <= REVISION_BYTES_MAX && !text.contains(char::is_control) => {
            Ok(text.to_owned())
        }
        Some(_) => refuse(format!(
            "`revision` is longer than {REVISION_BYTES_MAX} bytes or holds control characters"
        )),
        None => refuse(format!("`revision` is {}, not a string", value.kind())),
    }
}

fn roots(value: &Document) -> Result<Vec<String>, BundleError> {
    let Some(items) = value.as_array() else {
        return refuse(format!("`roots` is {}, not an array", value.kind()));
    };
    if items.len() > ROOTS_MAX {
        return refuse(format!("`roots` has more than {ROOTS_MAX} items"));
    }
    let mut roots: Vec<String> = Vec::new();
    for item in items {
        let Some(root) = item.as_str() else {
            return refuse(format!("a root is {}, not a string", item.kind()));
        };
        let root = root.trim_matches('/');
        if !root.is_empty() && root.split('/').any(|segment| segment.is_empty() || segment == "..") {
            return refuse(format!("root `{root}` has an empty or `..` part"));
        }
        if let Some(other) = roots.iter().find(|other| under(root, other) || under(other, root)) {
            return refuse(format!("roots `{other}` and `{root}` overlap"));
        }
        roots.push(root.to_owned());
    }
    Ok(roots)
}

fn version(value: &Document) -> Result<RegoVersion, BundleError> {
    match value.as_u64() {
        Some(0) => Ok(RegoVersion::V0),
        Some(1) => Ok(RegoVersion::V1),
        Some(_) | None => refuse("a Rego version is 0 or 1".to_owned()),
    }
}

fn file_versions(value: &Document) -> Result<Vec<(String, RegoVersion)>, BundleError> {
    let Some(members) = value.as_object() else {
        return refuse(format!("`file_rego_versions` is {}, not an object", value.kind()));
    };
    let mut versions = Vec::new();
    for (name, value) in members {
        if name.contains(['*', '?', '[', '{', '\\']) {
            return refuse(format!("`file_rego_versions`: `{name}` is a pattern; name each file"));
        }
        versions.push((name.trim_start_matches('/').to_owned(), version(value)?));
    }
    Ok(versions)
}

/// `metadata` is free but for our own corner of it.
fn sequence(value: &Document) -> Result<Option<u64>, BundleError> {
    let corner = value.as_object().and_then(|members| members.get("postern")).and_then(Document::as_object);
    match corner.and_then(|members| members.get("sequence")) {
        None => Ok(None),
        Some(number) => match number.as_u64() {
            Some(sequence) => Ok(Some(sequence)),
            None => refuse("`metadata.postern.sequence` is no whole number".to_owned()),
        },
    }
}
