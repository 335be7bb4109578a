//! The programs that are not ours: pinned in `tools.toml`, built or fetched once, kept outside the tree.
//!
//! A tool has a folder `<name>-<version>` in the shed (and a digest, when something of ours is built into it). It is built in a temporary folder beside it and put in place
//! by one rename, so that a folder that is there is whole, and two runs at once do no harm.

mod install;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::root;

/// `tools.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    tools: BTreeMap<String, Tool>,
    go_fallback: GoFallback,
}

/// One pinned tool.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    version: String,
    /// What getting it may cost, cold, on two cores.
    seconds: u64,
    #[serde(default)]
    needed_by: NeededBy,
    from: From,
    /// Variable → path of a program inside the tool's folder (for a Debian package: the program's name).
    provides: BTreeMap<String, String>,
}

/// Which command of `xtask` wants the tool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeededBy {
    #[default]
    Tests,
    Ci,
    Bench,
}

/// Where a tool comes from.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum From {
    /// A Go module, built here.
    Go(GoRecipe),
    /// A Go program of ours in this folder of `xtask`, with everything that it stands on pinned by its `go.sum`.
    GoOwn { folder: String, go_at_least: String },
    /// Whatever is inside a Python wheel, and other wheels that it needs, as `package==version`.
    Wheel {
        package: String,
        #[serde(default)]
        with: Vec<String>,
    },
    /// A package for Node, with all that it needs, as the lock file in this folder of `xtask` says. Its scripts are not
    /// run.
    Npm { lock: String },
    /// An OpenTelemetry Collector, put together by its builder (another tool).
    Collector { builder: String, manifest: String, go_at_least: String },
    /// A Rust program.
    Cargo { package: String },
    /// A Debian package; used from `PATH`, else from `bin` in the newest version's folder in `versions_in`; installed when we
    /// are root.
    Debian { package: String, versions_in: Option<PathBuf> },
}

/// How to build the programs of a Go module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoRecipe {
    module: String,
    /// Programs: folders inside the module; `.` is its root.
    #[serde(default)]
    packages: Vec<String>,
    /// Folders of the module that are kept as they are, under their last name.
    #[serde(default)]
    keeps: Vec<String>,
    #[serde(default)]
    cgo: bool,
    go_at_least: String,
    /// Lines to leave out of a source file, for a dependency that we do not need and cannot always get.
    #[serde(default)]
    without: Vec<Without>,
    /// Programs of ours that use the module, built inside it so that its `go.sum` holds for them as well.
    #[serde(default)]
    with: Vec<Added>,
}

/// A source file that is put into the module.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    file: String,
    /// Where it is in `xtask`.
    from: String,
}

/// Every line of `file` that contains `lines_with`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Without {
    file: String,
    lines_with: String,
}

/// The Go that is used when the machine's is missing or too old.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GoFallback {
    package: String,
    version: String,
    program: String,
}

/// Environment variables and the programs they name.
pub type Provided = Vec<(String, PathBuf)>;

/// Where the tools are kept.
#[derive(Debug)]
pub struct Shed {
    folder: PathBuf,
    catalogue: Catalogue,
}

impl Shed {
    /// `$POSTERN_TOOLS`, else `postern/tools` in the user's cache folder.
    ///
    /// # Errors
    /// When there is no such place, or `tools.toml` does not parse.
    pub fn open() -> Result<Self> {
        let path = root().join("xtask/tools.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let catalogue =
            toml::from_str(&text).with_context(|| format!("`{}` is not understood", path.display()))?;
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("POSTERN_TOOLS")
            .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("postern/tools")))
            .or_else(|| set("HOME").map(|home| home.join(".cache/postern/tools")))
            .context("none of POSTERN_TOOLS, XDG_CACHE_HOME and HOME is set")?;
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self { folder, catalogue })
    }

    /// The names of the tools that `who` wants.
    pub fn names_needed_by(&self, who: NeededBy) -> Vec<String> {
        let wanted = |tool: &Tool| tool.needed_by == who && !tool.provides.is_empty();
        self.catalogue.tools.iter().filter(|(_, tool)| wanted(tool)).map(|(name, _)| name.clone()).collect()
    }

    /// The variables that `name` provides when it can be had.
    pub fn variables_of(&self, name: &str) -> Vec<String> {
        self.catalogue.tools.get(name).map(|tool| tool.provides.keys().cloned().collect()).unwrap_or_default()
    }

    /// The paths of a tool's programs; gets the tool first when it is not here. Says so on standard error, because
    /// it can take minutes.
    ///
    /// # Errors
    /// When the tool is unknown or cannot be had within its seconds.
    pub fn obtain(&self, name: &str) -> Result<Provided> {
        let tool = self.catalogue.tools.get(name).with_context(|| format!("there is no tool `{name}`"))?;
        if let Some(provided) = already_set(tool) {
            return Ok(provided);
        }
        if let From::Debian { package, versions_in } = &tool.from {
            return install::debian(tool, (package, versions_in.as_deref()), &self.folder);
        }
        let folder = self.folder.join(folder_name(name, tool)?);
        if !folder.is_dir() {
            self.install(name, tool, &folder)?;
        }
        let mut provided = Provided::new();
        for (variable, inside) in &tool.provides {
            let program = folder.join(inside);
            if !program.exists() {
                bail!("`{}` is missing; remove `{}` to get it anew", program.display(), folder.display());
            }
            provided.push((variable.clone(), program));
        }
        Ok(provided)
    }

    fn install(&self, name: &str, tool: &Tool, folder: &Path) -> Result<()> {
        eprintln!("xtask: getting {name} {} (at most {} s) …", tool.version, tool.seconds);
        let started = Instant::now();
        let temporary = self.folder.join(format!(".{name}-{}.{}", tool.version, std::process::id()));
        std::fs::create_dir_all(&temporary)?;
        let job = install::Job {
            shed: self,
            name,
            tool,
            into: &temporary,
            log: &self.folder.join(format!("{name}-{}.log", tool.version)),
            limit: Duration::from_secs(tool.seconds),
        };
        let outcome = job.run().and_then(|()| match std::fs::rename(&temporary, folder) {
            // Another run was faster: what it put there is as good.
            Err(_) if folder.is_dir() => Ok(()),
            other => other.with_context(|| format!("cannot put `{}` in place", folder.display())),
        });
        if temporary.exists() {
            drop(std::fs::remove_dir_all(&temporary));
        }
        if outcome.is_ok() {
            eprintln!("xtask: got {name} {} in {} s", tool.version, started.elapsed().as_secs());
        }
        outcome
    }
}

/// By its version, and by what we add to it, if anything.
fn folder_name(name: &str, tool: &Tool) -> Result<String> {
    let plain = format!("{name}-{}", tool.version);
    let ours = match &tool.from {
        From::Go(GoRecipe { with: added, .. }) => {
            added.iter().map(|added| root().join("xtask").join(&added.from)).collect()
        }
        From::GoOwn { folder, .. } => install::files(&root().join("xtask").join(folder))?,
        From::Wheel { .. }
        | From::Npm { .. }
        | From::Collector { .. }
        | From::Cargo { .. }
        | From::Debian { .. } => Vec::new(),
    };
    if ours.is_empty() {
        return Ok(plain);
    }
    let mut hasher = DefaultHasher::new();
    for file in ours {
        std::fs::read(file)?.hash(&mut hasher);
    }
    Ok(format!("{plain}-{:x}", hasher.finish()))
}

/// The tool's programs, when every one of its variables is set already.
fn already_set(tool: &Tool) -> Option<Provided> {
    if tool.provides.is_empty() {
        return None;
    }
    let named = |variable: &String| {
        let path = PathBuf::from(std::env::var_os(variable)?);
        path.exists().then(|| (variable.clone(), path))
    };
    tool.provides.keys().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_parses_and_every_collector_names_its_builder() {
        let shed = Shed::open().expect("tools.toml");
        for (name, tool) in &shed.catalogue.tools {
            assert!(tool.seconds > 0, "`{name}` has no budget");
            if let From::Collector { builder, manifest, .. } = &tool.from {
                assert!(shed.catalogue.tools.contains_key(builder), "`{name}` names no builder");
                let text = std::fs::read_to_string(root().join("xtask").join(manifest)).expect("manifest");
                let parts = text.lines().filter(|line| line.contains("gomod:"));
                for part in parts {
                    assert!(part.ends_with(&format!(" v{}", tool.version)), "{part}: not `{}`", tool.version);
                }
            }
            if let From::Npm { lock } = &tool.from {
                let path = root().join("xtask").join(lock).join("package-lock.json");
                let text = std::fs::read_to_string(path).expect("a lock file");
                let lock: serde_json::Value = serde_json::from_str(&text).expect("JSON");
                let locked = &lock["packages"][format!("node_modules/{name}")]["version"];
                assert_eq!(locked.as_str(), Some(tool.version.as_str()), "`{name}` is locked at {locked}");
            }
        }
    }
}
