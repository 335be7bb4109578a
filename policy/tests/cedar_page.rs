//! Every piece of Cedar in `docs/cedar.md` is one that loads.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that fails says so by panicking")]
use postern_policy::{BundleLimits, Entry, Pdp, PdpLimits, PolicyBundle, Signers};

const PAGE: &str = include_str!("../../docs/cedar.md");

/// The fenced blocks of a language, each with the line on which it begins.
fn blocks(language: &str) -> Vec<(usize, String)> {
    let (fence, mut blocks, mut open) = (format!("```{language}"), Vec::new(), None);
    for (line, text) in (1..).zip(PAGE.lines()) {
        match &mut open {
            None if text == fence => open = Some((line, String::new())),
            None => {}
            Some(_) if text == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(text);
                block.push('\n');
            }
        }
    }
    blocks
}

fn check(line: usize, policies: &str, links: Option<&str>) {
    let mut files = vec![("p.cedar", policies.as_bytes())];
    files.extend(links.map(|links| ("links.json", links.as_bytes())));
    let signers = Signers::UnsignedAllowedForDevelopment;
    let bundle = PolicyBundle::from_files(files, &BundleLimits::default(), &signers).unwrap();
    if let Err(error) = Pdp::load(&[("b", bundle)], &Entry::Cedar, &PdpLimits::default()) {
        panic!("docs/cedar.md:{line}: {error}\n{policies}");
    }
}

#[test]
fn every_example_of_the_page_loads() {
    let links = blocks("json").pop().expect("the page shows links").1;
    let mut kinds = [0; 3];
    for (line, block) in blocks("cedar") {
        if block.contains("?principal") {
            kinds[0] += 1;
            check(line, &block, Some(&links));
        } else if block.contains("permit (") || block.contains("forbid (") {
            kinds[1] += 1;
            check(line, &block, None);
        } else {
            kinds[2] += 1;
            for condition in block.lines() {
                let policy = format!(
                    "permit (principal, action in Action::\"http\", resource) when {{ {condition} }};"
                );
                check(line, &policy, None);
            }
        }
    }
    assert!(kinds.iter().all(|kind| *kind > 0), "{kinds:?}");
}
