//! Where cases come from: OPA's YAML files, in a folder or an archive.
use postern_rego::ast::Version;
use serde::Deserialize;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Its name.
    pub note: String,
    /// The query.
    pub query: String,
    /// The modules.
    #[serde(default)]
    pub modules: Vec<String>,
    /// The data.
    pub data: Option<serde_json::Value>,
    /// The input in JSON.
    pub input: Option<serde_json::Value>,
    /// The input as a term of Rego; it counts before `input`.
    pub input_term: Option<String>,
    /// The solutions.
    pub want_result: Option<Vec<serde_json::Map<String, serde_json::Value>>>,
    /// The error's class.
    pub want_error_code: Option<String>,
    /// A part of the error's text.
    pub want_error: Option<String>,
    /// Whether lists in the answer stand for sets.
    #[serde(default)]
    pub sort_bindings: bool,
    /// Whether errors of builtins are errors.
    #[serde(default)]
    pub strict_error: bool,
    /// Whether the case uses keywords that are experimental in OPA.
    #[serde(default)]
    pub experimental_keywords: bool,
    /// The folder that it stands in.
    #[serde(skip)]
    pub folder: String,
    /// The language of its modules.
    #[serde(skip)]
    pub version: Version,
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    cases: Vec<Case>,
}

fn parse(text: &str, folder: &str, version: Version) -> Result<Vec<Case>, String> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    let mut cases = file.cases;
    for case in &mut cases {
        folder.clone_into(&mut case.folder);
        case.version = version;
    }
    Ok(cases)
}

/// The cases below a folder.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn from_folder(folder: &Path, version: Version) -> io::Result<Vec<Case>> {
    let mut all = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            all.extend(from_folder(&path, version)?);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path)?;
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let cases = parse(&text, &name, version)
                .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
            all.extend(cases);
        }
    }
    Ok(all)
}

/// The cases in a gzipped tar.
///
/// # Errors
/// A file that cannot be read or understood.
pub fn from_archive(archive: &Path, version: Version) -> io::Result<Vec<Case>> {
    let mut all = Vec::new();
    for (path, text) in texts_in(archive)? {
        let folder = path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let cases = parse(&text, &folder, version)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        all.extend(cases);
    }
    Ok(all)
}

/// The YAML files in a gzipped tar.
pub(crate) fn texts_in(archive: &Path) -> io::Result<Vec<(PathBuf, String)>> {
    let bytes = std::fs::read(archive)?;
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut all = Vec::new();
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let mut text = String::new();
            entry.read_to_string(&mut text)?;
            all.push((path, text));
        }
    }
    Ok(all)
}
