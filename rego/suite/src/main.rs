//! Judges the cases of a folder or archive and prints what is not as OPA has it: `FOLDER|ARCHIVE [v0|v1|docs] [FILTER]`.
use postern_rego::ast::Version;
use postern_rego_suite::{Outcome, from_archive, from_documentation, from_folder, judge};
use std::collections::BTreeMap;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().unwrap_or_default();
    let kind = arguments.next().unwrap_or_default();
    let version = if kind == "v0" { Version::V0 } else { Version::V1 };
    let filter = arguments.next().unwrap_or_default();
    let path = Path::new(&source);
    let cases = match kind.as_str() {
        "docs" => from_documentation(path)?,
        _ if path.is_dir() => from_folder(path, version)?,
        _ => from_archive(path, version)?,
    };
    let mut folders: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut total = [0; 3];
    for case in cases.iter().filter(|case| case.folder.contains(&filter) || case.note.contains(&filter)) {
        let (at, text) = match judge(case) {
            Outcome::Passed => (0, None),
            Outcome::Refused(why) => (1, Some(format!("refused {}: {}: {why}", case.folder, case.note))),
            Outcome::Wrong(how) => (2, Some(format!("WRONG {}: {}: {how}", case.folder, case.note))),
        };
        folders.entry(&case.folder).or_default()[at] += 1;
        total[at] += 1;
        if let Some(text) = text {
            println!("{text}");
        }
    }
    for (folder, [passed, refused, wrong]) in folders {
        if refused + wrong > 0 {
            println!("{folder}: {passed} passed, {refused} refused, {wrong} wrong");
        }
    }
    println!("{} passed, {} refused, {} wrong", total[0], total[1], total[2]);
    Ok(())
}
