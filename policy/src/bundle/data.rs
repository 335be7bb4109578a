//! `data.json` documents, merged at their folder's path as OPA merges them.
use super::{BundleError, BundleLimits, Files, Manifest};
use crate::document::{Document, DocumentLimits, parse};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// All data of the bundle as one object. Refuses YAML, collisions, and data outside the roots.
pub(super) fn merged(
    files: &Files,
    manifest: &Manifest,
    limits: &BundleLimits,
) -> Result<Document, BundleError> {
    let mut root = BTreeMap::new();
    for (name, content) in files {
        let (folder, base) = name.rsplit_once('/').unwrap_or(("", name));
        match base {
            "data.yaml" | "data.yml" => return Err(BundleError::Yaml { name: name.clone() }),
            "data.json" => {}
            _ => continue,
        }
        let reading = DocumentLimits { values_max: limits.data_values_max, ..DocumentLimits::default() };
        let document = parse(content, reading)
            .map_err(|e| BundleError::Document { name: name.clone(), what: e.to_string() })?;
        if folder.is_empty() && document.as_object().is_none() {
            let what = format!("data at the root is {}, not an object", document.kind());
            return Err(BundleError::Document { name: name.clone(), what });
        }
        let mut nested = document;
        for segment in folder.rsplit('/').filter(|segment| !segment.is_empty()) {
            nested = Document::Object(BTreeMap::from([(segment.to_owned(), nested)]));
        }
        if let Document::Object(members) = nested {
            merge(&mut root, members, name, &mut Vec::new())?;
        }
    }
    owned(&root, manifest, &mut String::new())?;
    Ok(Document::Object(root))
}

fn merge(
    into: &mut BTreeMap<String, Document>,
    from: BTreeMap<String, Document>,
    file: &str,
    path: &mut Vec<String>,
) -> Result<(), BundleError> {
    for (key, value) in from {
        path.push(key.clone());
        match into.entry(key) {
            Entry::Vacant(free) => {
                free.insert(value);
            }
            Entry::Occupied(mut taken) => match (taken.get_mut(), value) {
                (Document::Object(have), Document::Object(more)) => merge(have, more, file, path)?,
                (have, new) => {
                    if *have != new {
                        return Err(BundleError::DataConflict {
                            name: file.to_owned(),
                            path: path.join("/"),
                        });
                    }
                }
            },
        }
        path.pop();
    }
    Ok(())
}

/// Every leaf must lie under a root; an object above a root may hold nothing else.
fn owned(
    members: &BTreeMap<String, Document>,
    manifest: &Manifest,
    path: &mut String,
) -> Result<(), BundleError> {
    for (key, value) in members {
        let before = path.len();
        if before > 0 {
            path.push('/');
        }
        path.push_str(key);
        if !manifest.owns(path) {
            let above = manifest.roots.iter().any(|root| root.starts_with(&format!("{path}/")));
            match value.as_object() {
                Some(inner) if above => owned(inner, manifest, path)?,
                Some(_) | None => {
                    let roots =
                        manifest.roots.iter().map(|root| format!("`{root}`")).collect::<Vec<_>>().join(", ");
                    return Err(BundleError::OutsideRoots { path: path.clone(), roots });
                }
            }
        }
        path.truncate(before);
    }
    Ok(())
}
