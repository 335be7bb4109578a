use super::*;
use std::net::SocketAddr;

const ID: &str = "01JDCXYQ1VJ8V6E4M3Z9K7T2WB";

fn stamp() -> Stamp {
    Stamp {
        id: ID.parse().unwrap(),
        unix_ns: 1_795_400_552_123_456_789,
        mono_ns: 812_345_678_901,
        lane: 3,
        seq: 99_121,
    }
}

fn worst_stamp() -> Stamp {
    Stamp { id: ID.parse().unwrap(), unix_ns: u64::MAX, mono_ns: u64::MAX, lane: u16::MAX, seq: u64::MAX }
}

fn worst_source() -> Remote {
    worst_address().into()
}

fn worst_address() -> SocketAddr {
    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap()
}

/// The bytes are the format: a change here is a new version of it.
fn check_golden(name: &str, encode: impl Fn(&mut Vec<u8>)) {
    let mut out = Vec::new();
    encode(&mut out);
    serde_json::from_slice::<serde_json::Value>(&out).unwrap();
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("POSTERN_BLESS").is_some() {
        std::fs::write(&path, [out.as_slice(), b"\n"].concat()).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), golden.trim_end(), "{name}");
}

#[test]
fn a_workloads_own_token_is_named_beside_the_peer() {
    let sha256 = crate::hash::sha256(b"x");
    let workload_token = Some(WorkloadTokenFacts {
        spiffe_id: "spiffe://example.org/batch",
        key_id: "a1",
        token_sha256: &sha256,
    });
    let decision = Decision { workload_token, ..Decision::default() };
    check_golden("decision-workload", |out| decision.encode(&stamp(), out));
    let decision = Decision { metadata: r#"{"tier":"gold"}"#, ..Decision::default() };
    check_golden("decision-metadata", |out| decision.encode(&stamp(), out));
}

#[test]
fn a_caller_in_plain_text_is_recorded_as_one_that_has_proven_nothing() {
    let source = Some("10.1.2.3:51234".parse().unwrap());
    let decision = Decision { source, tls: Tls::None, ..Decision::default() };
    check_golden("decision-plaintext", |out| decision.encode(&stamp(), out));
}

#[test]
fn each_decision_is_written_as_published() {
    let sha256 = crate::hash::sha256(b"x");
    let decision = Decision {
        connection: Some("01JDCXYPZZJ8V6E4M3Z9K7T2WB".parse().unwrap()),
        listener: "app",
        source: Some("10.1.2.3:51234".parse().unwrap()),
        destination: Some("192.0.2.7:443".parse().unwrap()),
        peer: Some(PeerFacts {
            spiffe_id: "spiffe://example.org/web",
            serial: "4f2a90c1",
            fingerprint_sha256: Some(&sha256),
        }),
        token: Some(TokenFacts {
            issuer: "https://idp.example.org",
            subject: "alice",
            token_id: "",
            key_id: "k1",
            token_sha256: &sha256,
        }),
        method: "POST",
        host: "bank.example.org",
        path: "/accounts/42/payments",
        query_sha256: Some(&sha256),
        route: "payments",
        upstream: "app",
        trace_id: Some(&[0x4b; 16]),
        span_id: Some(&[0xf0; 8]),
        effect: Effect::Deny,
        reason: "policy.denied",
        rules: &["bank.payments_only"],
        message: "payments need the scope \"payments:write\"",
        engine: "rego",
        bundle_sha256: Some(&sha256),
        bundle_revision: "bank@2",
        eval_ns: 41_200,
        cache: Cache::Miss,
        status: Some(403),
        mutations: &["header.remove:x-user", "header.set:x-spiffe-id"],
        ..Decision::default()
    };
    check_golden("decision", |out| decision.encode(&stamp(), out));
    check_golden("decision-none", |out| Decision::default().encode(&stamp(), out));
}

#[test]
fn each_end_of_an_exchange_or_a_connection_is_written_as_published() {
    let outcome = Outcome {
        status: 200,
        request_bytes: 12,
        response_bytes: 3456,
        attempts: 1,
        tried: Vec::new(),
        endpoint: Some(([127, 0, 0, 1], 8080).into()),
        server: None,
        duration_ns: 1_234_567,
        end: Some(End::Done),
        reason: None,
    };
    check_golden("outcome", |out| outcome.encode(&stamp(), out));
    let proven = Outcome { server: Some("spiffe://example.org/db".into()), ..outcome.clone() };
    check_golden("outcome-server", |out| proven.encode(&stamp(), out));
    let tried = |result| Tried { endpoint: ([127, 0, 0, 1], 8081).into(), result, duration_ns: 20_000 };
    let failures = [TriedResult::Reason("upstream.connect_failed"), TriedResult::Status(503)];
    let repeated = Outcome { attempts: 3, tried: failures.map(tried).to_vec(), ..outcome };
    check_golden("outcome-tried", |out| repeated.encode(&stamp(), out));
    let end = ConnectionEnd {
        listener: "app",
        source: "10.1.2.3:51234".parse().unwrap(),
        tls: Tls::AsAsked,
        peer: "",
        sni: "bank.example.org",
        reason: "tls.certificate_expired",
        detail: "the certificate expired at 2026-11-22T00:00:00Z",
        protocol_errors: &[("h2.protocol_error", 2)],
        exchanges: 0,
        duration_ns: 2_000_000,
    };
    check_golden("conn", |out| end.encode(&stamp(), out));
    let plain = ConnectionEnd {
        tls: Tls::None,
        sni: "",
        detail: "",
        reason: "peer.plaintext",
        protocol_errors: &[],
        exchanges: 2,
        ..end
    };
    check_golden("conn-plaintext", |out| plain.encode(&stamp(), out));
}

#[test]
fn each_record_of_the_log_itself_is_written_as_published() {
    let sha256 = crate::hash::sha256(b"x");
    let sources = ["10.1.2.0".parse().unwrap(), "2001:db8::".parse().unwrap()].map(|source| (source, 7));
    for own in [
        Own::Start {
            origin: "example.org/pay/audit/01",
            version: "0.1.0",
            mode: "async",
            lanes: 5,
            key: "example.org/pay/audit/01+00000000+AQ==",
        },
        Own::Stop { reason: "shutdown", lanes: &[9, 100, 0, 7, 2] },
        Own::Recovered { checkpoint_size: 90, dropped_bytes: 17, drained: 3, lanes: &[9, 100, 0] },
        Own::Gap { of: 1, from: 10, to: 12, reason: "ring_full" },
        Own::RefusedSummary {
            count: 14,
            first_unix_ns: 1,
            last_unix_ns: 2,
            reasons: &[("tls.no_certificate", 14)],
            sources: &sources,
        },
        Own::Tick { reason: "idle", lanes: &[10, 100, 0] },
        Own::Key { event: "use", key: "example.org/pay/audit/01+00000000+AQ==" },
        Own::Bundle {
            event: "activated",
            name: "authz",
            revision: "bank@2",
            sha256: Some(&sha256),
            detail: "",
        },
        Own::Config { event: "refused", sha256: None, detail: "unknown key `adress`" },
    ] {
        check_golden(own.kind(), |out| own.encode(&stamp(), out));
    }
}

/// Six bytes for one: the worst that escaping does, at every length up to and past each field's limit.
fn worst_texts() -> impl Iterator<Item = String> {
    [10, 26, 85, 170, 341, 512, 700, 3072, 100_000].into_iter().map(|length| "\u{1}".repeat(length))
}

#[test]
fn no_decision_exceeds_its_limit_whatever_is_put_into_it() {
    for text in worst_texts() {
        let texts = vec![text.as_str(); 1000];
        let sha256 = [0xff; 32];
        let decision = Decision {
            connection: Some(ID.parse().unwrap()),
            listener: &text,
            source: Some(worst_source()),
            destination: Some(worst_address()),
            tls: Tls::None,
            peer: Some(PeerFacts { spiffe_id: &text, serial: &text, fingerprint_sha256: Some(&sha256) }),
            token: Some(TokenFacts {
                issuer: &text,
                subject: &text,
                token_id: &text,
                key_id: &text,
                token_sha256: &sha256,
            }),
            workload_token: Some(WorkloadTokenFacts {
                spiffe_id: &text,
                key_id: &text,
                token_sha256: &sha256,
            }),
            method: &text,
            host: &text,
            path: &text,
            path_raw_sha256: Some(&sha256),
            query_sha256: Some(&sha256),
            route: &text,
            upstream: &text,
            trace_id: Some(&[255; 16]),
            span_id: Some(&[255; 8]),
            effect: Effect::Allow,
            enforcement: Enforcement::Observe,
            would: Some(Effect::Allow),
            reason: &text,
            rules: &texts,
            message: &text,
            engine: &text,
            bundle_sha256: Some(&sha256),
            bundle_revision: &text,
            input_sha256: Some(&sha256),
            eval_ns: u64::MAX,
            cache: Cache::Miss,
            status: Some(u16::MAX),
            mutations: &texts,
            metadata: &text,
        };
        let mut out = Vec::new();
        decision.encode(&worst_stamp(), &mut out);
        assert!(out.len() <= ENTRY_BYTES_MAX, "{}: {}", text.len(), out.len());
        serde_json::from_slice::<serde_json::Value>(&out).unwrap();
    }
}

#[test]
fn no_entry_of_a_connection_exceeds_its_limit_whatever_is_put_into_it() {
    for text in worst_texts() {
        let errors: Vec<(&'static str, u32)> = vec![
            ("a_kind_of_thirty_two_bytes_length", u32::MAX),
            ("kind_of_thirty_two_bytes_length_", u32::MAX),
        ];
        let end = ConnectionEnd {
            listener: &text,
            source: worst_source(),
            tls: Tls::None,
            peer: &text,
            sni: &text,
            reason: "a.reason_code_that_has_sixty_four_bytes_which_is_the_longest_one",
            detail: &text,
            protocol_errors: &errors.repeat(100),
            exchanges: u64::MAX,
            duration_ns: u64::MAX,
        };
        let mut out = Vec::new();
        end.encode(&worst_stamp(), &mut out);
        assert!(out.len() <= CONNECTION_BYTES_MAX, "{}: {}", text.len(), out.len());
    }
}

#[test]
fn no_record_of_fixed_fields_exceeds_its_limit() {
    const REASON: &str = "a.reason_code_that_has_sixty_four_bytes_which_is_the_longest_one";
    let result = TriedResult::Reason(REASON);
    let mut out = Vec::new();
    let longest = format!("/{}", "a".repeat(106));
    let endpoints = [worst_address().into(), EndpointAddress::Unix(SocketPath::new(&longest).unwrap())];
    let servers = ["", "spiffe://a/b", &"x".repeat(2047), &"x".repeat(2048), &"x".repeat(9000)];
    let all = (0..5).zip(servers).flat_map(|of| endpoints.each_ref().map(|endpoint| (of, endpoint)));
    for ((attempts, server), endpoint) in all {
        let tried = Tried { endpoint: endpoint.clone(), result, duration_ns: u64::MAX };
        let outcome = Outcome {
            status: u16::MAX,
            request_bytes: u64::MAX,
            response_bytes: u64::MAX,
            attempts: u32::MAX,
            tried: vec![tried; attempts],
            endpoint: Some(endpoint.clone()),
            server: Some(server.into()),
            duration_ns: u64::MAX,
            end: Some(End::UpstreamError),
            reason: Some(REASON),
        };
        outcome.encode(&worst_stamp(), &mut out);
        let limit = OUTCOME_BYTES_MAX + attempts * TRIED_BYTES_MAX + server_bytes(server);
        assert!(out.len() <= limit, "{attempts}: {}", out.len());
        out.clear();
    }
    let reason = "\u{1}".repeat(1000);
    Own::Gap { of: u16::MAX, from: u64::MAX, to: u64::MAX, reason: &reason }.encode(&worst_stamp(), &mut out);
    assert!(out.len() <= GAP_BYTES_MAX, "{}", out.len());
    out.clear();
    Own::Recovered {
        checkpoint_size: u64::MAX,
        dropped_bytes: u64::MAX,
        drained: u64::MAX,
        lanes: &[u64::MAX; 129],
    }
    .encode(&worst_stamp(), &mut out);
    assert!(out.len() <= ENTRY_BYTES_MAX, "{}", out.len());
}

/// The published schema is written by hand: this holds it to what is written.
#[test]
fn every_record_has_the_members_of_the_published_schema() {
    use serde_json::Value;
    let root = env!("CARGO_MANIFEST_DIR");
    let schema = std::fs::read_to_string(format!("{root}/../schema/record.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let mut kinds = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(format!("{root}/tests/golden")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        let record: Value = serde_json::from_str(&text).unwrap();
        let kind = record["kind"].as_str().unwrap();
        let published = schema["oneOf"].as_array().unwrap().iter().find(|one| one["title"] == kind);
        let published = published.unwrap_or_else(|| panic!("`{kind}` is not in the schema"));
        for name in record.as_object().unwrap().keys() {
            assert!(published["properties"].get(name).is_some(), "`{name}` of `{kind}` is not in the schema");
        }
        for name in published["required"].as_array().unwrap() {
            assert!(
                record.get(name.as_str().unwrap()).is_some(),
                "{name} is required of `{kind}` and not written"
            );
        }
        kinds.insert(kind.to_owned());
    }
    assert_eq!(kinds.len(), schema["oneOf"].as_array().unwrap().len(), "every kind has a golden record");
}
