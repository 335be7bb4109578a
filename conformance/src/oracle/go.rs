//! The judge that Go's workloads use, go-spiffe, with Go's own X.509 beneath it, and go-jose beneath its JWT-SVIDs.

mod tokens;

use std::process::Command;

use serde_json::json;

use super::chains::Authorities;
use super::{Deviations, compare, peer};
use crate::kit::certificates::{NOW_S, judge};

const LISTED: Deviations = Deviations {
    we_take: &[],
    we_refuse: &[
        (
            "an upper-case scheme",
            "IDs are compared as bytes, so they have one spelling (SPIFFE-ID §2); Go's URLs fold it",
        ),
        ("no path;", "X509-SVID §5.2 wants a workload's ID; they take the trust domain's"),
        ("2049 bytes", "our limit is what every implementation takes (SPIFFE-ID §2.3); they have none"),
        ("no key usage", "we want digitalSignature; they look at what it may not have (X509-SVID §4.3)"),
        ("key encipherment alone", "as above"),
        ("serverAuth alone", "X509-SVID §4.4: a caller's needs clientAuth; they take any use"),
        ("codeSigning alone", "as above"),
        ("an intermediate for servers", "as above"),
        ("no subject, names not critical", "X509-SVID §3.1 wants them critical; they do not look"),
        ("an intermediate without key usage", "who signs certificates has to say so; Go lets it pass"),
        ("an intermediate with a workload's ID", "X509-SVID §3.2 forbids the path; they do not look"),
        (
            "an intermediate that permits the domain",
            "constraints on URIs are judged where authorities have them; webpki refuses them elsewhere",
        ),
        ("7 intermediates", "our limit; they have none"),
    ],
};

#[test]
fn the_judge_of_go_gives_the_same_verdicts_but_for_the_listed_ones() {
    let Some(program) = postern_tests::peer("POSTERN_GO_SPIFFE") else { return };
    let authorities = Authorities::new();
    let trusted = authorities.bundles();
    let cases = authorities.cases();
    let (own, other) = authorities.by_trust_domain();
    let told = json!({ "example.org": peer::encoded(&own), "other.org": peer::encoded(&other) });
    let first = json!({ "authorities": told, "now": NOW_S });
    let theirs = peer::ask(Command::new(program), &first, peer::chains(&cases));
    let verdicts = cases.iter().zip(theirs);
    let verdicts =
        verdicts.map(|(case, theirs)| (case.name.clone(), judge(&case.chain, &trusted).map(drop), theirs));
    let [refused, taken] = compare(verdicts, &LISTED);
    assert!(refused > 100 && taken > 20, "{refused} {taken}");
}
