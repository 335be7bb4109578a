//! The files that rules look at: everything in the working tree but what tools put there.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

use super::source::Source;

/// What tools keep here; in a worktree of git, `.git` is a file.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];

/// All text files, by path relative to the root, and the Rust sources among them, read.
#[derive(Debug, Default)]
pub struct Tree {
    pub(super) texts: BTreeMap<String, String>,
    pub(super) sources: Vec<Source>,
    pub(super) folders: Vec<String>,
}

impl Tree {
    /// Reads the tree under `root`. Files that are not UTF-8 (archives, images) are left out.
    ///
    /// # Errors
    /// When a folder or a file cannot be read.
    pub fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.folder(root, "")?;
        Ok(tree)
    }

    fn folder(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries =
            std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.folders.push(path.clone());
                self.folder(&entry.path(), &format!("{path}/"))?;
            } else if kind.is_file()
                && let Ok(text) = String::from_utf8(std::fs::read(entry.path())?)
            {
                self.add(&path, text);
            }
        }
        Ok(())
    }

    /// Adds a file as if it stood in the tree.
    pub(super) fn add(&mut self, path: &str, text: String) {
        let rust = Path::new(path).extension().is_some_and(|extension| extension == "rs");
        if rust {
            self.sources.push(Source::parse(path, &text));
        }
        self.texts.insert(path.to_owned(), text);
    }
}
