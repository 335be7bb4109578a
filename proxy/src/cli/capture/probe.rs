//! `postern capture probe`: whether the application can get past the sidecar, or be reached past it.

use super::{CommandError, is_as_configured, planned};
use crate::capture::Plan;
use crate::capture::keeper;
use crate::capture::probe::{self, Doubt, Way};
use crate::capture::state::DEFAULT_FOLDER;
use crate::config::{CaptureFrom, CaptureOutbound, CaptureOwn};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Arguments of `capture probe`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The user id of the application
    #[arg(long, value_name = "UID", value_parser = clap::value_parser!(u32).range(..i64::from(u32::MAX)))]
    uid: u32,
    /// Where the application might call, outside of this machine; once for each
    #[arg(long, value_name = "ADDRESS:PORT")]
    to: Vec<SocketAddr>,
    /// The folder in which it is written down what was applied
    #[arg(long, value_name = "FOLDER", default_value = DEFAULT_FOLDER)]
    state_dir: PathBuf,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        self.json
    }
}

/// What one trial came to.
struct Trial {
    /// What was tried.
    what: String,
    told: Told,
    /// What there is to add.
    why: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Captured,
    Past,
    Unknown,
}

impl Told {
    fn word(self) -> &'static str {
        match self {
            Self::Captured => "captured",
            Self::Past => "past",
            Self::Unknown => "unknown",
        }
    }
}

/// Tries everything; an error unless all of it is captured.
pub(super) fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<(), CommandError> {
    let plan = planned(&args.config, err)?;
    let outbound = match (&plan.config().outbound, args.to.as_slice()) {
        (Some(outbound), [_, ..]) => args.to.iter().map(|to| called(outbound, args.uid, *to)).collect(),
        (None, []) => Vec::new(),
        (Some(_), []) => {
            let what = "the plan captures what the application calls: name an address outside by `--to`";
            return Err(CommandError::Config(what.to_owned()));
        }
        (None, _) => {
            let what =
                "the plan captures nothing that the application calls (`capture.outbound`): leave out `--to`";
            return Err(CommandError::Config(what.to_owned()));
        }
    };
    let inbound = reached(args, &plan);
    if args.json {
        let report = json!({
            "outbound": outbound.iter().map(|trial| trial.json("to")).collect::<Vec<_>>(),
            "inbound": inbound.iter().map(|trial| trial.json("at")).collect::<Vec<_>>(),
        });
        writeln!(out, "{report}")?;
    } else {
        outbound.iter().try_for_each(|trial| trial.tell("to", out))?;
        inbound.iter().try_for_each(|trial| trial.tell("at", out))?;
    }
    let is_captured = |trial: &Trial| trial.told == Told::Captured;
    if outbound.iter().chain(&inbound).all(is_captured) { Ok(()) } else { Err(CommandError::Past) }
}

/// The application calls.
fn called(plan: &CaptureOutbound, uid: u32, to: SocketAddr) -> Trial {
    let (told, why) = match probe::outbound(plan, uid, to) {
        Ok(Way::Captured(listener)) => (Told::Captured, format!("it arrives at {listener}")),
        Ok(Way::Past) => (Told::Past, excuse(plan, uid, to)),
        Err(doubt) => (Told::Unknown, doubt.to_string()),
    };
    Trial { what: to.to_string(), told, why }
}

/// Why the plan itself may let a connection by.
fn excuse(plan: &CaptureOutbound, uid: u32, to: SocketAddr) -> String {
    let by = if plan.own == CaptureOwn::Uid(uid) {
        "`own.uid`, which is the sidecar's user".to_owned()
    } else if plan.exclude_uids.contains(&uid) {
        "`exclude.uids`".to_owned()
    } else if plan.exclude_ports.contains(&to.port()) {
        "`exclude.ports`".to_owned()
    } else if plan.exclude_networks.iter().any(|network| network.contains(to.ip())) {
        "`exclude.networks`".to_owned()
    } else {
        match &plan.from {
            CaptureFrom::Uids(uids) if !uids.contains(&uid) => "`from.uids`".to_owned(),
            CaptureFrom::Cgroup(path) => {
                return format!("it connects; is this run in the cgroup `{path}`, of which the plan is?");
            }
            CaptureFrom::Uids(_) | CaptureFrom::Everyone => {
                return "it connects, and the plan does not say so: are the rules in force?".to_owned();
            }
        }
    };
    format!("it connects, as the plan has it by {by}")
}

/// The application is called.
fn reached(args: &Args, plan: &Plan) -> Vec<Trial> {
    let unknown = |why: String| vec![Trial { what: "every port".to_owned(), told: Told::Unknown, why }];
    let open = match probe::open(plan.config().inbound.as_ref(), args.uid) {
        Ok(open) => open,
        Err(error) => return unknown(Doubt::Table(error).to_string()),
    };
    if !open.is_empty() {
        let why = format!("user {} listens there, and what comes from outside is not captured", args.uid);
        let trial = |at: &SocketAddr| Trial { what: at.to_string(), told: Told::Past, why: why.clone() };
        return open.iter().map(trial).collect();
    }
    if plan.config().inbound.is_some() {
        match keeper::status(&args.state_dir) {
            Ok(status) if is_as_configured(&status, plan) => {}
            Ok(_) => {
                let why =
                    "the rules in force are not those of the configuration: see `postern capture status`";
                return unknown(why.to_owned());
            }
            Err(error) => return unknown(error.to_string()),
        }
    }
    let why = format!("user {} listens on loopback or at captured ports alone", args.uid);
    vec![Trial { what: "every port".to_owned(), told: Told::Captured, why }]
}

impl Trial {
    fn json(&self, what: &str) -> Value {
        json!({ what: self.what, "result": self.told.word(), "why": self.why })
    }

    fn tell(&self, what: &str, out: &mut dyn Write) -> io::Result<()> {
        let told = match self.told {
            Told::Captured => "captured",
            Told::Past => "PAST THE SIDECAR",
            Told::Unknown => "CANNOT TELL",
        };
        writeln!(out, "{what} {}: {told}: {}", self.what, self.why)
    }
}
