//! `faults:` of a route.

use http::StatusCode;

use super::context::Context;
use crate::config::file::{AbortFile, DelayFile, FaultsFile, RouteFile, UpgradeFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::{AbortConfig, DelayConfig, FaultsConfig};
use crate::config::units;

pub(super) fn faults(context: &mut Context<'_>, route_key: &str, file: &RouteFile) -> Option<FaultsConfig> {
    let written = file.faults.as_ref()?;
    let key = member(route_key, "faults");
    // A tunnel has no answer but that of its beginning, and would be a fault of another kind.
    if file.upgrades.contains(&UpgradeFile::Connect) {
        let what = "`faults` has no meaning on a route that takes CONNECT: nothing is answered but bytes";
        context.error(&key, what, "leave it out");
        return None;
    }
    let FaultsFile { delay, abort } = written;
    if delay.is_none() && abort.is_none() {
        context.error(&key, "no fault is written here", "write `delay`, `abort` or both, or leave it out");
        return None;
    }
    let delay = delay.as_ref().map(|file| self::delay(context, &key, file));
    let abort = abort.as_ref().and_then(|file| self::abort(context, &key, file));
    Some(FaultsConfig { delay, abort })
}

fn delay(context: &mut Context<'_>, faults_key: &str, file: &DelayFile) -> DelayConfig {
    let key = member(faults_key, "delay");
    let percent = context.count(&member(&key, "percent"), Some(file.percent), &rules::DELAY_PERCENT);
    let duration = context.duration(&member(&key, "duration"), Some(&file.duration), &rules::DELAY_DURATION);
    let text = units::duration_text(duration);
    warn(context, faults_key, &format!("{percent} % wait for {text} on purpose"));
    DelayConfig { percent: percent as u64, duration }
}

fn abort(context: &mut Context<'_>, faults_key: &str, file: &AbortFile) -> Option<AbortConfig> {
    let key = member(faults_key, "abort");
    let percent = context.count(&member(&key, "percent"), Some(file.percent), &rules::ABORT_PERCENT);
    let status = context.count(&member(&key, "status"), file.status, &rules::ABORT_STATUS);
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
    warn(context, faults_key, &format!("{percent} % fail on purpose"));
    Some(AbortConfig { percent: percent as u64, status })
}

fn warn(context: &mut Context<'_>, faults_key: &str, how_many: &str) {
    context.warn(
        faults_key,
        format!("of the requests that are permitted here, {how_many}"),
        "leave `faults` out once you have seen how callers bear it",
    );
}
