//! The tools that put rules in force, take them away and tell which ones are.

use super::Plan;
use super::rules::iptables::{self, Family};
use super::rules::nft;
use super::tool::{self, ToolError};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What rules are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// nftables
    Nft,
    /// The machine's iptables, whichever kind that is
    Iptables,
    /// iptables of the kind before nftables
    IptablesLegacy,
}

/// Rules as text, and what they are written for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What they are written for.
    pub backend: Backend,
    /// For nftables one text, for iptables one for IPv4 and one for IPv6.
    pub texts: Vec<String>,
}

impl Backend {
    /// All, in the order of preference.
    pub const ALL: [Backend; 3] = [Backend::Nft, Backend::Iptables, Backend::IptablesLegacy];

    /// Its name on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Backend::Nft => "nft",
            Backend::Iptables => "iptables",
            Backend::IptablesLegacy => "iptables-legacy",
        }
    }

    /// Whether its tools are on this machine.
    #[must_use]
    pub fn is_there(self) -> bool {
        self.tools().iter().all(|name| tool::find(name).is_ok())
    }

    /// Those that this machine has, each once.
    #[must_use]
    pub fn distinct() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|backend| backend.is_there() && backend.canonical() == *backend)
            .collect()
    }

    /// The machine's iptables where that is the legacy one; else what it is.
    #[must_use]
    pub fn canonical(self) -> Self {
        let program = |backend: Backend| {
            tool::find(backend.tool(Family::Ipv4, "save")).ok().and_then(|path| path.canonicalize().ok())
        };
        let is_legacy = self == Backend::IptablesLegacy
            && program(self).is_some_and(|legacy| program(Backend::Iptables) == Some(legacy));
        if is_legacy { Backend::Iptables } else { self }
    }

    /// The first that this machine has; nftables where it has none, to say what is missing.
    #[must_use]
    pub fn preferred() -> Self {
        Self::ALL.into_iter().find(|backend| backend.is_there()).unwrap_or(Backend::Nft)
    }

    /// The rules of a plan.
    #[must_use]
    pub fn rules(self, plan: &Plan) -> Rules {
        let texts = match self {
            Backend::Nft => vec![nft::table(plan)],
            Backend::Iptables | Backend::IptablesLegacy => {
                Family::ALL.map(|family| iptables::restore(plan, family)).to_vec()
            }
        };
        Rules { backend: self, texts }
    }

    /// Our rules that are in force, as the tool lists them. Empty: there are none.
    ///
    /// # Errors
    /// What the tool says.
    pub fn listing(self) -> Result<String, ToolError> {
        if self == Backend::Nft {
            let nft = tool::find("nft")?;
            return if table_is_there(&nft)? {
                tool::run(&nft, &["-s", "list", "table", "inet", nft::TABLE], "")
            } else {
                Ok(String::new())
            };
        }
        let mut listing = String::new();
        for family in families() {
            for (_, saved) in self.saved(family)? {
                for line in iptables::own_lines(&saved) {
                    listing.push_str(line);
                    listing.push('\n');
                }
            }
        }
        Ok(listing)
    }

    /// Takes our rules away and leaves everything else; gives whether there were any.
    ///
    /// # Errors
    /// What the tool says.
    pub fn remove(self) -> Result<bool, ToolError> {
        if self == Backend::Nft {
            let nft = tool::find("nft")?;
            let there = table_is_there(&nft)?;
            if there {
                tool::run(&nft, &["delete", "table", "inet", nft::TABLE], "")?;
            }
            return Ok(there);
        }
        let mut removed = false;
        for family in families() {
            let text = iptables::transaction("", &self.saved(family)?);
            if !text.is_empty() {
                self.restore(family, &text)?;
                removed = true;
            }
        }
        Ok(removed)
    }

    /// What `iptables-save` prints, a table each.
    fn saved(self, family: Family) -> Result<Vec<(&'static str, String)>, ToolError> {
        let path = tool::find(self.tool(family, "save"))?;
        let mut saved = Vec::new();
        for table in iptables::TABLES {
            // The legacy tool makes the tables that it is asked about.
            if self == Backend::IptablesLegacy && !legacy_table_is_there(family, table) {
                continue;
            }
            saved.push((table, tool::run(&path, &["-t", table], "")?));
        }
        Ok(saved)
    }

    fn restore(self, family: Family, text: &str) -> Result<(), ToolError> {
        let path = tool::find(self.tool(family, "restore"))?;
        // Whoever else changes rules holds a lock of the legacy tool.
        tool::run(&path, &["--noflush", "--wait", "5"], text).map(drop)
    }

    fn tool(self, family: Family, what: &str) -> &'static str {
        match (self, family, what) {
            (Backend::Nft, _, _) => "nft",
            (Backend::Iptables, Family::Ipv4, "save") => "iptables-save",
            (Backend::Iptables, Family::Ipv6, "save") => "ip6tables-save",
            (Backend::Iptables, Family::Ipv4, _) => "iptables-restore",
            (Backend::Iptables, Family::Ipv6, _) => "ip6tables-restore",
            (Backend::IptablesLegacy, Family::Ipv4, "save") => "iptables-legacy-save",
            (Backend::IptablesLegacy, Family::Ipv6, "save") => "ip6tables-legacy-save",
            (Backend::IptablesLegacy, Family::Ipv4, _) => "iptables-legacy-restore",
            (Backend::IptablesLegacy, Family::Ipv6, _) => "ip6tables-legacy-restore",
        }
    }

    fn tools(self) -> [&'static str; 4] {
        let tool = |family, what| self.tool(family, what);
        [
            tool(Family::Ipv4, "save"),
            tool(Family::Ipv6, "save"),
            tool(Family::Ipv4, "restore"),
            tool(Family::Ipv6, "restore"),
        ]
    }
}

impl Rules {
    /// Puts them in force, in the place of rules of ours for the same tools if there are any and that is `replacing`.
    /// nftables takes all of them or none; iptables takes each table of each family of addresses as a whole.
    ///
    /// # Errors
    /// What the tool says; for nftables also where there are rules of ours and they are not to be replaced.
    pub fn apply(&self, replacing: bool) -> Result<(), ToolError> {
        if self.backend == Backend::Nft {
            let nft = tool::find("nft")?;
            for text in &self.texts {
                let text = if replacing { nft::replace(text) } else { nft::create(text) };
                tool::run(&nft, &["-f", "-"], &text)?;
            }
            return Ok(());
        }
        // IPv4 comes first: where the machine has no IPv6, its rules are left over.
        for (family, text) in families().into_iter().zip(&self.texts) {
            let saved = self.backend.saved(family)?;
            self.backend.restore(family, &iptables::transaction(text, &saved))?;
        }
        Ok(())
    }
}

/// A kernel without IPv6 has no rules for it, and its tools fail.
fn families() -> Vec<Family> {
    let has_ipv6 = Path::new("/proc/self/net/if_inet6").exists();
    Family::ALL.into_iter().filter(|family| has_ipv6 || *family != Family::Ipv6).collect()
}

fn table_is_there(nft: &Path) -> Result<bool, ToolError> {
    let tables = tool::run(nft, &["list", "tables", "inet"], "")?;
    let ours = format!("table inet {}", nft::TABLE);
    Ok(tables.lines().any(|line| line.trim() == ours))
}

fn legacy_table_is_there(family: Family, table: &str) -> bool {
    let names = match family {
        Family::Ipv4 => "/proc/self/net/ip_tables_names",
        Family::Ipv6 => "/proc/self/net/ip6_tables_names",
    };
    std::fs::read_to_string(Path::new(names)).is_ok_and(|names| names.lines().any(|name| name == table))
}
