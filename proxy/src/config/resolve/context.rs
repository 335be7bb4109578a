//! What every part of the resolution needs: a place for findings, and the reading of plain values.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Environment;
use super::files::{FileKind, FileReference};
use crate::config::file::{PlaintextFile, TrustRootsFile};
use crate::config::findings::Finding;
use crate::config::places::{entry, member};
use crate::config::rules::{ENTRIES_MAX, NAME_BYTES_MAX, Rule};
use crate::config::settings::{HttpSource, Plaintext, TrustRoots};
use crate::config::units;
use crate::config::url::{ControlUrl, Scheme};

/// Proof that a finding was reported: only [`Context::error`] makes one, so that no value goes missing
/// without a word.
#[derive(Debug)]
pub(super) struct Reported;

pub(super) struct Context<'a> {
    base: &'a Path,
    environment: &'a Environment,
    findings: Vec<Finding>,
    files: Vec<FileReference>,
}

impl<'a> Context<'a> {
    pub(super) fn new(base: &'a Path, environment: &'a Environment) -> Context<'a> {
        Context { base, environment, findings: Vec::new(), files: Vec::new() }
    }

    /// The variables that count.
    pub(super) fn environment(&self) -> &'a Environment {
        self.environment
    }

    pub(super) fn finish(self) -> (Vec<Finding>, Vec<FileReference>) {
        (self.findings, self.files)
    }

    /// Refuses the configuration.
    pub(super) fn error(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) -> Reported {
        self.findings.push(Finding::error(key, what, mend));
        Reported
    }

    /// Tells somebody.
    pub(super) fn warn(&mut self, key: &str, what: impl Into<String>, mend: impl Into<String>) {
        self.findings.push(Finding::warning(key, what, mend));
    }

    /// A duration within its rule; the default when it is not written, or wrong and reported.
    pub(super) fn duration(&mut self, key: &str, text: Option<&String>, rule: &Rule<Duration>) -> Duration {
        let Some(text) = text else { return rule.default };
        match units::duration(text) {
            Ok(value) if value < rule.min || value > rule.max => {
                self.error(key, format!("`{text}` is out of range"), format!("write {}", rule.range_text()));
            }
            Ok(value) => return value,
            Err(error) => {
                self.error(key, error.to_string(), format!("write {}", rule.range_text()));
            }
        }
        rule.default
    }

    /// A size in bytes within its rule; the default when it is not written, or wrong and reported.
    pub(super) fn size(&mut self, key: &str, text: Option<&String>, rule: &Rule<u64>) -> u64 {
        let range = || format!("write {} to {}", units::size_text(rule.min), units::size_text(rule.max));
        let Some(text) = text else { return rule.default };
        match units::size(text) {
            Ok(value) if value < rule.min || value > rule.max => {
                self.error(key, format!("`{text}` is out of range"), range());
            }
            Ok(value) => return value,
            Err(error) => {
                self.error(key, error.to_string(), range());
            }
        }
        rule.default
    }

    /// As [`Context::size`], for what is held in memory.
    pub(super) fn memory(&mut self, key: &str, text: Option<&String>, rule: &Rule<u64>) -> usize {
        let bytes = self.size(key, text, rule);
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// A number within its rule; the default when it is not written, or wrong and reported.
    pub(super) fn count(&mut self, key: &str, value: Option<u64>, rule: &Rule<u64>) -> usize {
        let value = match value {
            Some(value) if value < rule.min || value > rule.max => {
                self.error(
                    key,
                    format!("`{value}` is out of range"),
                    format!("write {} to {}", rule.min, rule.max),
                );
                rule.default
            }
            Some(value) => value,
            None => rule.default,
        };
        usize::try_from(value).unwrap_or(usize::MAX)
    }

    /// A name for a listener, an upstream, a route or a bundle.
    pub(super) fn name(&mut self, key: &str, name: &str) -> Result<String, Reported> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
            return Err(self.error(
                key,
                format!("`{name}` is not a name"),
                format!("use 1 to {NAME_BYTES_MAX} letters, digits, `.`, `-` and `_`"),
            ));
        }
        Ok(name.to_owned())
    }

    /// Refuses a list or map that is empty or beyond all measure.
    pub(super) fn some(&mut self, key: &str, entries: usize, what: &str) -> Result<(), Reported> {
        if entries == 0 {
            return Err(self.error(key, format!("there is no {what}"), format!("write at least one {what}")));
        }
        self.few(key, entries, what)
    }

    /// Refuses a list or map that is beyond all measure.
    pub(super) fn few(&mut self, key: &str, entries: usize, what: &str) -> Result<(), Reported> {
        if entries > ENTRIES_MAX {
            let what = format!("there are {entries} entries, each a {what}");
            return Err(self.error(key, what, format!("at most {ENTRIES_MAX} are accepted")));
        }
        Ok(())
    }

    /// Resolves every entry of a list, reporting all that is wrong.
    pub(super) fn each<T, U>(
        &mut self,
        key: &str,
        list: &[T],
        mut one: impl FnMut(&mut Context<'a>, &str, &T) -> Result<U, Reported>,
    ) -> Result<Vec<U>, Reported> {
        let mut resolved = Ok(Vec::with_capacity(list.len()));
        for (index, item) in list.iter().enumerate() {
            let item = one(self, &entry(key, index), item);
            match (&mut resolved, item) {
                (Ok(items), Ok(item)) => items.push(item),
                (_, Err(reported)) => resolved = Err(reported),
                (Err(_), Ok(_)) => {}
            }
        }
        resolved
    }

    /// Refuses an entry that stands earlier in the same list.
    pub(super) fn distinct<T: PartialEq>(&mut self, key: &str, list: &[T], text: impl Fn(&T) -> String) {
        for (index, item) in list.iter().enumerate() {
            if list.iter().take(index).any(|earlier| earlier == item) {
                let what = format!("`{}` stands here twice", text(item));
                self.error(&entry(key, index), what, "leave one of the two out");
            }
        }
    }

    /// A path, joined to the folder of the configuration file; what must be there is looked at later.
    pub(super) fn file(&mut self, key: &str, text: &str, kind: FileKind) -> Result<PathBuf, Reported> {
        if text.is_empty() || text.contains('\0') {
            return Err(self.error(
                key,
                "the path is empty",
                "write a path; it is relative to the configuration file",
            ));
        }
        let path = self.base.join(text);
        self.files.push(FileReference { key: key.to_owned(), path: path.clone(), kind });
        Ok(path)
    }

    /// A list of files, at least one.
    pub(super) fn file_list(
        &mut self,
        key: &str,
        list: &[String],
        kind: FileKind,
    ) -> Result<Vec<PathBuf>, Reported> {
        self.some(key, list.len(), "file")?;
        self.distinct(key, list, String::clone);
        self.each(key, list, |context, key, text| context.file(key, text, kind))
    }

    /// A Unix socket: `unix:///path` or an absolute path.
    pub(super) fn socket(&mut self, key: &str, text: &str) -> Result<PathBuf, Reported> {
        /// `sun_path` of Linux, without its final NUL.
        const SOCKET_BYTES_MAX: usize = 107;
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if !path.starts_with('/') || path.contains('\0') || path.ends_with('/') {
            return Err(self.error(
                key,
                format!("`{text}` is not a Unix socket"),
                "write `unix:///run/…/name.sock`, or an absolute path",
            ));
        }
        if path.len() > SOCKET_BYTES_MAX {
            let what = format!("`{path}` has {} bytes", path.len());
            return Err(self.error(
                key,
                what,
                format!("the system takes at most {SOCKET_BYTES_MAX}: move it up"),
            ));
        }
        Ok(PathBuf::from(path))
    }

    /// An IP address with a port.
    pub(super) fn address(&mut self, key: &str, text: &str) -> Result<SocketAddr, Reported> {
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 => Err(self.error(
                key,
                format!("`{text}` leaves the port to chance"),
                "write a port from 1 to 65535",
            )),
            Ok(address) => Ok(address),
            Err(_) => Err(self.error(
                key,
                format!("`{text}` is not an IP address with a port"),
                "write it like `127.0.0.1:8080` or `[::1]:8080`; names are resolved in the endpoints of upstreams alone",
            )),
        }
    }

    /// How far bytes may travel without TLS; not far unless written.
    pub(super) fn plaintext(&mut self, written: Option<PlaintextFile>) -> Plaintext {
        match written {
            None | Some(PlaintextFile::LoopbackOnly) => Plaintext::LoopbackOnly,
            Some(PlaintextFile::AnyAddress) => Plaintext::AnyAddress,
        }
    }

    /// The `trust_roots` in the map at `key`; the machine's unless written.
    pub(super) fn trust_roots(
        &mut self,
        key: &str,
        written: Option<&TrustRootsFile>,
    ) -> Result<TrustRoots, Reported> {
        match written {
            None | Some(TrustRootsFile::System) => Ok(TrustRoots::System),
            Some(TrustRootsFile::Files(files)) => {
                let key = member(&member(key, "trust_roots"), "files");
                self.file_list(&key, files, FileKind::Public).map(TrustRoots::Files)
            }
        }
    }

    /// A URL with its roots and its `plaintext`, which stand in the map at `key`.
    pub(super) fn http_source(
        &mut self,
        key: &str,
        url_key: &str,
        url: &str,
        options: (Option<&TrustRootsFile>, Option<PlaintextFile>),
    ) -> Result<HttpSource, Reported> {
        let (trust_roots, plaintext) = options;
        let roots_key = member(key, "trust_roots");
        let roots = self.trust_roots(key, trust_roots);
        let plaintext = self.plaintext(plaintext);
        let parsed = match ControlUrl::parse(url) {
            Ok(parsed) => parsed,
            Err(error) => {
                return Err(self.error(url_key, error.to_string(), "write it like `https://host/path`"));
            }
        };
        if parsed.scheme == Scheme::Http {
            self.check_plain(key, url_key, &parsed, plaintext)?;
            if trust_roots.is_some() {
                let what = "`trust_roots` has no effect on a plain `http://` URL";
                return Err(self.error(&roots_key, what, "use `https://`, or leave `trust_roots` out"));
            }
        }
        Ok(HttpSource { url: url.to_owned(), trust_roots: roots?, plaintext })
    }

    fn check_plain(
        &mut self,
        key: &str,
        url_key: &str,
        url: &ControlUrl,
        plaintext: Plaintext,
    ) -> Result<(), Reported> {
        match plaintext {
            Plaintext::LoopbackOnly if !url.is_loopback() => Err(self.error(
                url_key,
                format!("`{}` goes over the network without TLS", url.redacted()),
                format!("use `https://`, or accept it with `plaintext: any_address` in `{key}`"),
            )),
            Plaintext::LoopbackOnly => Ok(()),
            Plaintext::AnyAddress => {
                let what = format!("`{}` goes without TLS to any address", url.redacted());
                self.warn(url_key, what, "use `https://`: the network can read and change what passes");
                Ok(())
            }
        }
    }
}
