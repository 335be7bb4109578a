use super::*;
use http::HeaderValue;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn check_traceparent(value: &str, expected: Result<u8, TraceparentError>) {
    let expected = expected.map(|flags| (TRACE.to_owned(), PARENT.to_owned(), flags));
    let found = parse_traceparent(value.as_bytes())
        .map(|parent| (parent.trace_id.to_string(), parent.span_id.to_string(), parent.flags));
    assert_eq!(found, expected, "`{value}`");
}

#[test]
fn a_traceparent_is_read_as_the_specification_says() {
    use TraceparentError::*;
    let rows: &[(&str, Result<u8, TraceparentError>)] = &[
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Ok(1)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", Ok(0)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", Ok(3)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fd", Ok(1)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Ok(1)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds", Ok(1)),
        ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what", Err(Form)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x", Err(Form)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 ", Err(Form)),
        ("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Err(Version)),
        ("00-00000000000000000000000000000000-00f067aa0ba902b7-01", Err(Zero)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", Err(Zero)),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", Err(NotHexadecimal)),
        ("00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01", Err(NotHexadecimal)),
        (".0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Err(NotHexadecimal)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x", Err(NotHexadecimal)),
        ("00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01", Err(Form)),
        ("00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7a-01", Err(Form)),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", Err(Form)),
        ("000-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", Err(Form)),
        ("-------------------------------------------------------", Err(Form)),
        ("", Err(Form)),
    ];
    for &(value, expected) in rows {
        check_traceparent(value, expected);
    }
}

fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in rows {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

/// Gives 1, 2, 3 … so that tests can tell which draw became which id.
fn counting() -> impl FnMut() -> u64 {
    let mut last = 0;
    move || {
        last += 1;
        last
    }
}

fn begin(rows: &[(&'static str, &str)], ratio: f64) -> TraceContext {
    TraceContext::begin(&headers(rows), Sampler::new(ratio).unwrap(), &mut counting())
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn text(context: &TraceContext) -> String {
    String::from_utf8(context.traceparent().to_vec()).unwrap()
}

#[test]
fn a_caller_that_is_in_a_trace_keeps_it_and_its_choice() {
    for (flags, ratio, sampled) in [("01", 0.0, true), ("00", 1.0, false)] {
        let context = begin(&[("traceparent", &parent(flags))], ratio);
        assert_eq!(context.parent.map(|id| id.to_string()).as_deref(), Some(PARENT));
        assert_eq!(context.sampled(), sampled);
        assert_eq!(text(&context), format!("00-{TRACE}-0000000000000002-{flags}"));
    }
}

#[test]
fn what_goes_upstream_reads_back_as_what_was_meant() {
    let context = begin(&[], 1.0);
    let read = parse_traceparent(&context.traceparent()).unwrap();
    assert_eq!((read.trace_id, read.span_id), (context.trace_id, context.client_span));
    assert_eq!(read.flags, FLAG_SAMPLED | FLAG_RANDOM);
    assert_eq!(text(&context), "00-00000000000000030000000000000004-0000000000000002-03");
}

#[test]
fn a_bad_or_repeated_traceparent_begins_a_new_trace_without_the_old_state() {
    let twice =
        [("traceparent", parent("01")), ("traceparent", parent("01")), ("tracestate", "a=1".to_owned())];
    let bad = [("traceparent", parent("0x")), ("tracestate", "a=1".to_owned())];
    for rows in [&twice[..], &bad[..]] {
        let rows: Vec<_> = rows.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let context = begin(&rows, 0.0);
        assert_eq!(context.parent, None);
        assert_ne!(context.trace_id.to_string(), TRACE);
        assert_eq!(context.tracestate, TraceState::Remove);
        assert!(!context.sampled());
    }
}

#[test]
fn a_source_of_zeros_still_gives_ids() {
    let context = TraceContext::begin(&HeaderMap::new(), Sampler::new(0.5).unwrap(), &mut || 0);
    assert!(parse_traceparent(&context.traceparent()).is_ok());
}

fn check_tracestate(values: &[&str], expected: TraceState) {
    let mut rows = vec![("traceparent", parent("01"))];
    rows.extend(values.iter().map(|value| ("tracestate", (*value).to_owned())));
    let rows: Vec<_> = rows.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(begin(&rows, 0.0).tracestate, expected, "{values:?}");
}

#[test]
fn a_tracestate_goes_on_whole_or_not_at_all() {
    use TraceState::*;
    let at_most: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
    let one_too_many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
    let long = |bytes: usize| format!("{}=v,{}=v", "a".repeat(240), "b".repeat(bytes - 245));
    let rows: &[(&[&str], TraceState)] = &[
        (&[], Remove),
        (&[""], Remove),
        (&["rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"], Forward),
        (&["a=1", "b=2"], Forward),
        (&["a=1 , \tb=2,"], Forward),
        (&["0tenant@system=1"], Forward),
        (&["a*/_-9=x y"], Forward),
        (&["a=1", "a=2"], Remove),
        (&["a=1,a=2"], Remove),
        (&["A=1"], Remove),
        (&["0a=1"], Remove),
        (&["a"], Remove),
        (&["a="], Remove),
        (&["=1"], Remove),
        (&["a=1=2"], Remove),
        (&["a@=1"], Remove),
        (&["a@b@c=1"], Remove),
        (&["a =1"], Remove),
        (&["a=\t1"], Remove),
        (&[&at_most.join(",")], Forward),
        (&[&one_too_many.join(",")], Remove),
        (&[&long(485)], Forward),
        (&[&format!("a={}", "v".repeat(256))], Forward),
        (&[&format!("a={}", "v".repeat(257))], Remove),
        (&[&format!("a={}", "v".repeat(254)), &format!("b={}", "v".repeat(253))], Forward),
        (&[&format!("a={}", "v".repeat(254)), &format!("b={}", "v".repeat(254))], Remove),
    ];
    for &(values, expected) in rows {
        check_tracestate(values, expected);
    }
}

fn kept_of(ratio: f64, of: u64) -> u64 {
    let sampler = Sampler::new(ratio).unwrap();
    // Spread over the whole range, so that the count is exact and not a matter of luck.
    let step = RANDOM_BITS_MASK / of;
    (0..of).filter(|n| sampler.keeps(TraceId(u128::from(n * step + step / 2).to_be_bytes()))).count() as u64
}

#[test]
fn a_sampler_keeps_its_share_of_new_traces() {
    for (ratio, expected) in [(0.0, 0), (0.01, 10), (0.25, 250), (1.0, 1000)] {
        assert_eq!(kept_of(ratio, 1000), expected, "{ratio}");
    }
}

#[test]
fn a_share_outside_0_to_1_is_refused() {
    for ratio in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let error = Sampler::new(ratio).unwrap_err();
        assert!(error.to_string().contains("write a number from 0 to 1"), "{error}");
    }
}
