//! What a Cedar decision costs with few and with many policies: `cargo run --release --example cedar_speed`.
//!
//! `decide` is a whole decision of the proxy, the context included, for a caller that the evaluator has seen before;
//! `answer` looks the policies up anew and gets a ready request; `linear` is Cedar's own walk over all of them.
#![expect(clippy::disallowed_methods, reason = "it measures wall time")]
#![expect(clippy::print_stdout, reason = "its output is its purpose")]
use cedar_policy::{Authorizer, Context, Entities, PolicySet, Request, RestrictedExpression};
use postern_policy::{
    Body, BundleLimits, CedarSet, Decision, Entry, Http, Pdp, PdpLimits, PolicyBundle, Query, Scratch,
    Signers, Source,
};
use std::error::Error;
use std::fmt::Write as _;
use std::hint::black_box;
use std::str::FromStr as _;
use std::time::Instant;

const CALLER: &str = "spiffe://example.org/w7";

/// One policy a caller, and some that are about everyone.
fn policies(count: usize, condition: &str) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    for number in 0..count {
        writeln!(
            text,
            r#"permit (principal == Workload::"spiffe://example.org/w{number}", action == Action::"GET",
                       resource == Route::"accounts") when {{ {condition} }};"#
        )?;
    }
    writeln!(text, r#"forbid (principal, action in Action::"write", resource) unless {{ {condition} }};"#)?;
    Ok(text)
}

fn query(headers: &Vec<(String, String)>) -> Result<Query<'_>, std::net::AddrParseError> {
    Ok(Query {
        now_ns: 1_700_000_000_123_456_789,
        action: "GET",
        source: Source {
            address: Some("10.0.0.7:4711".parse()?),
            spiffe_id: Some(CALLER),
            trust_domain: Some("example.org"),
            sni: Some("bank.example.org"),
            certificate_serial: Some("0a0b0c"),
            tls: postern_policy::Tls::default(),
        },
        destination: Some("10.0.0.8:8443".parse()?),
        destination_principal: None,
        http: Some(Http {
            id: "01JD0000000000000000000000",
            scheme: "https",
            authority: "bank.example.org",
            path: "/accounts/42",
            query: None,
            protocol: "HTTP/2",
            headers,
            body: Body::NotRead,
            size: 0,
        }),
        claims: None,
        token_issuer: None,
        transaction: None,
        workload_token: None,
        route: "accounts",
        service: "bank",
    })
}

/// The least mean over batches, in nanoseconds. Batches are short, so that some pass between what else the machine does.
fn measured(batch: u32, mut run: impl FnMut()) -> u128 {
    (0..if batch > 10 { 1_000 } else { 20 })
        .map(|_| {
            let start = Instant::now();
            (0..batch).for_each(|_| run());
            start.elapsed().as_nanos() / u128::from(batch)
        })
        .min()
        .unwrap_or_default()
}

fn decided(text: &str, headers: &Vec<(String, String)>) -> Result<u128, Box<dyn Error>> {
    let signers = Signers::UnsignedAllowedForDevelopment;
    let bundle =
        PolicyBundle::from_files([("p.cedar", text.as_bytes())], &BundleLimits::default(), &signers)?;
    let pdp = Pdp::load(&[("b", bundle)], &Entry::Cedar, &PdpLimits::default())?;
    let (mut scratch, query) = (Scratch::default(), query(headers)?);
    let verdict = pdp.decide(&mut scratch, &query);
    if verdict.decision != Decision::Allow {
        return Err(format!("{verdict:?}").into());
    }
    Ok(measured(100, || {
        black_box(pdp.decide(&mut scratch, black_box(&query)));
    }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut headers: Vec<(String, String)> =
        (0..12).map(|n| (format!("x-header-{n}"), "some value of usual length".to_owned())).collect();
    headers.push(("x-tenant".to_owned(), "a".to_owned()));
    let conditions = [
        ("path", r#"context.path like "/accounts/*""#),
        ("header", r#"context.headers.hasTag("x-tenant") && context.headers.getTag("x-tenant") == "a""#),
        (
            "more",
            r#"context.now > datetime("2023-01-01") && context.source.address.isInRange(ip("10.0.0.0/8")) &&
               context.segments has s2 && context.depth < 9 && context.tls has server_name"#,
        ),
    ];
    for count in [10, 1_000, 10_000] {
        for (name, condition) in conditions {
            let nanos = decided(&policies(count, condition)?, &headers)?;
            println!("{count:>6} policies, {name:<6}  decide {nanos:>9} ns");
        }
        let text = policies(count, r#"context.path like "/accounts/*""#)?;
        let set = PolicySet::from_str(&text)?;
        let path = [("path".to_owned(), RestrictedExpression::new_string("/accounts/42".to_owned()))];
        let request = Request::new(
            format!("Workload::\"{CALLER}\"").parse()?,
            "Action::\"GET\"".parse()?,
            "Route::\"accounts\"".parse()?,
            Context::from_pairs(path)?,
            None,
        )?;
        let (sliced, entities, authorizer) = (CedarSet::new(&set)?, Entities::empty(), Authorizer::new());
        let answer = measured(100, || {
            black_box(sliced.answer(black_box(&request), &entities).ok());
        });
        let linear = measured(if count > 100 { 3 } else { 100 }, || {
            black_box(authorizer.is_authorized(black_box(&request), &set, &entities));
        });
        println!("{count:>6} policies, path    answer {answer:>9} ns, linear {linear:>9} ns");
    }
    Ok(())
}
