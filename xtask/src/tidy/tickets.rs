//! The tickets of the pipeline are made where the check is made, and nowhere else. Privacy makes the compiler say
//! so to other modules; this says so to the ticket's own.

use super::{Finding, Tree};

/// A ticket, and the one file that makes it.
const TICKETS: [(&str, &str); 1] = [("Permitted", "proxy/src/pipeline/enforce.rs")];

/// What stands before a type's name where it is not being made.
const NOT_MAKING: [&str; 8] = ["struct", "enum", "impl", "for", "->", "trait", "mod", "type"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (ticket, maker) in TICKETS {
        for source in tree.sources.iter().filter(|source| source.path != maker && !source.is_test()) {
            for (line, code) in source.product_lines().filter(|(_, code)| makes(code, ticket)) {
                let message = format!("only {maker} makes a `{ticket}`: `{}`", code.trim());
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    findings
}

/// Whether the line holds `Ticket {` or `Ticket(` as an expression.
fn makes(code: &str, ticket: &str) -> bool {
    code.match_indices(ticket).any(|(at, _)| {
        let (before, after) =
            (code.get(..at).unwrap_or_default(), code.get(at + ticket.len()..).unwrap_or_default());
        let part_of_a_word = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let opens = after.trim_start().starts_with(['{', '(']) || after.trim_start().starts_with("::new");
        let last = before.split_whitespace().next_back().unwrap_or_default();
        let declared = NOT_MAKING.contains(&last) || last.ends_with('>') && !last.ends_with("=>");
        opens && !part_of_a_word && !declared
    })
}

#[cfg(test)]
mod tests {
    use super::makes;

    #[test]
    fn making_is_told_from_naming() {
        for code in
            ["let a = Permitted { request };", "Ok(Permitted {", "Some(Permitted(x))", "A => Permitted {"]
        {
            assert!(makes(code, "Permitted"), "{code}");
        }
        for code in [
            "pub struct Permitted {",
            "impl Permitted {",
            "fn a() -> Permitted {",
            "impl A for Permitted {",
            "fn b(p: Permitted) {",
            "impl<T> Permitted {",
            "NotPermitted {",
        ] {
            assert!(!makes(code, "Permitted"), "{code}");
        }
    }
}
