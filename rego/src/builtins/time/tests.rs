use super::super::testing::{Dice, Want, agree, check};
use super::layout;

const PARSE: &str = "time.parse_ns";

#[test]
fn times_are_read_by_layouts() {
    check(&[
        (
            PARSE,
            r#"["2006-01-02T15:04:05Z07:00", "2017-06-02T19:00:00-07:00"]"#,
            Want::Value("1496455200000000000"),
        ),
        (
            PARSE,
            r#"["2006-01-02T15:04:05Z07:00", "1677-09-21T00:12:43.145224192-00:00"]"#,
            Want::Value("-9223372036854775808"),
        ),
        (
            PARSE,
            r#"["2006-01-02T15:04:05Z07:00", "2262-04-11T23:47:16.854775807-00:00"]"#,
            Want::Value("9223372036854775807"),
        ),
        (PARSE, r#"["2006-01-02T15:04:05Z07:00", "1677-09-21T00:12:43.145224191-00:00"]"#, Want::Failed),
        (PARSE, r#"["2006-01-02T15:04:05Z07:00", "2262-04-11T23:47:16.854775808-00:00"]"#, Want::Failed),
        (
            PARSE,
            r#"["01/02 03:04:05PM '06 -0700", "06/02 07:00:00PM '17 -0700"]"#,
            Want::Value("1496455200000000000"),
        ),
        (PARSE, r#"["RFC822Z", "02 Jun 17 19:00 -0700"]"#, Want::Value("1496455200000000000")),
        (PARSE, r#"["RFC822", "02 Jun 17 19:00 PST"]"#, Want::Value("1496430000000000000")),
        (PARSE, r#"["RFC822", "02 Jun 17 19:00 GMT-8"]"#, Want::Value("1496430000000000000")),
        (PARSE, r#"["ANSIC", "mon JAN  2 15:04:05 2006"]"#, Want::Value("1136214245000000000")),
        (PARSE, r#"["2006-01-02", "2020-02-30"]"#, Want::Failed),
        (PARSE, r#"["2006-01-02", "2020-13-01"]"#, Want::Failed),
        (PARSE, r#"["2006-01-02", "2020-02-29 "]"#, Want::Failed),
        (PARSE, r#"["2006 002", "2020 060"]"#, Want::Value("1582934400000000000")),
        (PARSE, r#"["2006 __2", "2021  60"]"#, Want::Value("1614556800000000000")),
        (PARSE, r#"["2006-01-02 3PM AM", "2020-02-29 12PM AM"]"#, Want::Value("1582977600000000000")),
        (PARSE, r#"["2006-01-02 3PM PM", "2020-02-29 12PM AM"]"#, Want::Value("1582934400000000000")),
        (PARSE, r#"["2006-01-02 15:04:05", "2020-02-29 01:02:03,5"]"#, Want::Value("1582938123500000000")),
        (PARSE, r#"["2006-01-02 -07:00:00", "2020-02-29 -00:00:01"]"#, Want::Value("1582934400000000000")),
        (PARSE, r#"["", ""]"#, Want::Failed),
        (PARSE, r#"["2006", "２０２０"]"#, Want::Failed),
        (PARSE, r#"[1, "2020"]"#, Want::TypeError),
        (PARSE, r#"["2006", 2020]"#, Want::TypeError),
        ("time.parse_rfc3339_ns", r#"["1970-01-01T00:00:00-00:00"]"#, Want::Value("0")),
        ("time.parse_rfc3339_ns", r#"["1970-01-01T00:00:00Z"]"#, Want::Value("0")),
        ("time.parse_rfc3339_ns", r#"["1970-01-01t00:00:00z"]"#, Want::Failed),
        ("time.parse_rfc3339_ns", r#"["1970-01-01T24:00:00Z"]"#, Want::Failed),
        ("time.parse_rfc3339_ns", r#"["1970-01-01T1:00:00,25Z"]"#, Want::Value("3600250000000")),
        ("time.parse_rfc3339_ns", "[0]", Want::TypeError),
    ]);
}

#[test]
fn durations_are_read() {
    let duration = |args, want| ("time.parse_duration_ns", args, want);
    check(&[
        duration(r#"["100ms"]"#, Want::Value("100000000")),
        duration(r#"["-1.5h"]"#, Want::Value("-5400000000000")),
        duration(r#"["1h2m3s4ms5us6µs7μs8ns"]"#, Want::Value("3723004018008")),
        duration(r#"["0"]"#, Want::Value("0")),
        duration(r#"["-0"]"#, Want::Value("0")),
        duration(r#"[".5s"]"#, Want::Value("500000000")),
        duration(r#"["1.s"]"#, Want::Value("1000000000")),
        duration(r#"["0.3333333333333333333333h"]"#, Want::Value("1200000000000")),
        duration(r#"["9223372036854775807ns"]"#, Want::Value("9223372036854775807")),
        duration(r#"["-9223372036854775808ns"]"#, Want::Value("-9223372036854775808")),
        duration(r#"["9223372036854775808ns"]"#, Want::Failed),
        duration(r#"["1d2h30m"]"#, Want::Value("95400000000000")),
        duration(r#"["-1w"]"#, Want::Value("-604800000000000")),
        duration(r#"["0.1d"]"#, Want::Value("8640000000000")),
        duration(r#"["1y1.5d1ms"]"#, Want::Value("31665600001000000")),
        duration(r#"["1d1µs"]"#, Want::Value("86400000001000")),
        duration(r#"["1d1μs"]"#, Want::Failed),
        duration(r#"["1d0"]"#, Want::Failed),
        duration(r#"["1.2.3d"]"#, Want::Failed),
        duration(r#"["293y"]"#, Want::Failed),
        duration(r#"["+-1d"]"#, Want::Failed),
        duration(r#"["1"]"#, Want::Failed),
        duration(r#"["h"]"#, Want::Failed),
        duration(r#"["d"]"#, Want::Failed),
        duration(r#"[""]"#, Want::Failed),
        duration(r#"["1 h"]"#, Want::Failed),
        duration("[1]", Want::TypeError),
    ]);
}

#[test]
fn clocks_and_calendars_show_what_their_zone_shows() {
    check(&[
        ("time.date", "[1517814000000000000]", Want::Value("[2018, 2, 5]")),
        ("time.date", r#"[[1517814000000000000, "America/Los_Angeles"]]"#, Want::Value("[2018, 2, 4]")),
        ("time.date", r#"[[1517832000000000000, ""]]"#, Want::Value("[2018, 2, 5]")),
        ("time.date", "[-9223372036854775808]", Want::Value("[1677, 9, 21]")),
        ("time.date", "[9223372036854775807]", Want::Value("[2262, 4, 11]")),
        ("time.date", "[9223372036854775808]", Want::Failed),
        ("time.date", "[1.5]", Want::Failed),
        ("time.date", "[[1517832000000000000.5]]", Want::Failed),
        ("time.date", "[1517832000000000000.05]", Want::Value("[2018, 2, 5]")),
        ("time.date", "[[]]", Want::TypeError),
        ("time.date", r#"[["1"]]"#, Want::TypeError),
        ("time.date", "[[1, 2]]", Want::TypeError),
        ("time.date", r#"[[1, "UTC", 3]]"#, Want::TypeError),
        ("time.date", r#"[[1, "Nowhere/City"]]"#, Want::Failed),
        ("time.date", r#"[[1, "america/new_york"]]"#, Want::Failed),
        ("time.date", r#"[[1, "../UTC"]]"#, Want::Failed),
        ("time.date", r#"[[1, "Local"]]"#, Want::Budget),
        ("time.date", "[null]", Want::TypeError),
        ("time.clock", r#"[[1517832000000000000, "America/New_York"]]"#, Want::Value("[7, 0, 0]")),
        ("time.clock", "[-1]", Want::Value("[23, 59, 59]")),
        ("time.weekday", "[1517832000000000000]", Want::Value(r#""Monday""#)),
        ("time.weekday", "[-1]", Want::Value(r#""Wednesday""#)),
        ("time.weekday", "[1582977600000000000000]", Want::Failed),
    ]);
}

#[test]
fn dates_are_moved_and_compared() {
    let add = |args, want| ("time.add_date", args, want);
    let diff = |args, want| ("time.diff", args, want);
    check(&[
        add("[1585852421593912000, 3, 9, 12]", Want::Value("1705257221593912000")),
        add("[1585852421593912000, -1, -1, -1]", Want::Value("1551465221593912000")),
        add("[1582934400000000000, 1, 0, 0]", Want::Value("1614556800000000000")),
        add(r#"[[1710037800000000000, "America/New_York"], 0, 0, 0]"#, Want::Value("1710037800000000000")),
        add(r#"[[1709951400000000000, "America/New_York"], 0, 0, 1]"#, Want::Value("1710037800000000000")),
        add("[0, 2262, 1, 1]", Want::Failed),
        add("[-9223372036854775808, 0, 0, -1]", Want::Failed),
        add("[0, 0, 0, 137438953473]", Want::Budget),
        add("[0, 137438953472, -137438953472, 137438953472]", Want::Failed),
        add("[0, 1.5, 0, 0]", Want::TypeError),
        add("[0, 1.0, 0, 0]", Want::TypeError),
        add(r#"[0, 0, "1", 0]"#, Want::TypeError),
        diff("[1670006453141828752, 1670006514141828752]", Want::Value("[0, 0, 0, 0, 1, 1]")),
        diff(r#"[[60000000000, "UTC"], [0, "Asia/Shanghai"]]"#, Want::Value("[0, 0, 0, 0, 1, 0]")),
        diff("[1580601600000000000, 1583020800000000000]", Want::Value("[0, 0, 28, 0, 0, 0]")),
        diff("[1078012800000000000, 1109635200000000000]", Want::Value("[1, 0, 1, 0, 0, 0]")),
        diff("[0, null]", Want::TypeError),
    ]);
}

#[test]
fn times_are_written_by_layouts() {
    let format = |args, want| ("time.format", args, want);
    check(&[
        format("[1670006453141828752]", Want::Value(r#""2022-12-02T18:40:53.141828752Z""#)),
        format(
            r#"[[1670006453141828752, "Asia/Kolkata"]]"#,
            Want::Value(r#""2022-12-03T00:10:53.141828752+05:30""#),
        ),
        format(
            r#"[[1670006453141828752, "Asia/Kolkata", "Mon Jan 02 15:04:05 -0700 2006"]]"#,
            Want::Value(r#""Sat Dec 03 00:10:53 +0530 2022""#),
        ),
        format(
            r#"[[1670006453141828752, "Asia/Kolkata", "RFC1123Z"]]"#,
            Want::Value(r#""Sat, 03 Dec 2022 00:10:53 +0530""#),
        ),
        format(
            r#"[[1670006400000000000, "UTC", "Kitchen é _2006 Janus Month __2 002 .000 ,999 .0001 Z07:00:00 -07"]]"#,
            Want::Value(r#""Kitchen é _2022 Janus Month 336 336 .000  .0012 Z +00""#),
        ),
        format(
            r#"[[-5000000000000000000, "America/New_York", "MST -07:00:00 Z0700 -070000 -0700"]]"#,
            Want::Value(r#""LMT -04:56:02 -0456 -045602 -0456""#),
        ),
        format(r#"[[0, "America/Sao_Paulo", "MST"]]"#, Want::Value(r#""-03""#)),
        format("[1582977600000000000000]", Want::Failed),
    ]);
    let now = super::now_ns(&mut super::super::testing::context(), &[]);
    assert_eq!(now, Ok(Some(crate::Value::from(1_700_000_000_000_000_000_i64))));
}

const PIECES: &[&str] = &[
    "January",
    "Jan",
    "1",
    "01",
    "_2",
    "2",
    "02",
    "__2",
    "002",
    "15",
    "3",
    "03",
    "4",
    "04",
    "5",
    "05",
    "2006",
    "06",
    "PM",
    "pm",
    "MST",
    "Z0700",
    "Z070000",
    "Z07",
    "Z07:00",
    "Z07:00:00",
    "-0700",
    "-070000",
    "-07",
    "-07:00",
    "-07:00:00",
    ".000",
    ",000000",
    ".999",
    ",999999999",
    ".0",
    "Monday",
    "Mon",
    " ",
    " ",
    "-",
    ":",
    "T",
    "_",
    "é",
    "0",
    "/",
    ".",
];

fn layout(dice: &mut Dice) -> String {
    (0..1 + dice.roll(9)).map(|_| *dice.pick(PIECES)).collect()
}

fn moment(dice: &mut Dice) -> i64 {
    match dice.roll(3) {
        0 => i64::from_ne_bytes(dice.roll(u64::MAX).to_ne_bytes()),
        1 => 1_000_000_000 * i64::try_from(dice.roll(4_000_000_000)).unwrap(),
        _ => i64::try_from(dice.roll(9_000_000_000_000_000_000)).unwrap() / 1_000_000 * 1_000_000,
    }
}

const ZONES: &[&str] = &[
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Asia/Kathmandu",
    "Europe/Dublin",
    "Africa/Monrovia",
    "Antarctica/Troll",
    "Etc/GMT+5",
    "Asia/Tehran",
    "America/St_Johns",
    "GMT",
    "Etc/UTC",
];

#[test]
fn opa_agrees_on_what_is_written_and_reads_it_back() {
    let mut dice = Dice(2);
    let mut calls = Vec::new();
    for _ in 0..500 {
        let (layout, zone, at) = (layout(&mut dice), *dice.pick(ZONES), moment(&mut dice));
        calls.push(("time.format", format!("[[{at}, \"{zone}\", \"{layout}\"]]")));
        // Without a year nothing lies within the years that nanoseconds reach.
        let layout = if dice.roll(4) == 0 { layout } else { format!("2006 {layout}") };
        let time = crate::Value::array([at.into(), zone.into(), layout.as_str().into()]);
        let written = super::Time::read(&time).unwrap().moment().unwrap();
        let mut text = layout::format(&written, &layout);
        if dice.roll(3) == 0 && !text.is_empty() {
            // Bend it a little.
            let mut chars: Vec<char> = text.chars().collect();
            let place = usize::try_from(dice.roll(chars.len() as u64)).unwrap();
            chars[place] = *dice.pick(&['0', '9', ' ', '-', '+', '.', 'A', 'T', ':']);
            text = chars.into_iter().collect();
        }
        calls.push((PARSE, format!("[\"{layout}\", \"{text}\"]")));
    }
    agree(&calls);
}

#[test]
fn opa_agrees_on_what_clocks_show() {
    let mut dice = Dice(3);
    let mut calls = Vec::new();
    for _ in 0..300 {
        let (zone, other) = (*dice.pick(ZONES), *dice.pick(ZONES));
        let (a, b) = (moment(&mut dice), moment(&mut dice));
        let few = |dice: &mut Dice| i64::try_from(dice.roll(60)).unwrap() - 30;
        let (years, months, days) = (few(&mut dice), few(&mut dice), few(&mut dice) * 10);
        calls.push(("time.date", format!("[[{a}, \"{zone}\"]]")));
        calls.push(("time.clock", format!("[[{a}, \"{zone}\"]]")));
        calls.push(("time.weekday", format!("[[{a}, \"{zone}\"]]")));
        calls.push(("time.diff", format!("[[{a}, \"{zone}\"], [{b}, \"{other}\"]]")));
        calls.push(("time.add_date", format!("[[{a}, \"{zone}\"], {years}, {months}, {days}]")));
        let near = 1_710_000_000_000_000_000 + i64::try_from(dice.roll(400_000_000)).unwrap() * 1_000_000_000;
        calls.push(("time.add_date", format!("[[{near}, \"{zone}\"], 0, 0, {}]", few(&mut dice))));
    }
    agree(&calls);
}

#[test]
fn opa_agrees_on_durations() {
    let mut dice = Dice(4);
    let part = |dice: &mut Dice| {
        let unit = *dice.pick(&["h", "m", "s", "ms", "us", "ns", "d", "w", "y", "µs", "x", ""]);
        match dice.roll(4) {
            0 => format!("{}.{}{unit}", dice.roll(1000), dice.roll(1_000_000)),
            1 => format!(".{}{unit}", dice.roll(u64::MAX)),
            _ => format!("{}{unit}", dice.roll(100)),
        }
    };
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let sign = *dice.pick(&["", "", "-", "+"]);
            let parts: String = (0..1 + dice.roll(3)).map(|_| part(&mut dice)).collect();
            ("time.parse_duration_ns", format!("[\"{sign}{parts}\"]"))
        })
        .collect();
    agree(&calls);
}
