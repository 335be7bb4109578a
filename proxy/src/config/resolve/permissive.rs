//! `permissive:` of an inbound listener: plain text beside mutual TLS, for a while.

use super::context::{Context, Reported};
use super::traffic::protocol;
use crate::config::file::{ListenerFile, PermissiveFile, SilenceFile, TlsFile};
use crate::config::moment::moment;
use crate::config::places::member;
use crate::config::settings::{
    Config, Enforcement, ListenerConfig, ListenerProtocol, PermissiveConfig, PolicyDecision, Silence,
};

/// Where it stands below a listener.
const KEY: &str = "inbound.tls.mutual.permissive";

/// What is written, if anything is.
pub(super) fn written(file: &ListenerFile) -> Option<&PermissiveFile> {
    let TlsFile::Mutual(mutual) = &file.inbound.as_ref()?.tls;
    mutual.permissive.as_ref()
}

pub(super) fn permissive(
    context: &mut Context<'_>,
    listener: &str,
    file: &ListenerFile,
) -> Result<Option<PermissiveConfig>, Reported> {
    let Some(written) = written(file) else { return Ok(None) };
    let key = format!("{listener}.{KEY}");
    let until = moment(&written.until).map_err(|error| {
        let mend = "write a date like `2027-03-01`, or a moment like `2027-03-01T06:00:00Z`";
        context.error(&member(&key, "until"), error.to_string(), mend)
    });
    let silence = match written.silence {
        None | Some(SilenceFile::Refused) => Silence::Refused,
        Some(SilenceFile::Plaintext) if protocol(file) != ListenerProtocol::Tcp => {
            let what = "who calls by HTTP speaks first: silence says nothing";
            let mend = "leave it out; it is for services that speak first, behind `protocol: tcp`";
            return Err(context.error(&member(&key, "silence"), what, mend));
        }
        Some(SilenceFile::Plaintext) => Silence::Plaintext,
    };
    Ok(Some(PermissiveConfig { until_unix_s: until?, silence }))
}

/// Whether first bytes are waited for, and for how long is a question.
pub(super) fn waits(file: &ListenerFile) -> bool {
    written(file).is_some_and(|written| matches!(written.silence, Some(SilenceFile::Plaintext)))
}

/// Warns where nobody in plain text could get anywhere.
pub(super) fn check_together(context: &mut Context<'_>, config: &Config) {
    let is_useless = |listener: &&ListenerConfig| {
        listener.permissive.is_some()
            && listener.routes.iter().all(|route| route.enforcement == Enforcement::Enforce)
    };
    if config.policy.decision != PolicyDecision::Cedar {
        return;
    }
    for listener in config.listeners.iter().filter(is_useless) {
        let what = "Cedar policies are about workloads: whoever comes in plain text is refused";
        let mend = "write `enforcement: observe` on the routes that they need yet, or decide by Rego";
        let key = member("listeners", &listener.name);
        context.warn(&format!("{key}.{KEY}"), what, mend);
    }
}
