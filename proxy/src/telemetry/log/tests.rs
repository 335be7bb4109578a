use super::*;
use std::sync::atomic::AtomicU64;
use tracing::{debug, error, info, trace, warn};

/// A clock that stands until it is moved: 2024-02-29T12:34:56.789Z at first.
#[derive(Debug, Default)]
struct Hands {
    moved_ns: AtomicU64,
}

impl Clock for Hands {
    fn unix_ns(&self) -> u64 {
        1_709_210_096_789_000_000 + self.monotonic_ns()
    }

    fn monotonic_ns(&self) -> u64 {
        self.moved_ns.load(Ordering::Relaxed)
    }
}

struct Desk {
    log: Log,
    writer: LogWriter,
    clock: Arc<Hands>,
    metrics: LogMetrics,
}

fn desk(level: LogLevel, format: LogFormat) -> Desk {
    let (clock, metrics) = (Arc::new(Hands::default()), LogMetrics::default());
    let (log, writer) =
        new(ProcessLog { level, format }, Arc::clone(&clock) as Arc<dyn Clock>, metrics.clone());
    Desk { log, writer, clock, metrics }
}

impl Desk {
    fn hears(&self, what: impl FnOnce()) {
        tracing::subscriber::with_default(self.log.clone(), what);
    }

    /// What was written in the end.
    fn text(self) -> String {
        drop(self.log);
        let mut out = Vec::new();
        self.writer.run(&mut out);
        String::from_utf8(out).unwrap()
    }
}

fn check(format: LogFormat, what: impl FnOnce(), expected: &str) {
    let desk = desk(LogLevel::Debug, format);
    desk.hears(what);
    assert_eq!(desk.text(), expected);
}

#[test]
fn a_line_for_people_has_time_level_message_and_fields() {
    check(
        LogFormat::Text,
        || info!(target: "postern", listener = "app", port = 8443_u16, ready = true, "listening"),
        "2024-02-29T12:34:56.789Z INFO  listening listener=\"app\" port=8443 ready=true\n",
    );
}

#[test]
fn a_line_for_machines_is_one_json_object() {
    let desk = desk(LogLevel::Info, LogFormat::Json);
    desk.hears(|| error!(target: "postern", error = %"no `key`", shift = -1_i64, part = ?Some("x"), "a \"bad\" reload"));
    let text = desk.text();
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "time": "2024-02-29T12:34:56.789Z", "level": "error", "target": "postern", "message": "a \"bad\" reload",
        "fields": { "error": "no `key`", "shift": -1, "part": "Some(\"x\")" },
    });
    assert_eq!(value, expected);
    assert_eq!(text.matches('\n').count(), 1);
}

#[test]
fn text_from_outside_cannot_break_out_of_its_field() {
    let attack = "a\r\nFAKE \u{1b}]0;pwn\u{7}\u{9b}31m\u{202e}gnp\u{2028}\u{200b}\u{e0041}\" x=\"1\\";
    for format in [LogFormat::Text, LogFormat::Json] {
        let desk = desk(LogLevel::Info, format);
        desk.hears(|| {
            warn!(target: "postern", path = attack, "refused");
            warn!(target: "postern", path = %attack, "{attack}");
            warn!(target: "postern", path = ?attack);
        });
        let text = desk.text();
        assert_eq!(text.lines().count(), 3, "{text}");
        let harmless = |letter: char| letter == '\n' || (letter.is_ascii() && !letter.is_ascii_control());
        assert!(text.chars().all(harmless), "{text:?}");
        if format == LogFormat::Json {
            let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
            assert_eq!(first["fields"]["path"], attack);
        }
    }
}

#[test]
fn a_long_value_is_cut() {
    let desk = desk(LogLevel::Info, LogFormat::Text);
    desk.hears(|| info!(target: "postern", value = %"é".repeat(100_000), "long"));
    let text = desk.text();
    assert!(text.len() < 2200 && text.ends_with("…\"\n"), "{} bytes", text.len());
}

#[test]
fn libraries_are_heard_from_warn_on_and_we_by_the_level() {
    let desk = desk(LogLevel::Info, LogFormat::Text);
    desk.hears(|| {
        trace!(target: "postern_proxy::app", "never");
        debug!(target: "postern_proxy::app", "not yet");
        info!(target: "h2::codec", "never");
        debug!(target: "hyper::proto", "never");
        warn!(target: "hyper::proto", "theirs");
        let span = tracing::error_span!(target: "postern", "span");
        let _entered = span.enter();
        info!(target: "postern_proxy::app", "ours");
    });
    desk.log.configure(ProcessLog { level: LogLevel::Debug, format: LogFormat::Text });
    desk.hears(|| debug!(target: "postern_proxy::app", "now"));
    let messages: Vec<String> = desk.text().lines().map(|line| line.split_off_message()).collect();
    assert_eq!(messages, ["WARN  theirs", "INFO  ours", "DEBUG now"]);
}

trait SplitMessage {
    fn split_off_message(&self) -> String;
}

impl SplitMessage for str {
    fn split_off_message(&self) -> String {
        self.split_once(' ').unwrap().1.to_owned()
    }
}

#[test]
fn a_line_that_repeats_too_often_is_suppressed_and_says_so_later() {
    let desk = desk(LogLevel::Info, LogFormat::Text);
    let repeat = |times: u32| (0..times).for_each(|_| warn!(target: "postern", "again"));
    desk.hears(|| {
        repeat(25);
        info!(target: "postern", "something else");
        desk.clock.moved_ns.store(REPEAT_WINDOW_NS, Ordering::Relaxed);
        repeat(2);
    });
    assert_eq!(desk.metrics.suppressed.get(), 15);
    let text = desk.text();
    assert_eq!(text.matches("again").count(), 12, "{text}");
    assert!(text.contains("something else"));
    assert!(text.contains("again suppressed=15\n") && text.ends_with("again\n"), "{text}");
}

#[test]
fn a_blocked_standard_error_costs_lines_and_nobody_time() {
    let desk = desk(LogLevel::Info, LogFormat::Text);
    desk.hears(|| {
        for n in 0..=QUEUE_LINES_MAX {
            // Moves on, so that repetition is not what drops them.
            desk.clock.moved_ns.fetch_add(REPEAT_WINDOW_NS, Ordering::Relaxed);
            info!(target: "postern", n, "line");
        }
    });
    assert_eq!(desk.metrics.dropped.get(), 1);
    assert_eq!(desk.text().lines().count(), QUEUE_LINES_MAX);
}

#[test]
fn a_flush_ends_when_everything_is_written() {
    let Desk { log, writer, .. } = desk(LogLevel::Info, LogFormat::Text);
    assert!(!log.flush(Duration::ZERO), "no writer runs yet");
    let thread = std::thread::spawn(move || {
        let mut out = Vec::new();
        writer.run(&mut out);
        out
    });
    tracing::subscriber::with_default(log.clone(), || info!(target: "postern", "last words"));
    assert!(log.flush(Duration::from_secs(60)));
    drop(log);
    assert!(String::from_utf8(thread.join().unwrap()).unwrap().ends_with("last words\n"));
}

#[test]
fn days_are_counted_as_the_calendar_counts_them() {
    let shown = |unix_s: u64| {
        let desk = desk(LogLevel::Info, LogFormat::Text);
        desk.clock
            .moved_ns
            .store((unix_s * 1_000_000_000).wrapping_sub(1_709_210_096_789_000_000), Ordering::Relaxed);
        desk.hears(|| info!(target: "postern", "x"));
        desk.text().split(' ').next().unwrap().to_owned()
    };
    for (unix_s, expected) in [
        (1_709_251_199, "2024-02-29T23:59:59.000Z"),
        (1_709_251_200, "2024-03-01T00:00:00.000Z"),
        (1_735_689_599, "2024-12-31T23:59:59.000Z"),
        (4_107_542_400, "2100-03-01T00:00:00.000Z"),
    ] {
        assert_eq!(shown(unix_s), expected);
    }
}

#[test]
fn levels_have_names() {
    assert_eq!(level_named("WARN"), Some(LogLevel::Warn));
    assert_eq!(level_named("debug"), Some(LogLevel::Debug));
    assert_eq!(level_named("trace"), None);
    assert_eq!(level_named(""), None);
}
