//! Real OPA gives the same answers.
use super::modules::case;
use super::opa::Opa;
use super::reduce::reduced;
use super::{Answer, Case, ours};
use crate::ast::Version;
use crate::builtins::Context;
use std::collections::BTreeMap;
use std::fmt::Write;

#[expect(clippy::print_stdout, reason = "what is left out, and what a long run finds, must be seen")]
pub(super) fn say(text: &str) {
    println!("{text}");
}

/// The class of what we refuse though OPA takes it.
const KNOWN: &str = "refused on purpose";

/// By what the error says.
const REFUSED: &[&str] =
    &["OPA evaluates this before", "a comprehension in brackets", "a part of itself", "more than 100 deep"];

/// A difference: its class, and the particulars.
struct Difference {
    class: String,
    what: String,
    /// Where OPA refuses it: module and row.
    place: Option<(usize, usize)>,
}

fn difference(case: &Case, opa: &mut Opa) -> Option<Difference> {
    let policy = match (case.load(), opa.load(case)) {
        (Err(_), Err(_)) => return None,
        (Err(error), Ok(())) => {
            opa.unload(case.modules.len());
            let known = REFUSED.iter().find(|why| error.what.contains(*why));
            let class = known.map_or("refused".to_owned(), |why| format!("{KNOWN}: {why}"));
            let place = (usize::from(error.loc.module), usize::try_from(error.loc.row).unwrap());
            return Some(Difference { class, what: error.to_string(), place: Some(place) });
        }
        (Ok(_), Err(what)) => {
            let code = |part: &&str| part.starts_with("rego_") && part.ends_with("_error");
            let class = what.split('"').find(code).unwrap_or("unknown").to_owned();
            let texts = what.split("\"message\": \"").skip(2).filter_map(|rest| rest.lines().next());
            let (place, what) = (place_in(&what), texts.collect::<Vec<_>>().join(" / "));
            return Some(Difference { class: format!("taken: {class}"), what, place });
        }
        (Ok(policy), Ok(())) => policy,
    };
    let found = answers(case, &policy, opa);
    opa.unload(case.modules.len());
    found
}

/// Where the first error in an answer of OPA is.
fn place_in(answer: &str) -> Option<(usize, usize)> {
    let answer = crate::Value::from_json(answer).ok()?;
    let location = answer.member("errors")?.as_array()?.first()?.member("location")?;
    let module = location.member("file")?.as_str()?.strip_prefix('m')?.parse().ok()?;
    let row = usize::try_from(location.member("row")?.as_i64()?).ok()?;
    Some((module, row))
}

fn answers(case: &Case, policy: &crate::Policy, opa: &Opa) -> Option<Difference> {
    let (packages, rules) = case.documents(policy);
    let mut context = Context::new(1_700_000_000_000_000_000, 1);
    for input in &case.inputs {
        let input = input.as_deref();
        let mut errors = false;
        for path in packages.iter().chain(&rules) {
            if !errors && rules.contains(path) {
                break;
            }
            let Some(ours) = ours(policy, case, path, input, &mut context) else { continue };
            let theirs = opa.ask(path, input, case.strict)?;
            errors |= matches!(theirs, Answer::Error(_)) || matches!(ours, Answer::Error(_));
            // OPA leaves out what its index knows not to hold, and with it the errors there; we look at it, and refuse.
            let refused_more = matches!(ours, Answer::Error(_));
            if ours != theirs && !refused_more {
                let kind = |answer: &Answer| match answer {
                    Answer::Value(_) => "value",
                    Answer::Undefined => "undefined",
                    Answer::Error(_) => "error",
                };
                let class = format!("{} for {}", kind(&ours), kind(&theirs));
                let what = format!("{path:?}\n  ours   {ours:?}\n  theirs {theirs:?}");
                return Some(Difference { class, what, place: None });
            }
        }
    }
    None
}

fn shown(case: &Case) -> String {
    let mut text = String::new();
    for module in &case.modules {
        writeln!(text, "{module}").unwrap();
    }
    write!(text, "{:?} strict {} data {}\ninputs {:?}", case.version, case.strict, case.data, case.inputs)
        .unwrap();
    text
}

/// Compares the cases of these numbers; the differences that are no known ones, reduced.
fn compare(seeds: std::ops::Range<u64>, most: usize) -> (Vec<String>, BTreeMap<String, usize>) {
    let mut found = Vec::new();
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    let name = format!("d{}", seeds.start);
    let (Some(v0), Some(v1)) =
        (Opa::start(Version::V0, &format!("{name}-v0")), Opa::start(Version::V1, &format!("{name}-v1")))
    else {
        return (found, classes);
    };
    let (mut v0, mut v1) = (v0, v1);
    for seed in seeds {
        let mut case = case(seed);
        let opa = if case.version == Version::V0 { &mut v0 } else { &mut v1 };
        while let Some(first) = difference(&case, opa) {
            *classes.entry(first.class.clone()).or_default() += 1;
            let known = first.class.starts_with(KNOWN);
            if !known && found.len() < most {
                found.push(told(seed, &case, first, opa));
                break;
            }
            let fewer = first.place.and_then(|(module, row)| case.without_line(module, row));
            let Some(fewer) = fewer else { break };
            case = fewer;
        }
        let end = if case.load().is_ok() { "loaded in the end" } else { "both refuse" };
        *classes.entry(end.to_owned()).or_default() += 1;
    }
    (found, classes)
}

/// The difference in the smallest case that shows it.
fn told(seed: u64, case: &Case, first: Difference, opa: &mut Opa) -> String {
    let same = |what: &Difference| what.class == first.class;
    let small = reduced(case, &mut |case| difference(case, opa).as_ref().is_some_and(same));
    let what = difference(&small, opa).map_or(first.what, |difference| difference.what);
    let text = format!("== seed {seed}: {}: {what}\n{}\n", first.class, shown(&small));
    if std::env::var_os("POSTERN_REGO_SEEDS").is_some() {
        say(&text);
    }
    text
}

#[test]
fn generated_policies_mean_what_they_mean_to_opa() {
    let seeds = std::env::var("POSTERN_REGO_SEEDS").ok().map(|seeds| {
        let (from, to) = seeds.split_once("..").unwrap();
        from.parse().unwrap()..to.parse().unwrap()
    });
    if std::env::var_os("POSTERN_OPA").is_none() {
        say("SKIPPED: POSTERN_OPA names no OPA to ask");
        return;
    }
    let (found, classes) = compare(seeds.unwrap_or(0..300), 20);
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (class, count) in classes.iter().take(40) {
        say(&format!("{count} {class}"));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// The policies of the envoy plugin's own cases, with the requests of all of them.
#[test]
fn policies_for_envoy_mean_what_they_mean_to_opa() {
    let (Some(root), Some(mut opa)) = (std::env::var_os("POSTERN_DATA"), Opa::start(Version::V1, "envoy"))
    else {
        say("SKIPPED: POSTERN_DATA and POSTERN_OPA must name the cases and OPA");
        return;
    };
    let path = std::path::Path::new(&root).join("opa-envoy/opa-envoy-cases.json");
    let text = std::fs::read_to_string(path).unwrap();
    let file = crate::Value::from_json(&text).unwrap();
    let cases = file.member("check_cases").unwrap().as_array().unwrap();
    let inputs: Vec<Option<String>> = cases.iter().filter_map(|case| Some(Some(request(case)?))).collect();
    let mut policies = 0;
    for case in cases {
        let Some(policy) = case.member("policy").and_then(crate::Value::as_str) else { continue };
        policies += 1;
        let case = Case {
            modules: vec![policy.to_owned()],
            version: Version::V1,
            data: "{}".to_owned(),
            inputs: inputs.clone(),
            strict: false,
        };
        if let Some(found) = difference(&case, &mut opa) {
            panic!("{}: {}\n{policy}", found.class, found.what);
        }
    }
    assert!(policies > 30, "{policies} policies");
}

/// The input that the plugin makes of a request, in the main.
fn request(case: &crate::Value) -> Option<String> {
    let http = case.member("check_request")?.member("attributes")?.member("request")?.member("http")?;
    let path = http.member("path").and_then(crate::Value::as_str).unwrap_or_default();
    let parts = path.split('?').next()?.split('/').skip(1).map(crate::Value::from);
    let body = http.member("body").and_then(crate::Value::as_str);
    let body = body.and_then(|body| crate::Value::from_json(body).ok()).unwrap_or(crate::Value::Null);
    let mut input = case.member("check_request")?.as_object()?.clone();
    input.insert("parsed_path".into(), crate::Value::array(parts));
    input.insert("parsed_body".into(), body);
    Some(crate::Value::Object(input).to_json())
}
