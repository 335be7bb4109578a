//! One event as one line.
//!
//! Whatever a field holds, the line stays one line and reads as it was written: control characters, line and
//! paragraph separators, and the invisible marks that turn or hide text are escaped in both formats.

use std::fmt::{self, Debug, Write};

use postern_policy::tooling::deceives;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::config::LogFormat;

/// Longest value, in bytes of what was to be written; longer ones are cut and end in `…`.
const VALUE_BYTES_MAX: usize = 2048;
/// Fields that are written; those beyond are counted.
const FIELDS_MAX: usize = 24;

/// The line for `event`, with its line feed. `suppressed` lines of its kind went unwritten before it.
pub(super) fn write(event: &Event<'_>, now_ns: u64, suppressed: u64, format: LogFormat) -> String {
    let mut fields = Fields { format, ..Fields::default() };
    event.record(&mut fields);
    if fields.left_out > 0 {
        fields.number("fields_left_out", fields.left_out);
    }
    if suppressed > 0 {
        fields.number("suppressed", suppressed);
    }
    let Fields { message, text, .. } = fields;
    let metadata = event.metadata();
    let (level, target) = (metadata.level(), metadata.target());
    let time = Time(now_ns);
    match format {
        LogFormat::Text => format!("{time} {:5} {message}{text}\n", level.as_str()),
        LogFormat::Json => {
            let level = name(level);
            let fields = text.trim_start_matches(',');
            format!(
                "{{\"time\":\"{time}\",\"level\":\"{level}\",\"target\":\"{target}\",\"message\":\"{message}\",\
                 \"fields\":{{{fields}}}}}\n"
            )
        }
    }
}

const fn name(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// Collects the fields of an event, escaped, in the order they come.
struct Fields {
    format: LogFormat,
    message: String,
    text: String,
    written: usize,
    left_out: u64,
}

impl Default for Fields {
    fn default() -> Self {
        Self { format: LogFormat::Text, message: String::new(), text: String::new(), written: 0, left_out: 0 }
    }
}

impl Fields {
    /// Writes the name of a field; false when there are too many.
    fn begin(&mut self, key: &str) -> bool {
        if self.written >= FIELDS_MAX {
            self.left_out += 1;
            return false;
        }
        self.written += 1;
        match self.format {
            LogFormat::Text => self.text.extend([" ", key, "="]),
            LogFormat::Json => self.text.extend([",\"", key, "\":"]),
        }
        true
    }

    fn number(&mut self, key: &str, value: impl fmt::Display) {
        if self.begin(key) {
            self.text.push_str(&value.to_string());
        }
    }

    fn quoted(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if field.name() == "message" {
            self.message = escaped(value);
        } else if self.begin(field.name()) {
            self.text.extend(["\"", &escaped(value), "\""]);
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.quoted(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.quoted(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field.name(), value);
    }
}

fn escaped(value: fmt::Arguments<'_>) -> String {
    let mut escape = Escape { text: String::new(), room: VALUE_BYTES_MAX };
    // An error means "no room left", or a value that cannot be formatted: both leave what there is.
    escape.write_fmt(value).unwrap_or_default();
    escape.text
}

struct Escape {
    text: String,
    room: usize,
}

impl Write for Escape {
    fn write_str(&mut self, piece: &str) -> fmt::Result {
        for letter in piece.chars() {
            let Some(room) = self.room.checked_sub(letter.len_utf8()) else {
                self.text.push('…');
                return Err(fmt::Error);
            };
            self.room = room;
            match letter {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                _ if deceives(letter) => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        write!(self.text, "\\u{unit:04x}")?;
                    }
                }
                _ => self.text.push(letter),
            }
        }
        Ok(())
    }
}

/// A moment in nanoseconds since the Unix epoch, shown as RFC 3339 in UTC to the millisecond.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ms, seconds) = (self.0 / 1_000_000 % 1000, self.0 / 1_000_000_000);
        let (second, minute, hour) = (seconds % 60, seconds / 60 % 60, seconds / 3600 % 24);
        let (year, month, day) = date(seconds / 86_400);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar: counts in eras of 400
/// years that begin in March, so that the leap day is the last of its year.
const fn date(day_since_1970: u64) -> (u64, u64, u64) {
    let day = day_since_1970 + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, year) = if month_from_march < 10 {
        (month_from_march + 3, era * 400 + year_of_era)
    } else {
        (month_from_march - 9, era * 400 + year_of_era + 1)
    };
    (year, month, day_of_month)
}
