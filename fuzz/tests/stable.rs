//! The targets on stable Rust: seeds and what a simple mutator makes of them, the same each time.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use postern_fuzz::tokens::{signed_again, verified};
use postern_fuzz::{TARGETS, Target};

/// Inputs a seed.
const ROUNDS: u64 = 3_000;

/// xorshift64*: any fixed sequence will do.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }
}

/// Flips, removes, repeats and inserts a few bytes.
fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=random.below(4) {
        let place = random.below(input.len());
        match random.below(6) {
            0 if !input.is_empty() => input[place] ^= 1 << random.below(8),
            1 if !input.is_empty() => input[place] = u8::try_from(random.below(256)).unwrap(),
            2 if !input.is_empty() => {
                input.remove(place);
            }
            3 => {
                let end = (place + random.below(64)).min(input.len());
                let piece = input[place.min(end)..end].to_vec();
                input.splice(place.min(input.len())..place.min(input.len()), piece);
            }
            4 => input.truncate(place),
            _ => {
                let interesting = *b"\0\xff\"{}[]:,./\\%=- ";
                input.insert(place.min(input.len()), interesting[random.below(interesting.len())]);
            }
        }
    }
    input
}

fn certificates() -> Vec<Vec<u8>> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI("spiffe://example.org/web".try_into().unwrap())];
    params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    let leaf = params.self_signed(&key).unwrap().der().to_vec();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let authority = params.self_signed(&key).unwrap().der().to_vec();
    let both = [leaf.clone(), authority.clone()].concat();
    vec![leaf, authority, both]
}

fn list() -> Vec<u8> {
    let issuer = rcgen::CertificateParams::default();
    let revoked = rcgen::RevokedCertParams {
        serial_number: 7.into(),
        revocation_time: issuer.not_before,
        reason_code: Some(rcgen::RevocationReason::KeyCompromise),
        invalidity_date: None,
    };
    let point = rcgen::CrlDistributionPoint { uris: vec!["https://ca.example/1.crl".to_owned()] };
    let list = rcgen::CertificateRevocationListParams {
        this_update: issuer.not_before,
        next_update: issuer.not_after,
        crl_number: 1.into(),
        issuing_distribution_point: Some(rcgen::CrlIssuingDistributionPoint {
            distribution_point: point,
            scope: Some(rcgen::CrlScope::UserCertsOnly),
        }),
        revoked_certs: vec![revoked],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let issuer = rcgen::Issuer::new(issuer, rcgen::KeyPair::generate().unwrap());
    list.signed_by(&issuer).unwrap().der().to_vec()
}

fn drive(target: &Target) {
    let mut random = Random(0x5EED_0000_0000_0001);
    let mut seeds: Vec<Vec<u8>> = target.seeds.iter().map(|seed| seed.to_vec()).collect();
    match target.name {
        "revocation_list" => seeds = vec![list()],
        _ if seeds.is_empty() => seeds = certificates(),
        _ => {}
    }
    seeds.push(Vec::new());
    for seed in &seeds {
        (target.run)(seed);
        for _ in 0..ROUNDS {
            (target.run)(&mutate(seed, &mut random));
        }
    }
}

fn run(name: &str) {
    drive(TARGETS.iter().find(|target| target.name == name).unwrap());
}

#[test]
fn spiffe_ids() {
    run("spiffe_id");
}

#[test]
fn leaves() {
    run("leaf");
}

#[test]
fn tokens() {
    run("compact_jws");
}

/// Ed25519 is not approved in the FIPS module.
const TOKENS_VERIFIED: usize = if postern_identity::tls::IS_FIPS { 3 } else { 6 };

#[test]
fn tokens_to_begin_with_verify() {
    let target = TARGETS.iter().find(|target| target.name == "compact_jws").unwrap();
    let texts = target.seeds.iter().map(|seed| std::str::from_utf8(seed).unwrap());
    assert_eq!(texts.filter_map(verified).count(), TOKENS_VERIFIED);
}

#[test]
fn what_a_mutated_token_claims_is_judged_beneath_a_true_signature() {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"d"}"#);
    let check = |claims: &str, expected: bool| {
        let unsigned = format!("{header}.{}.", URL_SAFE_NO_PAD.encode(claims));
        let taken = verified(&signed_again(&unsigned).unwrap()).is_some();
        assert_eq!(taken, expected && !postern_identity::tls::IS_FIPS, "{claims}");
    };
    check(r#"{"iss":"i","aud":"a","exp":2000000001}"#, true);
    check(r#"{"iss":"i","aud":"b","exp":2000000001}"#, false);
    check(r#"{"iss":"i","aud":"a","exp":1999999990}"#, false);
    check(r#"{"iss":"nobody","aud":"a","exp":2000000001}"#, false);
}

#[test]
fn key_sets() {
    run("key_set");
}

#[test]
fn bundle_documents() {
    run("bundle_document");
}

#[test]
fn bundle_maps() {
    run("bundle_map");
}

#[test]
fn revocation_lists() {
    run("revocation_list");
}

#[test]
fn concatenated_certificates() {
    run("concatenated_der");
}

#[test]
fn proofs_of_keys() {
    run("dpop_proof");
}

#[test]
fn tokens_of_workloads() {
    run("workload_tokens");
}

#[test]
fn every_target_is_driven_by_the_fuzzer_too() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/libfuzzer/fuzz_targets");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(files, names);
}
