//! How a tool of each origin is built or fetched.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::{From, GoRecipe, Provided, Shed, Tool};
use crate::process::{answer, run_logged};
use crate::root;

/// One tool on its way into a folder.
pub(super) struct Job<'a> {
    pub(super) shed: &'a Shed,
    pub(super) name: &'a str,
    pub(super) tool: &'a Tool,
    pub(super) into: &'a Path,
    pub(super) log: &'a Path,
    pub(super) limit: Duration,
}

impl Job<'_> {
    pub(super) fn run(&self) -> Result<()> {
        match &self.tool.from {
            From::Go(recipe) => {
                let go = self.go(&recipe.go_at_least)?;
                self.go_build(&go, recipe)
            }
            From::GoOwn { folder, go_at_least } => {
                let go = self.go(go_at_least)?;
                self.go_own(&go, folder)
            }
            From::Wheel { package, with } => {
                let first = format!("{package}=={}", self.tool.version);
                self.wheels(std::iter::once(first.as_str()).chain(with.iter().map(String::as_str)), self.into)
            }
            From::Npm { lock } => self.npm(lock),
            From::Collector { builder, manifest, go_at_least } => {
                let go = self.go(go_at_least)?;
                self.collector(&go, builder, manifest)
            }
            From::Cargo { package } => self.cargo(package),
            From::Debian { .. } => bail!("a Debian package has no folder"),
        }
    }

    /// Builds packages of a module in a copy of its source, so that the module's own `go.sum` says what every
    /// dependency must be. (`go install module@version` would do, but it asks for the list of all versions, which
    /// a mirror need not serve, and cannot leave a file's lines out.)
    fn go_build(&self, go: &Path, recipe: &GoRecipe) -> Result<()> {
        let at = format!("{}@v{}", recipe.module, self.tool.version);
        let output = go_command(go, recipe.cgo)
            .args(["mod", "download", "-json", &at])
            .current_dir(self.into)
            .output()?;
        let said: Downloaded =
            serde_json::from_slice(&output.stdout).context("go said nothing we understand")?;
        let source = said.dir.with_context(|| format!("`{at}` cannot be downloaded: {}", said.error))?;
        for kept in &recipe.keeps {
            let from = Path::new(&source).join(kept);
            let name = from.file_name().with_context(|| format!("`{kept}` names no folder"))?;
            copy_writable(&from, &self.into.join(name))?;
        }
        if recipe.packages.is_empty() {
            return Ok(());
        }
        let work = self.into.join(".build");
        copy_writable(Path::new(&source), &work)?;
        for without in &recipe.without {
            let path = work.join(&without.file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("`{at}` has no `{}`", without.file))?;
            let kept: Vec<&str> = text.lines().filter(|line| !line.contains(&without.lines_with)).collect();
            std::fs::write(&path, kept.join("\n") + "\n")?;
        }
        for added in &recipe.with {
            let to = work.join(&added.file);
            std::fs::create_dir_all(to.parent().context("a file is in a folder")?)?;
            std::fs::copy(root().join("xtask").join(&added.from), &to)?;
        }
        let mut command = go_command(go, recipe.cgo);
        command.current_dir(&work).args(["build", "-trimpath", "-o"]).arg(self.into);
        for package in &recipe.packages {
            command.arg(if package == "." { ".".to_owned() } else { format!("./{package}") });
        }
        run_logged(command, self.log, self.limit)?;
        std::fs::remove_dir_all(&work)?;
        Ok(())
    }

    /// Builds a program of ours, in a copy of its folder: two runs at once share nothing that is written.
    fn go_own(&self, go: &Path, folder: &str) -> Result<()> {
        let work = self.into.join(".build");
        copy_writable(&root().join("xtask").join(folder), &work)?;
        let mut command = go_command(go, false);
        command.current_dir(&work).args(["build", "-trimpath", "-mod=readonly", "-o"]);
        command.arg(self.into.join(self.name)).arg(".");
        run_logged(command, self.log, self.limit)?;
        std::fs::remove_dir_all(&work)?;
        Ok(())
    }

    fn collector(&self, go: &Path, builder: &str, manifest: &str) -> Result<()> {
        self.shed.obtain(builder)?;
        let version = &self.shed.catalogue.tools.get(builder).context("no builder")?.version;
        let program = self.shed.folder.join(format!("{builder}-{version}")).join("builder");
        let work = self.into.join(".build");
        std::fs::create_dir_all(&work)?;
        let text = std::fs::read_to_string(root().join("xtask").join(manifest))?;
        let placed = text.replacen("dist:\n", &format!("dist:\n  output_path: {}\n", work.display()), 1);
        let config = self.into.join("manifest.yaml");
        std::fs::write(&config, placed)?;
        let mut command = go_command(&program, false);
        let path = std::env::var("PATH").unwrap_or_default();
        if let Some(folder) = go.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            command.env("PATH", format!("{}:{path}", folder.display()));
        }
        command.arg("--config").arg(&config);
        run_logged(command, self.log, self.limit)?;
        std::fs::rename(work.join(self.name), self.into.join(self.name))?;
        std::fs::remove_dir_all(&work)?;
        Ok(())
    }

    fn cargo(&self, package: &str) -> Result<()> {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .args(["install", "--locked", "--no-track", "--version", &self.tool.version, "--root"])
            .arg(self.into)
            .arg(package)
            .env("CARGO_TARGET_DIR", self.into.join(".target"));
        run_logged(command, self.log, self.limit)?;
        std::fs::remove_dir_all(self.into.join(".target"))?;
        Ok(())
    }

    /// By the lock file alone: what it does not name is not taken, and each archive must have the digest it says.
    fn npm(&self, lock: &str) -> Result<()> {
        let from = root().join("xtask").join(lock);
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(from.join(file), self.into.join(file))
                .with_context(|| format!("`{lock}` has no `{file}`"))?;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(self.into);
        run_logged(command, self.log, self.limit)
    }

    fn wheels<'a>(&self, pinned: impl Iterator<Item = &'a str>, into: &Path) -> Result<()> {
        let python = self.python(into)?;
        let mut command = Command::new(&python);
        command
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"])
            .arg(into)
            .args(pinned);
        run_logged(command, self.log, self.limit)?;
        drop(std::fs::remove_dir_all(into.join(".venv")));
        Ok(())
    }

    /// A Python that has pip: the machine's, else that of a throw-away virtual environment.
    fn python(&self, into: &Path) -> Result<PathBuf> {
        if answer("python3", &["-m", "pip", "--version"]).is_some() {
            return Ok(PathBuf::from("python3"));
        }
        let venv = into.join(".venv");
        let mut command = Command::new("python3");
        command.args(["-m", "venv"]).arg(&venv);
        run_logged(command, self.log, self.limit).context("python3 has neither pip nor venv")?;
        Ok(venv.join("bin/python"))
    }

    /// A Go of at least this version: the machine's, else the one of the fallback wheel.
    fn go(&self, at_least: &str) -> Result<PathBuf> {
        let own = Path::new("go");
        if go_version(own).is_some_and(|version| numbers(&version) >= numbers(at_least)) {
            let path = answer("go", &["env", "GOROOT"]).map(|folder| Path::new(&folder).join("bin/go"));
            return Ok(path.filter(|path| path.is_file()).unwrap_or_else(|| own.to_path_buf()));
        }
        let fallback = &self.shed.catalogue.go_fallback;
        if numbers(&fallback.version) < numbers(at_least) {
            bail!("this needs Go {at_least}; the fallback is {}", fallback.version);
        }
        let folder = self.shed.folder.join(format!("{}-{}", fallback.package, fallback.version));
        if !folder.is_dir() {
            eprintln!("xtask: no Go {at_least} here, getting {} {} …", fallback.package, fallback.version);
            let temporary = self.shed.folder.join(format!(".{}.{}", fallback.package, std::process::id()));
            let pinned = format!("{}=={}", fallback.package, fallback.version);
            self.wheels(std::iter::once(pinned.as_str()), &temporary)?;
            if std::fs::rename(&temporary, &folder).is_err() && !folder.is_dir() {
                bail!("cannot put `{}` in place", folder.display());
            }
        }
        Ok(folder.join(&fallback.program))
    }
}

/// What `go mod download -json` says.
#[derive(Debug, Deserialize)]
struct Downloaded {
    #[serde(rename = "Dir")]
    dir: Option<String>,
    #[serde(rename = "Error", default)]
    error: String,
}

/// The plain files of a folder, in the order of their names.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("there is no `{}`", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Copies a tree of plain files; the module cache is read-only, the copy is not.
fn copy_writable(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_writable(&entry.path(), &target)?;
        } else {
            // Not `fs::copy`: it would carry the read-only permission over.
            std::fs::write(&target, std::fs::read(entry.path())?)?;
        }
    }
    Ok(())
}

/// The Go program (or one that runs it) with the settings under which every peer is built.
fn go_command(go: &Path, cgo: bool) -> Command {
    let mut command = Command::new(go);
    let flags = std::env::var("GOFLAGS").unwrap_or_default();
    command
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", format!("{flags} -buildvcs=false").trim())
        .env("GOWORK", "off")
        .env("CGO_ENABLED", if cgo { "1" } else { "0" });
    command
}

/// `go version go1.26.8 linux/amd64` → `1.26.8`.
fn go_version(go: &Path) -> Option<String> {
    let said = answer(&go.to_string_lossy(), &["env", "GOVERSION"])?;
    said.strip_prefix("go").map(str::to_owned)
}

/// `1.26.8` → `[1, 26, 8]`, so that versions compare.
fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// A program from `PATH`, installed by the package manager when we may.
pub(super) fn debian(
    tool: &Tool,
    (package, versions_in): (&str, Option<&Path>),
    logs: &Path,
) -> Result<Provided> {
    if let Some(provided) = installed(tool, versions_in) {
        return Ok(provided);
    }
    if answer("id", &["-u"]).as_deref() != Some("0") {
        bail!("`{package}` is not installed, and installing it takes root");
    }
    eprintln!("xtask: installing the Debian package {package} …");
    let limit = Duration::from_secs(tool.seconds);
    let log = logs.join(format!("{package}.log"));
    let mut update = Command::new("apt-get");
    update.args(["update", "-q"]);
    run_logged(update, &log, limit)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-q", "-y", "--no-install-recommends", package]);
    install.env("DEBIAN_FRONTEND", "noninteractive");
    run_logged(install, &log, limit)?;
    installed(tool, versions_in)
        .with_context(|| format!("the package `{package}` brought no program of that name"))
}

fn installed(tool: &Tool, versions_in: Option<&Path>) -> Option<Provided> {
    let mut folders: Vec<_> = std::env::split_paths(&std::env::var_os("PATH")?).collect();
    if let Some(versions) = versions_in.and_then(|folder| folder.read_dir().ok()) {
        let mut versions: Vec<_> = versions.flatten().map(|entry| entry.path()).collect();
        versions.sort_by_key(|path| numbers(&path.file_name().unwrap_or_default().to_string_lossy()));
        folders.extend(versions.into_iter().rev().map(|path| path.join("bin")));
    }
    let find =
        |program: &String| folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    tool.provides.iter().map(|(variable, program)| Some((variable.clone(), find(program)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("1.26.10") > numbers("1.26.9"));
        assert!(numbers("1.26.0") > numbers("1.25.12"));
        assert!(numbers("1.18") < numbers("1.18.1"));
    }
}
