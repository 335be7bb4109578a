//! What becomes of what a route takes: `upstream:`, `redirect:` or `respond:`.

use super::answers::{redirect, respond};
use super::captured;
use super::context::{Context, Reported};
use super::routes::{Within, by_connect, upstream};
use super::tcp;
use crate::config::file::RouteFile;
use crate::config::places::member;
use crate::config::settings::{AnswerConfig, Leads};

pub(super) fn leads(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    within: &Within<'_>,
) -> Result<Leads, Reported> {
    one_of_them(context, key, file)?;
    if let Some(name) = &file.upstream {
        return fitting(context, &member(key, "upstream"), name, (file, within)).map(Leads::Upstream);
    }
    // That a stream has no answer was said with all else that it has not.
    if !within.is_tcp {
        nothing_upstream(context, key, file);
    }
    let redirect_key = member(key, "redirect");
    let redirected = file.redirect.as_ref();
    let redirected = redirected
        .map(|written| redirect(context, &redirect_key, written, (&file.matches, within.is_outbound)));
    let responded = file.respond.as_ref();
    let responded = responded.map(|written| respond(context, &member(key, "respond"), written));
    match (redirected, responded) {
        (Some(redirect), _) => Ok(Leads::Answer(AnswerConfig::Redirect(redirect?))),
        (None, Some(respond)) => Ok(Leads::Answer(AnswerConfig::Respond(respond?))),
        (None, None) => Err(nothing(context, key)),
    }
}

fn nothing(context: &mut Context<'_>, key: &str) -> Reported {
    let what = "nothing is said of what becomes of what it takes";
    context.error(key, what, "write `upstream`, `redirect` or `respond`")
}

fn one_of_them(context: &mut Context<'_>, key: &str, file: &RouteFile) -> Result<(), Reported> {
    let written = [
        ("upstream", file.upstream.is_some()),
        ("redirect", file.redirect.is_some()),
        ("respond", file.respond.is_some()),
    ];
    let mut written = written.into_iter().filter(|(_, is_written)| *is_written).map(|(name, _)| name);
    let Some(first) = written.next() else { return Err(nothing(context, key)) };
    let Some(second) = written.next() else { return Ok(()) };
    let what = format!("`{second}` stands beside `{first}`, and a route has one of the two");
    Err(context.error(&member(key, second), what, "leave one of them out, or write a route for each"))
}

/// An upstream that there is, and that can take what comes by the route.
fn fitting(
    context: &mut Context<'_>,
    key: &str,
    name: &str,
    (file, within): (&RouteFile, &Within<'_>),
) -> Result<String, Reported> {
    let name = upstream(context, key, name, within.config)?;
    // What comes by CONNECT goes on as a raw stream.
    if !within.is_detecting || by_connect(file) {
        tcp::fits(context, key, (&name, within.is_tcp || by_connect(file)), within.config)?;
    }
    captured::fits(context, key, (&name, within.is_captured), within.config)?;
    Ok(name)
}

/// Refuses what is about an upstream where there is none.
fn nothing_upstream(context: &mut Context<'_>, key: &str, file: &RouteFile) {
    let written = [
        ("timeout", file.timeout.is_some()),
        ("stream_idle_timeout", file.stream_idle_timeout.is_some()),
        ("retry", file.retry.is_some()),
        ("upgrades", !file.upgrades.is_empty()),
        ("rewrite", file.rewrite.is_some()),
        ("mirror", file.mirror.is_some()),
        ("faults", file.faults.is_some()),
        ("identity_headers", file.identity_headers.is_some()),
    ];
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what = format!("`{name}` is about an upstream, and this route has none");
        context.error(&member(key, name), what, "leave it out");
    }
}
