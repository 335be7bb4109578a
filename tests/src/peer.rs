//! Programs that are not ours.

use std::path::PathBuf;

/// The program that `variable` names. When there is none, prints the line by which the suite counts this test as
/// skipped; the test then returns.
pub fn peer(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    match path {
        Some(path) if path.is_file() => Some(path),
        Some(path) => {
            skip(&format!("{variable} names `{}`, which is no file", path.display()));
            None
        }
        None => {
            skip(&format!("{variable} is not set; `cargo xtask test` sets it where the program can be had"));
            None
        }
    }
}

/// Prints the line by which the suite counts this test as skipped; the test then returns.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    println!("SKIPPED {test}: {why}");
}

/// The `postern` binary: `$POSTERN_BIN`, else the one beside this test's executable.
///
/// # Panics
/// When it is not built.
pub fn postern() -> PathBuf {
    let beside = || {
        let test = std::env::current_exe().expect("this test has a path");
        let folder = test.parent().and_then(std::path::Path::parent).expect("target/debug").to_path_buf();
        folder.join("postern")
    };
    let path = std::env::var_os("POSTERN_BIN").map_or_else(beside, PathBuf::from);
    assert!(path.is_file(), "`{}` is not built: `cargo build -p postern-proxy`", path.display());
    path
}
