//! What is written down of rules, and the process that undoes them, where the one or the other meets with difficulties.

use std::fs;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;

use postern_tests::peer::postern;
use postern_tests::process::wait;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

use super::{BOTH_WAYS, LIMIT, Scene, timer_is_gone};

#[test]
fn what_waits_to_be_confirmed_is_confirmed_by_enabling_it_for_good() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    for backend in scene.backends() {
        let changed = |words: &[&str]| -> Value {
            let enable = [&["enable", "--json", "--backend", backend], words].concat();
            let report: Value =
                serde_json::from_str(&scene.capture(&enable).expect_code(0).out).expect("JSON");
            report["changed"].clone()
        };
        assert_eq!(changed(&["--confirm-within", "1m"]), true, "{backend}");
        let rules = scene.rules();
        assert_eq!(changed(&["--confirm-within", "1m"]), false, "{backend}");
        assert_eq!(scene.state(), "unconfirmed", "{backend}");
        assert_eq!(changed(&["--permanent"]), true, "{backend}");
        assert_eq!((scene.state(), scene.rules()), ("on".to_owned(), rules.clone()), "{backend}");
        wait("the timer to end", LIMIT, || timer_is_gone(&scene.path("state")).then_some(()));
        assert_eq!(changed(&["--permanent"]), false, "{backend}");
        assert_eq!((scene.state(), scene.rules()), ("on".to_owned(), rules), "{backend}");
        scene.capture(&["disable"]).expect_code(0);
    }
}

#[test]
fn rules_are_undone_also_where_the_folder_was_named_from_the_one_in_which_one_stood() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    let mut enable = scene.wire.service.command(&postern());
    enable.args([
        "capture",
        "enable",
        "-c",
        "postern.yaml",
        "--confirm-within",
        "1s",
        "--state-dir",
        "state",
    ]);
    enable.current_dir(scene.wire.folder.path());
    let enabled = postern_tests::run(enable, LIMIT).expect_code(0);
    assert!(enabled.out.contains(scene.path("state").to_str().expect("text")), "{}", enabled.out);
    wait("the rules to be undone", LIMIT, || (scene.state() == "off").then_some(()));
}

/// The file is a pipe for a while, which holds the timer up for as long as it is open, and then has no state in it.
#[test]
fn rules_are_undone_though_what_was_written_down_could_not_be_read_for_a_moment() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    scene.capture(&["enable", "--confirm-within", "3s", "--backend", "nft"]).expect_code(0);
    let [state, kept, pipe] = ["state.json", "kept", "pipe"].map(|name| scene.path("state").join(name));
    fs::copy(&state, &kept).expect("a copy");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let mut end = fs::File::options().read(true).write(true).open(&pipe).expect("an end of it");
    end.write_all(b"{").expect("room");
    fs::rename(&pipe, &state).expect("in its place");
    let is_read = || rustix::io::ioctl_fionread(&end).is_ok_and(|bytes| bytes == 0).then_some(());
    wait("the timer to look", LIMIT, is_read);
    fs::rename(&kept, &state).expect("back");
    drop(end);
    wait("the rules to be undone", LIMIT, || (scene.state() == "off").then_some(()));
}

#[test]
fn rules_that_cannot_be_written_down_are_not_left_in_force() {
    let Some(scene) = Scene::new(BOTH_WAYS) else { return };
    let is_clean = || !scene.ruleset().to_lowercase().contains("postern");
    let folder = scene.path("state");
    fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder");
    // What is written first, and cannot be.
    let in_the_way = folder.join("state.json.new");
    let block = || fs::create_dir(&in_the_way).expect("a folder");
    let unblock = || fs::remove_dir(&in_the_way).expect("it is empty");
    for backend in scene.backends() {
        let enable = |words: &[&str]| {
            scene.capture(&[&["enable", "--permanent", "--backend", backend], words].concat())
        };
        scene.configure(BOTH_WAYS);
        block();
        let refused = enable(&[]).expect_code(1).err;
        assert!(refused.contains("state.json.new") && !refused.contains("put back"), "{backend}: {refused}");
        assert!(is_clean() && scene.state() == "off", "{backend}: {}", scene.ruleset());

        unblock();
        enable(&[]).expect_code(0);
        let rules = scene.rules();
        block();
        scene.configure(&BOTH_WAYS.replace("8080", "8081"));
        let refused = enable(&["--replace"]).expect_code(1).err;
        assert!(refused.contains("state.json.new") && !refused.contains("put back"), "{backend}: {refused}");
        assert_eq!(scene.rules(), rules, "{backend}");
        assert_eq!(scene.status()["as_applied"], true, "{backend}");

        fs::remove_file(folder.join("state.json")).expect("the state");
        let refused = enable(&["--replace"]).expect_code(1).err;
        assert!(refused.contains("nobody has written down"), "{backend}: {refused}");
        assert!(scene.ruleset().contains("8081"), "{backend}: they protect until they are taken away");
        unblock();
        scene.capture(&["disable"]).expect_code(0);
        assert!(is_clean(), "{backend}: {}", scene.ruleset());
    }
}
