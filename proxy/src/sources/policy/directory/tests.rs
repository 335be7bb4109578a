use super::*;
use crate::sources::identity::SourceStatus;
use postern_policy::{BundleLimits, PolicyBundle, Signers};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

const BYTES_MAX: usize = 1024 * 1024;

fn write(folder: &TempDir, name: &str, content: &str) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn policies(archive: &[u8]) -> Vec<String> {
    let bundle =
        PolicyBundle::open(archive, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment)
            .unwrap();
    bundle.policies().map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn a_folder_becomes_an_archive_of_its_visible_files() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.rego", "package a");
    write(&folder, "b/c.rego", "package b");
    write(&folder, ".manifest", r#"{"revision":"7"}"#);
    write(&folder, ".git/x.rego", "package x");
    write(&folder, ".a.rego.swp", "x");
    let (look, archive) = look_again(folder.path(), None, BYTES_MAX).unwrap();
    let archive = archive.unwrap();
    assert_eq!(policies(&archive), ["a.rego", "b/c.rego"]);
    let (look, none) = look_again(folder.path(), Some(&look), BYTES_MAX).unwrap();
    assert_eq!(none, None, "nothing changed, so nothing is read");
    write(&folder, "b/d.rego", "package d");
    let (_, archive) = look_again(folder.path(), Some(&look), BYTES_MAX).unwrap();
    assert_eq!(policies(&archive.unwrap()), ["a.rego", "b/c.rego", "b/d.rego"]);
}

#[test]
fn tests_of_policies_are_no_part_of_what_decides() {
    let folder = TempDir::new().unwrap();
    write(&folder, "a.rego", "package a");
    write(&folder, "b/a_test.rego", "package a");
    let (_, archive) = look_again(folder.path(), None, BYTES_MAX).unwrap();
    assert_eq!(policies(&archive.unwrap()), ["a.rego"]);
    assert!(files_at(folder.path(), BYTES_MAX).unwrap().contains_key("b/a_test.rego"));
    // Who signed the files signed all of them: leaving one out would be another bundle.
    write(&folder, ".signatures.json", "{}");
    let (look, _) = look_again(folder.path(), None, BYTES_MAX).unwrap();
    assert!(look.iter().any(|(name, _, _)| name == "b/a_test.rego"));
}

#[test]
fn a_file_is_taken_as_the_archive_it_is() {
    let folder = TempDir::new().unwrap();
    write(&folder, "bundle.tar.gz", "any bytes");
    let path = folder.path().join("bundle.tar.gz");
    let (_, archive) = look_again(&path, None, BYTES_MAX).unwrap();
    assert_eq!(archive.as_deref(), Some(b"any bytes".as_slice()));
}

#[test]
fn folders_as_kubernetes_swaps_them_are_followed() {
    let folder = TempDir::new().unwrap();
    for (version, text) in [("..1", "package one"), ("..2", "package two")] {
        write(&folder, &format!("{version}/a.rego"), text);
    }
    let link = |to: &str, at: &str| {
        let _gone = fs::remove_file(folder.path().join(at));
        std::os::unix::fs::symlink(to, folder.path().join(at)).unwrap();
    };
    link("..1", "..data");
    link("..data/a.rego", "a.rego");
    let (look, archive) = look_again(folder.path(), None, BYTES_MAX).unwrap();
    assert_eq!(policies(&archive.unwrap()), ["a.rego"]);
    link("..2", "..data");
    let (_, archive) = look_again(folder.path(), Some(&look), BYTES_MAX).unwrap();
    assert!(archive.is_some(), "the link leads elsewhere now");
}

#[test]
fn what_cannot_be_a_bundle_is_an_error() {
    let folder = TempDir::new().unwrap();
    let check = |path: &Path, bytes_max: usize, want: &str| {
        let error = look_again(path, None, bytes_max).unwrap_err().to_string();
        assert!(error.contains(want), "`{error}` lacks `{want}`");
    };
    check(&folder.path().join("nosuch"), BYTES_MAX, "cannot be read");
    write(&folder, "a.rego", "package a # and more than ten bytes");
    check(folder.path(), 10, "more than 10 bytes");
    // A link into nothing may have been what forbids; hidden ones are the locks of editors.
    std::os::unix::fs::symlink("nosuch", folder.path().join(".#a.rego")).unwrap();
    assert!(look_again(folder.path(), None, BYTES_MAX).is_ok());
    std::os::unix::fs::symlink("nosuch", folder.path().join("forbid.rego")).unwrap();
    check(folder.path(), BYTES_MAX, "forbid.rego` cannot be read");
    fs::remove_file(folder.path().join("forbid.rego")).unwrap();
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    check(folder.path(), BYTES_MAX, "folders deep");
}

#[tokio::test]
async fn changes_reach_the_outlet_and_trouble_its_status() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("policy");
    let (candidates, mut found) = mpsc::channel(1);
    let (status, mut states) = watch::channel(SourceStatus::Starting);
    let outlet = Outlet { name: "authz".to_owned(), candidates, status, last: None };
    let following = tokio::spawn(follow(path, Duration::from_millis(5), BYTES_MAX, outlet));
    states.wait_for(|status| matches!(status, SourceStatus::Failing(_))).await.unwrap();
    write(&folder, "policy/a.rego", "package a");
    let candidate = found.recv().await.unwrap();
    assert_eq!((candidate.name.as_str(), candidate.etag), ("authz", None));
    states.wait_for(|status| *status == SourceStatus::Ready).await.unwrap();
    write(&folder, "policy/b.rego", "package b");
    assert_eq!(policies(&found.recv().await.unwrap().archive), ["a.rego", "b.rego"]);
    drop(found);
    write(&folder, "policy/c.rego", "package c");
    following.await.unwrap();
}
