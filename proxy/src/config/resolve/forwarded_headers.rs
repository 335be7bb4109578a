//! `forwarded_headers:` of a route.

use super::context::{Context, Reported};
use crate::config::file::{
    ForwardedForFile, ForwardedProtoFile, IdentityHeadersFile, RewriteFile, RouteFile,
};
use crate::config::places::{entry, member};
use crate::config::settings::{ForwardedFor, ForwardedHeaders, ForwardedProto};

pub(super) fn forwarded_headers(
    context: &mut Context<'_>,
    route_key: &str,
    route: &RouteFile,
) -> Result<ForwardedHeaders, Reported> {
    let Some(file) = &route.forwarded_headers else { return Ok(ForwardedHeaders::default()) };
    let address = match file.address {
        None => ForwardedFor::Pass,
        Some(ForwardedForFile::Append) => ForwardedFor::Append,
        Some(ForwardedForFile::Set) => ForwardedFor::Set,
        Some(ForwardedForFile::Remove) => ForwardedFor::Remove,
    };
    let proto = match file.proto {
        None => ForwardedProto::Pass,
        Some(ForwardedProtoFile::Set) => ForwardedProto::Set,
        Some(ForwardedProtoFile::Remove) => ForwardedProto::Remove,
    };
    let told = ForwardedHeaders { address, proto, host: file.host, forwarded: file.forwarded, via: file.via };
    if told == ForwardedHeaders::default() {
        let mend = "write `for`, `proto`, `host`, `forwarded` or `via`, or leave it out";
        let what = "nothing is told of the way of a request here";
        return Err(context.error(&member(route_key, "forwarded_headers"), what, mend));
    }
    let names = [
        ("x-forwarded-for", address != ForwardedFor::Pass),
        ("x-forwarded-proto", proto != ForwardedProto::Pass),
        ("x-forwarded-host", told.host),
        ("forwarded", told.forwarded),
        ("via", told.via),
    ];
    for (name, _) in names.iter().filter(|(_, is_told)| *is_told) {
        elsewhere(context, route_key, route, name);
    }
    Ok(told)
}

/// Refuses what would be written over: `forwarded_headers` comes last.
fn elsewhere(context: &mut Context<'_>, route_key: &str, route: &RouteFile, name: &str) {
    let mut refuse = |key: &str| {
        let what = format!("`{name}` is what `forwarded_headers` makes of it, whatever stands here");
        context.error(key, what, "decide for one of the two");
    };
    if let Some(IdentityHeadersFile { claims, .. }) = &route.identity_headers
        && claims.contains_key(name)
    {
        refuse(&member(&member(&member(route_key, "identity_headers"), "claims"), name));
    }
    let Some(RewriteFile { request_headers, .. }) = &route.rewrite else { return };
    let key = member(&member(route_key, "rewrite"), "request_headers");
    let is_it = |written: &str| written.eq_ignore_ascii_case(name);
    if let Some(written) = request_headers.set.keys().find(|written| is_it(written)) {
        refuse(&member(&member(&key, "set"), written));
    }
    if let Some(index) = request_headers.remove.iter().position(|written| is_it(written)) {
        refuse(&entry(&member(&key, "remove"), index));
    }
}
