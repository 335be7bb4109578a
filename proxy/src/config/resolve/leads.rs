//! What becomes of what a route takes: `upstream:`, `split:`, `redirect:` or `respond:`.

use super::answers::{redirect, respond};
use super::captured;
use super::context::{Context, Reported};
use super::endpoints::hash_key;
use super::routes::{Within, by_connect, upstream};
use super::tcp;
use crate::config::file::{HashKeyFile, RouteFile, SplitFile};
use crate::config::places::{entry, member};
use crate::config::rules;
use crate::config::settings::{AnswerConfig, HashKey, Leads, SplitConfig};
use crate::pipeline::is_protected_header;

pub(super) fn leads(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    within: &Within<'_>,
) -> Result<Leads, Reported> {
    one_of_them(context, key, file)?;
    let by = split_key(context, key, file, within);
    if let Some(name) = &file.upstream {
        by?;
        return fitting(context, &member(key, "upstream"), name, (file, within)).map(Leads::Upstream);
    }
    if let Some(sides) = &file.split {
        let sides = sides_of(context, &member(key, "split"), sides, (file, within));
        return Ok(Leads::Split(SplitConfig { sides: sides?, key: by? }));
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
    by?;
    match (redirected, responded) {
        (Some(redirect), _) => Ok(Leads::Answer(AnswerConfig::Redirect(redirect?))),
        (None, Some(respond)) => Ok(Leads::Answer(AnswerConfig::Respond(respond?))),
        (None, None) => Err(nothing(context, key)),
    }
}

fn nothing(context: &mut Context<'_>, key: &str) -> Reported {
    let what = "nothing is said of what becomes of what it takes";
    context.error(key, what, "write `upstream`, `split`, `redirect` or `respond`")
}

fn one_of_them(context: &mut Context<'_>, key: &str, file: &RouteFile) -> Result<(), Reported> {
    let written = [
        ("upstream", file.upstream.is_some()),
        ("split", file.split.is_some()),
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

fn sides_of(
    context: &mut Context<'_>,
    key: &str,
    written: &[SplitFile],
    around: (&RouteFile, &Within<'_>),
) -> Result<Vec<(String, u64)>, Reported> {
    if written.len() < 2 {
        let what = format!("there is nothing to choose from {} upstreams", written.len());
        return Err(context.error(key, what, "name at least two, or write `upstream` instead"));
    }
    context.few(key, written.len(), "upstream")?;
    let sides = context.each(key, written, |context, key, side| {
        let name = fitting(context, &member(key, "upstream"), &side.upstream, around);
        let weight = context.count(&member(key, "weight"), Some(side.weight), &rules::SPLIT_WEIGHT);
        Ok((name?, u64::try_from(weight).unwrap_or(u64::MAX)))
    })?;
    let config = around.1.config;
    let first_speaks = sides.first().is_some_and(|(name, _)| tcp::speaks(name, config));
    for (index, (name, _)) in sides.iter().enumerate() {
        let key = member(&entry(key, index), "upstream");
        if sides.iter().take(index).any(|(earlier, _)| earlier == name) {
            let what = format!("`{name}` stands here twice");
            return Err(context.error(&key, what, "leave one of the two out, with the sum of their weights"));
        }
        // Which of the two a connection is shows before one of them is chosen.
        if around.1.is_detecting && !by_connect(around.0) && tcp::speaks(name, config) != first_speaks {
            let what = format!("`{name}` takes what the first of them does not: requests, or raw streams");
            return Err(context.error(&key, what, "write a route for each"));
        }
    }
    if sides.iter().all(|(_, weight)| *weight == 0) {
        let what = "all weights are 0, so that nothing could be sent to any of them";
        return Err(context.error(key, what, "give one of them at least 1"));
    }
    Ok(sides)
}

fn split_key(
    context: &mut Context<'_>,
    key: &str,
    file: &RouteFile,
    within: &Within<'_>,
) -> Result<Option<HashKey>, Reported> {
    let Some(written) = &file.split_key else { return Ok(None) };
    let key = member(key, "split_key");
    if file.split.is_none() {
        return Err(context.error(&key, "there is no `split` here", "leave it out, or write `split`"));
    }
    let by = hash_key(context, &key, written)?;
    match written {
        HashKeyFile::SpiffeId if within.is_outbound => {
            let what = "the local workload is the only caller here: all that it sends goes the same way";
            context.warn(&key, what, "write `header` or `cookie`, or leave it out");
        }
        HashKeyFile::SpiffeId => {}
        HashKeyFile::Header(_) | HashKeyFile::Cookie(_) if within.is_tcp => {
            let what = "a raw stream has neither headers nor cookies";
            return Err(context.error(&key, what, "write `split_key: spiffe_id`, or leave it out"));
        }
        HashKeyFile::Header(name) if is_protected_header(&name.to_ascii_lowercase()) => {
            let what = format!("`{name}` is taken off before one is chosen, so that no request has it");
            return Err(context.error(&member(&key, "header"), what, "name another header"));
        }
        HashKeyFile::Header(_) | HashKeyFile::Cookie(_) => {}
    }
    Ok(Some(by))
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
        ("forwarded_headers", file.forwarded_headers.is_some()),
    ];
    for (name, _) in written.iter().filter(|(_, is_written)| *is_written) {
        let what = format!("`{name}` is about an upstream, and this route has none");
        context.error(&member(key, name), what, "leave it out");
    }
}
