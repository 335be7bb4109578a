use super::*;
use tempfile::TempDir;

#[test]
fn the_newest_archive_is_kept_under_its_name() {
    let folder = TempDir::new().unwrap();
    let kept = LastGood::new(folder.path().join("made/when/needed"));
    assert_eq!(kept.load("a", 100).unwrap(), None);
    for (name, archive) in [("a", "one"), ("b", "other"), ("a", "two")] {
        kept.store(name, archive.as_bytes()).unwrap();
    }
    assert_eq!(kept.load("a", 100).unwrap().as_deref(), Some(b"two".as_slice()));
    assert_eq!(kept.load("b", 100).unwrap().as_deref(), Some(b"other".as_slice()));
    let names = fs::read_dir(folder.path().join("made/when/needed")).unwrap().count();
    assert_eq!(names, 2, "nothing unfinished is left");
}

#[test]
fn what_cannot_be_kept_or_read_is_an_error_and_the_one_before_stays() {
    let folder = TempDir::new().unwrap();
    let kept = LastGood::new(folder.path().to_owned());
    kept.store("a", b"one").unwrap();
    assert!(matches!(kept.load("a", 2), Err(LastGoodError::Read(_))), "larger than asked for");
    fs::create_dir(folder.path().join("a.tar.gz.unfinished")).unwrap();
    assert!(matches!(kept.store("a", b"two"), Err(LastGoodError::Write { .. })));
    assert_eq!(kept.load("a", 100).unwrap().as_deref(), Some(b"one".as_slice()));
    let nowhere = LastGood::new(folder.path().join("a.tar.gz/below/a/file"));
    assert!(nowhere.store("a", b"x").is_err());
}
