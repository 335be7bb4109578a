use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use tar::{Builder, EntryType, Header};

const LIMITS: BundleLimits = BundleLimits {
    decompressed_bytes_max: 256 * 1024,
    file_bytes_max: 64 * 1024,
    files_max: 20,
    data_values_max: 1000,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A tar entry whose name is written raw, as no library would.
fn entry(tar: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, content: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn archive(entries: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, kind, content) in entries {
        entry(&mut tar, name, *kind, content);
    }
    tar.into_inner().unwrap()
}

/// Opens as a developer would; the error must contain the text, `Ok` names the files.
fn check(archive: &[u8], want: Result<&[&str], &str>) {
    let got = PolicyBundle::open(archive, &LIMITS, &Signers::UnsignedAllowedForDevelopment);
    match (got, want) {
        (Ok(bundle), Ok(names)) => assert_eq!(bundle.policies().map(|(n, _)| n).collect::<Vec<_>>(), names),
        (Err(error), Err(text)) => assert!(error.to_string().contains(text), "`{error}` lacks `{text}`"),
        (got, want) => panic!("got {got:?}, want {want:?}"),
    }
}

fn check_entries(entries: &[(&str, EntryType, &[u8])], want: Result<&[&str], &str>) {
    check(&gzip(&archive(entries)), want);
}

const FILE: EntryType = EntryType::Regular;

#[test]
fn plain_names_are_taken_as_opa_spells_them() {
    check_entries(
        &[("/a.rego", FILE, b"package a"), ("./b/c.rego", FILE, b"package b")],
        Ok(&["a.rego", "b/c.rego"]),
    );
    check_entries(&[("d", EntryType::Directory, b""), ("d/a.rego", FILE, b"package a")], Ok(&["d/a.rego"]));
    check_entries(&[("notes.txt", FILE, b"\xff")], Ok(&[]));
}

#[test]
fn names_that_leave_the_bundle_are_refused() {
    check_entries(&[("../a.rego", FILE, b"")], Err("`.` or `..`"));
    check_entries(&[("a/../../b.rego", FILE, b"")], Err("`.` or `..`"));
    check_entries(&[("/../a.rego", FILE, b"")], Err("`.` or `..`"));
    check_entries(&[("//etc/passwd", FILE, b"")], Err("absolute"));
    check_entries(&[("a//b.rego", FILE, b"")], Err("empty part"));
    check_entries(&[("a\\b.rego", FILE, b"")], Err("backslash"));
    check_entries(&[("a\nb.rego", FILE, b"")], Err("control character"));
}

#[test]
fn entries_that_are_no_files_are_refused() {
    for (kind, name) in [
        (EntryType::Symlink, "symbolic link"),
        (EntryType::Link, "hard link"),
        (EntryType::Char, "device"),
        (EntryType::Block, "device"),
        (EntryType::Fifo, "named pipe"),
    ] {
        check_entries(&[("a.rego", kind, b"")], Err(name));
    }
}

#[test]
fn two_entries_for_one_name_are_refused() {
    check_entries(&[("a.rego", FILE, b"x"), ("a.rego", FILE, b"y")], Err("stands twice"));
    check_entries(&[("a.rego", FILE, b"x"), ("./a.rego", FILE, b"y")], Err("stands twice"));
    check_entries(&[("a.rego", FILE, b"x"), ("/A.rego", FILE, b"y")], Err("stands twice"));
}

#[test]
fn archives_that_are_too_large_are_refused_before_they_are_held() {
    let zeros = vec![0; 60 * 1024];
    check_entries(&[("big.bin", FILE, &vec![0; 65 * 1024])], Err("largest file"));
    let names: Vec<String> = (0..6).map(|n| format!("f{n}.bin")).collect();
    let many: Vec<_> = names.iter().map(|n| (n.as_str(), FILE, zeros.as_slice())).collect();
    check_entries(&many, Err("decompressed size"));
    let names: Vec<String> = (0..21).map(|n| format!("f{n}")).collect();
    let many: Vec<_> = names.iter().map(|n| (n.as_str(), FILE, b"x".as_slice())).collect();
    check_entries(&many, Err("number of files"));
    check(&gzip(&vec![0; 100_000_000]), Err("decompressed size"));
}

#[test]
fn archives_that_are_not_one_whole_tar_in_one_gzip_member_are_refused() {
    let tar = archive(&[("a.rego", FILE, b"package a")]);
    let whole = gzip(&tar);
    check(&whole, Ok(&["a.rego"]));
    for cut in [0, 1, 10, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
        let got = PolicyBundle::open(&whole[..cut], &LIMITS, &Signers::UnsignedAllowedForDevelopment);
        assert!(got.is_err(), "cut at {cut}");
    }
    check(&[whole.clone(), whole.clone()].concat(), Err("bytes follow"));
    check(&[whole, b"x".to_vec()].concat(), Err("bytes follow"));
    check(&gzip(&[tar.clone(), tar.clone()].concat()), Err("bytes follow"));
    check(&gzip(&tar[..700]), Err("gzip tar"));
    check(b"not a gzip", Err("gzip tar"));
    check(&tar, Err("gzip tar"));
}

#[test]
fn a_manifest_is_checked_and_data_stays_inside_its_roots() {
    let with = |manifest: &str, data: &str, want: Result<&[&str], &str>| {
        check_entries(
            &[(".manifest", FILE, manifest.as_bytes()), ("a/data.json", FILE, data.as_bytes())],
            want,
        );
    };
    with(r#"{"revision":"1","roots":["a"]}"#, r#"{"b":1}"#, Ok(&[]));
    with(r#"{"roots":["a/b"]}"#, r#"{"b":1}"#, Ok(&[]));
    with(r#"{"roots":["b"]}"#, r#"{"b":1}"#, Err("outside the bundle's roots"));
    with(r#"{"roots":["a/b"]}"#, r#"{"c":1}"#, Err("outside the bundle's roots"));
    with(r#"{"roots":["a","a/b"]}"#, "{}", Err("overlap"));
    with(r#"{"roots":"a"}"#, "{}", Err("not an array"));
    with(r#"{"revision":1}"#, "{}", Err("not a string"));
    with(r#"{"revison":"1"}"#, "{}", Err("`revison` is not known"));
    with(r#"{"revision":"1","revision":"2"}"#, "{}", Err("stands twice"));
    with(r#"{"rego_version":2}"#, "{}", Err("0 or 1"));
    with("{}", r#"{"a":1,"a":2}"#, Err("stands twice"));
    with("[]", "{}", Err("an array, not an object"));
    check_entries(&[("data.json", FILE, br#"{"system":{}}"#)], Err("outside the bundle's roots"));
    check_entries(&[("data.json", FILE, b"[]")], Err("not an object"));
    check_entries(&[("a/data.yaml", FILE, b"a: 1")], Err("YAML"));
    check_entries(&[("patch.json", FILE, b"{}")], Err("delta"));
    check_entries(
        &[("data.json", FILE, br#"{"a":{"b":1}}"#), ("a/data.json", FILE, br#"{"b":2}"#)],
        Err("twice"),
    );
    check_entries(&[("data.json", FILE, br#"{"a":{"b":1}}"#), ("a/data.json", FILE, br#"{"c":2}"#)], Ok(&[]));
    check_entries(&[("a.rego", FILE, b"\xff")], Err("not UTF-8"));
}

const FILES: &[(&str, &[u8])] = &[
    (".manifest", br#"{ "revision": "r1", "roots": ["t"] }"#),
    ("t/data.json", br#"{"b": 1.0, "a": "<&>"}"#),
    ("t/t.rego", b"package t\nallow := true\n"),
];

fn files() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    FILES.iter().copied()
}

fn signer_of(key: &SigningKey) -> SignerKey {
    SignerKey::from_pem("k", key.public_pem().unwrap().as_bytes()).unwrap()
}

/// Opens files against one signer.
fn check_signed(files: &[(&str, Vec<u8>)], signer: &SignerKey, want: Result<(), &str>) {
    let named = files.iter().map(|(name, content)| (*name, content.as_slice()));
    let got = PolicyBundle::from_files(named, &BundleLimits::default(), &Signers::Keys(vec![signer.clone()]));
    match (got, want) {
        (Ok(bundle), Ok(())) => assert!(bundle.is_signed()),
        (Err(error), Err(text)) => assert!(error.to_string().contains(text), "`{error}` lacks `{text}`"),
        (got, want) => panic!("got {got:?}, want {want:?}"),
    }
}

fn signed_files(key: &SigningKey) -> Vec<(&'static str, Vec<u8>)> {
    let mut collected: Files = files().map(|(n, c)| (n.to_owned(), c.to_vec())).collect();
    let list = key.signatures_of(&collected).unwrap();
    collected.insert(SIGNATURES.to_owned(), list.clone());
    let mut all: Vec<(&'static str, Vec<u8>)> = files().map(|(n, c)| (n, c.to_vec())).collect();
    all.push((SIGNATURES, list));
    all
}

#[test]
fn a_signed_archive_opens_with_its_signer_and_no_other() {
    let key = SigningKey::generate_p256().unwrap();
    let archive = signed_archive_of(files(), &key).unwrap();
    let bundle = PolicyBundle::open(&archive, &LIMITS, &Signers::Keys(vec![signer_of(&key)])).unwrap();
    assert_eq!((bundle.revision(), bundle.signer(), bundle.is_signed()), ("r1", Some("k"), true));
    let other = signer_of(&SigningKey::generate_p256().unwrap());
    for keys in [vec![], vec![other]] {
        let error = PolicyBundle::open(&archive, &LIMITS, &Signers::Keys(keys)).unwrap_err();
        assert_eq!(error.code(), "policy.bundle.signature");
    }
    let unsigned = archive_of(files()).unwrap();
    let error = PolicyBundle::open(&unsigned, &LIMITS, &Signers::Keys(vec![signer_of(&key)])).unwrap_err();
    assert_eq!(error, BundleError::Unsigned);
    assert_eq!(archive_of(files()).unwrap(), unsigned, "the same files give the same bytes");
}

#[test]
fn what_is_signed_and_what_is_there_must_be_the_same() {
    let key = SigningKey::generate_p256().unwrap();
    let signer = signer_of(&key);
    let whole = signed_files(&key);
    check_signed(&whole, &signer, Ok(()));
    let with = |name: &'static str, content: &[u8]| {
        let mut files: Vec<_> = whole.iter().filter(|(n, _)| *n != name).cloned().collect();
        files.push((name, content.to_vec()));
        files
    };
    // The digest is of the value: blanks and order do not matter, number literals do.
    check_signed(&with("t/data.json", br#"{"a":"<&>","b":1.0}"#), &signer, Ok(()));
    check_signed(&with("t/data.json", br#"{"a":"<&>","b":1}"#), &signer, Err("differs"));
    check_signed(&with("t/data.json", br#"{"b":2,"a":"<&>","b":1.0}"#), &signer, Err("stands twice"));
    check_signed(&with("t/t.rego", b"package t\nallow := false\n"), &signer, Err("differs"));
    check_signed(&with("t/u.rego", b"package t\n"), &signer, Err("not covered"));
    check_signed(&with("x/signatures.json", b"{}"), &signer, Err("second signature list"));
    let missing: Vec<_> = whole.iter().filter(|(n, _)| *n != "t/t.rego").cloned().collect();
    check_signed(&missing, &signer, Err("missing"));
}

#[test]
fn a_token_cannot_choose_its_own_judge() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let key = SigningKey::generate_p256().unwrap();
    let signer = signer_of(&key);
    let whole = signed_files(&key);
    let list: serde_json::Value = serde_json::from_slice(&whole.last().unwrap().1).unwrap();
    let token = list["signatures"][0].as_str().unwrap().to_owned();
    let parts: Vec<&str> = token.split('.').collect();
    let with_list = |list: String| {
        let mut files = whole.clone();
        files.last_mut().unwrap().1 = list.into_bytes();
        files
    };
    let with_token = |token: String| with_list(serde_json::json!({ "signatures": [token] }).to_string());
    let header = |json: &str| format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(json), parts[1], parts[2]);
    check_signed(&with_token(header(r#"{"alg":"none"}"#)), &signer, Err("no configured signer"));
    check_signed(&with_token(header(r#"{"alg":"HS256"}"#)), &signer, Err("no configured signer"));
    check_signed(
        &with_token(header(r#"{"alg":"ES256","kid":"other"}"#)),
        &signer,
        Err("no configured signer"),
    );
    check_signed(&with_token(header(r#"{"alg":"ES256","crit":["x"]}"#)), &signer, Err("crit"));
    check_signed(&with_token(format!("{}.{}.", parts[0], parts[1])), &signer, Err("no configured signer"));
    check_signed(&with_token("a.b".to_owned()), &signer, Err("compact JWS"));
    check_signed(&with_list(r#"{"signatures":[]}"#.to_owned()), &signer, Err("exactly one"));
    check_signed(
        &with_list(format!(r#"{{"signatures":["{token}","{token}"]}}"#)),
        &signer,
        Err("exactly one"),
    );
    check_signed(
        &with_list(format!(r#"{{"signatures":["{token}"],"plugin":"x"}}"#)),
        &signer,
        Err("plugins"),
    );
    check_signed(&with_list("x".to_owned()), &signer, Err("JSON value"));
    check_signed(&whole, &signer.clone().with_scope("write"), Err("scope"));
    let scoped = signed_files(&SigningKey::generate_p256().unwrap().with_scope("write"));
    check_signed(&scoped, &signer, Err("no configured signer"));
}

#[test]
fn weak_digests_are_refused_by_name() {
    let key = SigningKey::generate_p256().unwrap();
    for weak in ["MD5", "SHA-1", "SHA-224", "sha-256", ""] {
        let payload = serde_json::json!({"files": [{"name": "a", "hash": "00", "algorithm": weak}]});
        let token = key.token_for_tests(&payload);
        let list = serde_json::json!({ "signatures": [token] }).to_string().into_bytes();
        check_signed(&[("a", b"x".to_vec()), (SIGNATURES, list)], &signer_of(&key), Err("use SHA-256"));
    }
}

#[test]
fn keys_are_read_for_what_they_are() {
    let key = SigningKey::generate_p256().unwrap();
    let pem = key.public_pem().unwrap();
    assert_eq!(SignerKey::from_pem("k", pem.as_bytes()).unwrap().algorithm(), SignatureAlgorithm::Es256);
    let mismatch = SignerKey::from_pem_with("k", pem.as_bytes(), SignatureAlgorithm::Rs256);
    assert!(matches!(mismatch, Err(SignerKeyError::Mismatch { .. })));
    assert!(matches!(SignerKey::from_pem("k", b"hello"), Err(SignerKeyError::NoKey { .. })));
    assert!(matches!(SigningKey::from_pem(pem.as_bytes()), Err(SigningError::NoKey)));
}

#[test]
fn an_older_bundle_does_not_follow_a_newer_one() {
    let numbered = |number: Option<u64>| {
        let metadata =
            number.map(|n| format!(r#","metadata":{{"postern":{{"sequence":{n}}}}}"#)).unwrap_or_default();
        let manifest = format!(r#"{{"roots":["t"]{metadata}}}"#);
        let files = [(".manifest", manifest.as_bytes())];
        PolicyBundle::from_files(files, &LIMITS, &Signers::UnsignedAllowedForDevelopment).unwrap()
    };
    for (offered, in_force, taken) in [
        (None, None, true),
        (Some(1), None, true),
        (Some(7), Some(7), true),
        (Some(8), Some(7), true),
        (Some(6), Some(7), false),
        (None, Some(7), false),
    ] {
        let got = numbered(offered).refuse_rollback(in_force);
        assert_eq!(got.is_ok(), taken, "{offered:?} after {in_force:?}");
    }
}

/// Bundles that OPA's own tests use, when the machine has them.
#[test]
fn bundles_made_by_opa_open() {
    let Some(data) = crate::testing::public_data() else { return };
    let folder = data.join("opa-cases/bundles");
    for (name, want) in [
        ("download-latest.tar.gz", Ok(())),
        ("download-rego_v1.tar.gz", Ok(())),
        ("download-signed.tar.gz", Ok(())),
        ("sdk-disco.tar.gz", Ok(())),
        ("sdk-v1bundle.tar.gz", Ok(())),
        ("swift-bundle.tar.gz", Ok(())),
        ("rego-bundle.tar.gz", Err("wasm")),
    ] {
        let archive = std::fs::read(folder.join(name)).unwrap();
        let got =
            PolicyBundle::open(&archive, &BundleLimits::default(), &Signers::UnsignedAllowedForDevelopment);
        match (got, want) {
            (Ok(_), Ok(())) => {}
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{name}: {error}"),
            (got, want) => panic!("{name}: got {got:?}, want {want:?}"),
        }
    }
}
