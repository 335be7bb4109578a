//! No file over 600 lines, and no module whose name says nothing. (Functions and arguments are clippy's.)

use std::path::Path;

use super::{Finding, Tree};

const LINES_MAX: usize = 600;

/// Lines of `ARCHITECTURE.md`: what does not fit there belongs elsewhere.
const ARCHITECTURE_LINES_MAX: usize = 200;

const NAMES_THAT_SAY_NOTHING: [&str; 8] =
    ["utils", "util", "common", "helpers", "helper", "misc", "handlers", "handler"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in &tree.texts {
        let extension = Path::new(path).extension().unwrap_or_default().to_string_lossy().into_owned();
        let lines = text.lines().count();
        if ["rs", "md", "rego", "cedar"].contains(&extension.as_str()) && lines > LINES_MAX {
            findings.push(Finding::new(
                path,
                0,
                format!("{lines} lines; at most {LINES_MAX}: take it apart"),
            ));
        }
        if path == "ARCHITECTURE.md" && lines > ARCHITECTURE_LINES_MAX {
            findings.push(Finding::new(path, 0, format!("{lines} lines; at most {ARCHITECTURE_LINES_MAX}")));
        }
    }
    for source in &tree.sources {
        let path = Path::new(&source.path);
        let parts = path.with_extension("");
        if let Some(name) = parts.iter().find(|part| NAMES_THAT_SAY_NOTHING.iter().any(|name| part == name)) {
            let message = format!("`{}` says nothing; name it after what it is", name.to_string_lossy());
            findings.push(Finding::new(&source.path, 0, message));
        }
    }
    findings
}
