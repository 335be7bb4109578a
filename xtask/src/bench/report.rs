//! Figures as Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::peers::REFERENCE;
use super::{Figures, Options, Row, TOKENS};

/// One table a scenario: a row a peer; every figure as median with its range, the ratio as the median of the ratios
/// of a round.
pub(super) fn ratios(rows: &[Row], options: &Options) -> String {
    let mut text = format!(
        "{} rounds of {} s; peers alternate inside a round; `median [min..max]`; ratio = ours ÷ Envoy's in one round.\n",
        options.rounds, options.seconds
    );
    let mut scenarios: Vec<&str> = Vec::new();
    for row in rows.iter().filter(|row| row.peer == REFERENCE) {
        if !scenarios.contains(&row.scenario) {
            scenarios.push(row.scenario);
        }
    }
    for scenario in scenarios {
        let _ = write!(text, "\n### {scenario}\n\n| figure |");
        let of_scenario: Vec<&Row> = rows.iter().filter(|row| row.scenario == scenario).collect();
        let mut peers: Vec<&str> = vec![REFERENCE];
        peers.extend(of_scenario.iter().map(|row| row.peer.as_str()).filter(|peer| *peer != REFERENCE));
        dedup(&mut peers);
        for peer in &peers {
            let _ = write!(text, " {peer} |");
        }
        for peer in peers.iter().skip(1) {
            let _ = write!(text, " ratio, {peer} |");
        }
        let _ = writeln!(text, "\n|---|{}", "---|".repeat(2 * peers.len() - 1));
        for row in of_scenario.iter().filter(|row| row.peer == REFERENCE) {
            let same = |peer: &str| {
                of_scenario.iter().find(|other| other.peer == peer && other.member == row.member)
            };
            let _ = write!(text, "| {} |", row.title);
            for values in peers.iter().filter_map(|peer| same(peer)).map(|row| &row.values) {
                let _ = write!(text, " {} |", spread(values));
            }
            for other in peers.iter().skip(1).filter_map(|peer| same(peer)) {
                let each: Vec<f64> =
                    other.values.iter().zip(&row.values).map(|(ours, theirs)| ours / theirs).collect();
                let _ = write!(text, " **{}** |", spread(&each));
            }
            text.push('\n');
        }
    }
    text
}

/// What a token costs that is verified, and one that is remembered: nanoseconds, a pair a round.
pub(super) fn tokens(costs: &[(f64, f64)]) -> String {
    let verified: Vec<f64> = costs.iter().map(|(verified, _)| *verified).collect();
    let remembered: Vec<f64> = costs.iter().map(|(_, remembered)| *remembered).collect();
    let ratios: Vec<f64> = costs.iter().map(|(verified, remembered)| verified / remembered).collect();
    format!(
        "\n### {TOKENS}\n\n| figure | verified | remembered | verified ÷ remembered |\n\
         |---|---|---|---|\n| ns/token | {} | {} | **{}** |\n",
        spread(&verified),
        spread(&remembered),
        spread(&ratios)
    )
}

fn dedup(names: &mut Vec<&str>) {
    let mut seen: Vec<&str> = Vec::new();
    names.retain(|name| {
        let new = !seen.contains(name);
        seen.push(name);
        new
    });
}

/// `median [min..max]`, each with about three digits.
fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
    let median = if sorted.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.saturating_sub(1)), at(middle))
    };
    format!("{} [{}..{}]", digits(median), digits(at(0)), digits(at(sorted.len().saturating_sub(1))))
}

fn digits(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Puts `table` between the markers of its kind in the document.
pub(super) fn place(document: &Path, figures: Figures, table: &str) -> Result<()> {
    let name = match figures {
        Figures::Ratios => "ratios",
        Figures::Counts => "counts",
    };
    let text =
        fs::read_to_string(document).with_context(|| format!("cannot read `{}`", document.display()))?;
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let (before, rest) = text.split_once(&begin).with_context(|| format!("no `{begin}` in the document"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("no `{end}` in the document"))?;
    fs::write(document, format!("{before}{begin}\n{table}\n{end}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_with_its_range() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), "2.00 [1.00..3.00]");
        assert_eq!(spread(&[10.0, 200.0]), "105 [10.0..200]");
    }

    #[test]
    fn a_ratio_is_made_within_a_round() {
        let row = |peer: &str, values: &[f64]| Row {
            scenario: "s",
            peer: peer.to_owned(),
            member: "m",
            title: "t",
            values: values.to_vec(),
        };
        let rows = [row(REFERENCE, &[100.0, 200.0, 400.0]), row("ours", &[50.0, 50.0, 400.0])];
        let options =
            Options { rounds: 3, seconds: 1.0, figures: Figures::Ratios, only: None, document: None };
        let table = ratios(&rows, &options);
        assert!(
            table.contains("| t | 200 [100..400] | 50.0 [50.0..400] | **0.50 [0.25..1.00]** |"),
            "{table}"
        );
    }

    #[test]
    fn tokens_are_compared_within_a_round() {
        let table = tokens(&[(100.0, 10.0), (400.0, 20.0), (200.0, 20.0)]);
        assert!(table.contains("| 200 [100..400] | 20.0 [10.0..20.0] | **10.0 [10.0..20.0]** |"), "{table}");
    }

    #[test]
    fn a_table_replaces_the_one_before_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("performance.md");
        fs::write(&path, "a\n<!-- ratios: begin -->\nold\n<!-- ratios: end -->\nb\n").expect("the document");
        place(&path, Figures::Ratios, "new").expect("placed");
        let text = fs::read_to_string(&path).expect("the document");
        assert_eq!(text, "a\n<!-- ratios: begin -->\nnew\n<!-- ratios: end -->\nb\n");
        assert!(place(&path, Figures::Counts, "new").is_err());
    }
}
