//! From a case to a query, and from a verdict to what differs from what was expected.
use super::cases::{Case, Expect, PlainText};
use crate::{Body, Decision, Headers, Http, Pdp, Query, Scratch, Source, Tls, TokenIssuer, Verdict};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) const SOURCE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 50_000);
pub(super) const DESTINATION: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8443);

/// Does something with the query of a case.
pub fn with_query<T>(case: &Case, now_ns: u64, ask: impl FnOnce(&Query<'_>) -> T) -> T {
    let headers: Vec<(String, String)> = case.headers.clone().into_iter().collect();
    let (action, target) = case.does.split_once(' ').unwrap_or((&case.does, ""));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let trust_domain = case.who.as_deref().and_then(trust_domain);
    let http = (action != "connect").then_some(Http {
        id: "01JDEXAMPLE",
        scheme: if case.tls.is_some() { "http" } else { "https" },
        authority: case.host.as_deref().unwrap_or("service.example"),
        path,
        query,
        protocol: "HTTP/2",
        headers: &headers as &dyn Headers,
        body: case.body.as_deref().map_or(Body::NotRead, |body| Body::Whole(body.as_bytes())),
        size: case.body.as_ref().map_or(0, |body| i64::try_from(body.len()).unwrap_or(i64::MAX)),
    });
    let issuer = case.claims.as_ref().and_then(|claims| claims.get("iss")?.as_str());
    ask(&Query {
        now_ns: case.now_ns.unwrap_or(now_ns),
        action,
        source: Source {
            address: Some(case.source.unwrap_or(SOURCE)),
            spiffe_id: case.who.as_deref(),
            trust_domain,
            sni: None,
            certificate_serial: None,
            tls: Tls::said(case.tls.map(PlainText::word)),
        },
        destination: Some(case.destination.unwrap_or(DESTINATION)),
        destination_principal: None,
        http,
        claims: case.claims.as_ref(),
        transaction: case.transaction.as_ref(),
        token_issuer: issuer
            .map(|issuer| TokenIssuer { issuer, trust_domain: case.token_trust_domain.as_deref() }),
        workload_token: None,
        route: case.route.as_deref().unwrap_or("route"),
        service: case.service.as_deref().unwrap_or("service"),
    })
}

fn trust_domain(id: &str) -> Option<&str> {
    id.strip_prefix("spiffe://")?.split('/').next()
}

/// The verdict on a case.
pub fn verdict(pdp: &Pdp, scratch: &mut Scratch, case: &Case, now_ns: u64) -> Verdict {
    with_query(case, now_ns, |query| pdp.decide(scratch, query))
}

/// What differs from what the case expects; nothing if the verdict is as expected.
pub fn differences(case: &Case, verdict: &Verdict) -> Vec<String> {
    let mut found = Vec::new();
    let (want, code) = match case.expect {
        Expect::Allow => (Decision::Allow, "policy.allowed"),
        Expect::Deny => (Decision::Deny, "policy.denied"),
    };
    if verdict.decision != want {
        found.push(format!("expected {}, got {}", word(want), shown(verdict)));
    } else {
        // A table says so where it expects an undefined answer or an error: those are not the policy's own no. Raw
        // streams are asked about by few policies.
        let code = case.code.as_deref().or((case.does != "connect").then_some(code));
        if let Some(code) = code.filter(|code| *code != verdict.code) {
            found.push(format!("expected the code {code}, got {}", shown(verdict)));
        }
    }
    if let Some(reason) = &case.reason
        && verdict.message.as_ref() != Some(reason)
    {
        let got = verdict.message.as_deref().map_or("none".to_owned(), |message| format!("`{message}`"));
        found.push(format!("expected the reason `{reason}`, got {got}"));
    }
    if let Some(policies) = &case.policies {
        let got: Vec<&str> = verdict.reasons.iter().map(|id| id.as_str()).collect();
        if got != *policies {
            found.push(format!("expected the policies [{}], got [{}]", policies.join(", "), got.join(", ")));
        }
    }
    if let Some(sets) = &case.sets {
        let got = match verdict.decision {
            Decision::Allow => &verdict.obligations.request_headers_set,
            Decision::Deny => &verdict.obligations.deny_headers,
        };
        let want: Vec<(String, String)> = sets.clone().into_iter().collect();
        if *got != want {
            found.push(format!("expected the fields {}, got {}", fields(&want), fields(got)));
        }
    }
    found
}

fn fields(fields: &[(String, String)]) -> String {
    let shown: Vec<String> = fields.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
    format!("[{}]", shown.join(", "))
}

pub(super) fn word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
    }
}

/// A verdict in a few words.
fn shown(verdict: &Verdict) -> String {
    let mut text = word(verdict.decision).to_owned();
    if !matches!(verdict.code, "policy.allowed" | "policy.denied") {
        text = format!("{text} ({})", verdict.code);
    }
    for more in verdict.message.iter().chain(&verdict.errors) {
        text.push_str(": ");
        text.push_str(more);
    }
    text
}
