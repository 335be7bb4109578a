//! Every folder under `examples/policies/` is a policy with a table of cases, and every case is run.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]
use postern_policy::{
    Body, BundleLimits, Decision, Entry, Headers, Http, Pdp, PdpLimits, PolicyBundle, Query, Scratch,
    Signers, Source, TokenIssuer, Verdict,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    decision: EntryName,
    /// Another table whose cases count here too, relative to this one.
    cases_from: Option<PathBuf>,
    now_ns: Option<u64>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum EntryName {
    Rego(String),
    Cedar(BTreeMap<String, String>),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// The caller's SPIFFE ID.
    who: String,
    /// `METHOD /path?query`, or `connect`.
    #[serde(rename = "do")]
    does: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    claims: Option<serde_json::Map<String, serde_json::Value>>,
    now_ns: Option<u64>,
    expect: Expect,
    code: Option<String>,
    reason: Option<String>,
    policies: Option<Vec<String>>,
    /// Header fields that the verdict sets on the request (allow) or on the answer (deny).
    sets: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Expect {
    Allow,
    Deny,
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/policies");
    let mut folders: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn sources(folder: &Path, prefix: &str, files: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), files);
        } else {
            files.push((name, fs::read(&path).unwrap()));
        }
    }
}

fn table(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn load(folder: &Path, decision: &EntryName) -> Pdp {
    let mut files = Vec::new();
    sources(&folder.join("bundle"), "", &mut files);
    let named = files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
    let bundle =
        PolicyBundle::from_files(named, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment);
    let bundle = bundle.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let entry = match decision {
        EntryName::Rego(path) => Entry::Rego { path: path.clone() },
        EntryName::Cedar(options) => {
            assert!(options.is_empty(), "`cedar` takes no options");
            Entry::Cedar
        }
    };
    let limits = PdpLimits { timeout: Duration::from_secs(20), ..PdpLimits::default() };
    Pdp::load(&[("example", bundle)], &entry, &limits)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn decide(pdp: &Pdp, case: &Case, now_ns: u64) -> Verdict {
    let headers: Vec<(String, String)> = case.headers.clone().into_iter().collect();
    let (action, target) = case.does.split_once(' ').unwrap_or((&case.does, ""));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let trust_domain = case.who.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
    let http = (action != "connect").then_some(Http {
        id: "01JDEXAMPLE",
        scheme: "https",
        authority: "service.example",
        path,
        query,
        protocol: "HTTP/2",
        headers: &headers as &dyn Headers,
        body: Body::NotRead,
        size: 0,
    });
    let issuer = case.claims.as_ref().and_then(|claims| claims.get("iss")?.as_str());
    let query = Query {
        now_ns,
        action,
        source: Source {
            address: "127.0.0.1:50000".parse().unwrap(),
            spiffe_id: Some(&case.who),
            trust_domain,
            sni: None,
            certificate_serial: None,
        },
        destination: "127.0.0.1:8443".parse().unwrap(),
        destination_principal: None,
        http,
        claims: case.claims.as_ref(),
        transaction: None,
        token_issuer: issuer.map(|issuer| TokenIssuer { issuer, trust_domain: None }),
        workload_token: None,
        route: "route",
        service: "service",
    };
    pdp.decide(&mut Scratch::default(), &query)
}

fn check(place: &str, pdp: &Pdp, case: &Case, now_ns: u64) {
    let verdict = decide(pdp, case, case.now_ns.unwrap_or(now_ns));
    let (want, code) = match case.expect {
        Expect::Allow => (Decision::Allow, "policy.allowed"),
        Expect::Deny => (Decision::Deny, "policy.denied"),
    };
    let place = format!("{place}: {}: {verdict:?}", case.name);
    assert_eq!(verdict.decision, want, "{place}");
    match &case.code {
        Some(code) => assert_eq!(verdict.code, code, "{place}"),
        // A table says so where it expects an undefined answer or an error: those are not the policy's own no.
        None if case.does == "connect" => {}
        None => assert_eq!(verdict.code, code, "{place}"),
    }
    if let Some(reason) = &case.reason {
        assert_eq!(verdict.message.as_deref(), Some(reason.as_str()), "{place}");
    }
    if let Some(policies) = &case.policies {
        let ids: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
        assert_eq!(&ids, policies, "{place}");
    }
    if let Some(sets) = &case.sets {
        let set = match verdict.decision {
            Decision::Allow => verdict.obligations.request_headers_set,
            Decision::Deny => verdict.obligations.deny_headers,
        };
        let want: Vec<(String, String)> = sets.clone().into_iter().collect();
        assert_eq!(set, want, "{place}");
    }
}

#[test]
fn every_example_policy_answers_its_cases() {
    let folders = folders();
    assert!(folders.len() >= 5, "there are at least five example policies");
    for folder in folders {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(folder.join("README.md").exists(), "{name} has no README.md");
        let own = table(&folder.join("cases.yaml"));
        let pdp = load(&folder, &own.decision);
        let now_ns = own.now_ns.unwrap_or(1_700_000_000_000_000_000);
        let mut cases = Vec::new();
        if let Some(other) = &own.cases_from {
            // Another language names its policies and reasons in its own way: the decisions are what is shared.
            let shared = table(&folder.join(other)).cases;
            cases.extend(shared.into_iter().map(|case| Case {
                reason: None,
                policies: None,
                code: None,
                ..case
            }));
        }
        cases.extend(own.cases);
        assert!(!cases.is_empty(), "{name} has no cases");
        let allowed = cases.iter().filter(|case| matches!(case.expect, Expect::Allow)).count();
        assert!(
            allowed > 0 && allowed < cases.len(),
            "{name} has no case that is allowed, or none that is denied"
        );
        for case in &cases {
            check(&name, &pdp, case, now_ns);
        }
    }
}
