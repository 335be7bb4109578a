//! `faults:` of a route.

use http::StatusCode;

use super::context::Context;
use crate::config::file::{RouteFile, UpgradeFile};
use crate::config::places::member;
use crate::config::rules;
use crate::config::settings::AbortConfig;

pub(super) fn abort(context: &mut Context<'_>, route_key: &str, file: &RouteFile) -> Option<AbortConfig> {
    let faults = file.faults.as_ref()?;
    let faults_key = member(route_key, "faults");
    let key = member(&faults_key, "abort");
    // A tunnel has no answer but that of its beginning, and would be a fault of another kind.
    if file.upgrades.contains(&UpgradeFile::Connect) {
        let what = "`faults` has no meaning on a route that takes CONNECT: nothing is answered but bytes";
        context.error(&faults_key, what, "leave it out");
        return None;
    }
    let percent = context.count(&member(&key, "percent"), Some(faults.abort.percent), &rules::ABORT_PERCENT);
    let status = context.count(&member(&key, "status"), faults.abort.status, &rules::ABORT_STATUS);
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok())?;
    context.warn(
        &faults_key,
        format!("of the requests that are permitted here, {percent} % fail on purpose"),
        "leave `faults` out once you have seen how callers bear it",
    );
    Some(AbortConfig { percent: percent as u64, status })
}
