//! The boundary of the parser's tests: a source, and the rules that it parses to or the error that it is refused with.
use super::*;

mod bounds;
mod cases;
mod differential;
mod errors;
mod places;
mod queries;
mod rules;
mod shape;
mod sources;
mod terms;

/// A row: the version, the source below `package t`, and the shapes of its rules or the place and text of its error. The
/// source begins in row 2.
type Row = (Version, &'static str, &'static [&'static str]);

/// Checks the rows, then that real OPA takes, refuses and reads the same.
fn check(name: &str, rows: &[Row]) {
    for (version, source, want) in rows {
        let got = match module(&format!("package t\n{source}"), 0, *version) {
            Ok(module) => shape::of_module(&module),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(&got, want, "{source}");
    }
    for (version, name) in [(Version::V0, format!("{name}-v0")), (Version::V1, format!("{name}-v1"))] {
        let alike = rows.iter().filter(|row| row.0 == version);
        let texts: Vec<String> = alike.map(|row| format!("package t\n{}", row.1)).collect();
        differential::agree(&texts, version, &name);
    }
}
