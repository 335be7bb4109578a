//! What several tests need.

/// The folder of public suites that no one here wrote. Without one, prints the line by which the test is counted as
/// skipped.
#[expect(clippy::print_stdout, reason = "a skipped test says so where the suite looks for it")]
pub(crate) fn public_data() -> Option<std::path::PathBuf> {
    let folder = std::env::var_os("POSTERN_DATA").map(std::path::PathBuf::from);
    if folder.is_none() {
        let thread = std::thread::current();
        println!("SKIPPED {}: POSTERN_DATA is not set", thread.name().unwrap_or("a test"));
    }
    folder
}
