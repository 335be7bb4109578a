//! Valid requests, damaged. The same seed gives the same cases.

/// What is damaged: every way in which a request says where it ends, and two requests in a row.
const SOUND: &[&str] = &[
    "GET /a?b=c HTTP/1.1\r\nHost: a.test\r\nAccept: */*\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello",
    "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nab",
    "GET http://a.test/a HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "DELETE /a HTTP/1.1\r\nHost: a.test:80\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=b; c=d\r\n\r\n",
    "OPTIONS /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a.test\r\n\r\n",
];

/// What readers of HTTP have stumbled over.
pub const STRANGE: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\0",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    "\x7f",
    "\u{85}",
    "\u{a0}",
    ":",
    ";",
    ",",
    "+",
    "-",
    "0x",
    "0",
    "_",
    "\"",
    "\\",
    "#",
    "?",
    "/",
    "//",
    "/../",
    "%00",
    "%2f",
    "@",
    "*",
    "\r\n ",
    "\r\n\t",
    "\r\n\r\n",
    "0\r\n\r\n",
    "HTTP/1.0",
    "HTTP/2.0",
];

/// Lines that say something about where a request ends, or where it goes.
const LINES: &[&str] = &[
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length : 5",
    "Content-Length:",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding:\u{b}chunked",
    "Transfer-Encoding : chunked",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding: chunked, identity",
    "Host: b.test",
    "Host:",
    "Connection: close, content-length",
    "Connection: transfer-encoding",
    "Connection: upgrade, http2-settings",
    "Upgrade: h2c",
    "Expect: 100-continue",
    "Expect: 200-ok",
    "TE: trailers",
    " folded",
    "no colon",
    ": no name",
];

/// The same numbers from the same seed: SplitMix64.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % u64::try_from(end.max(1)).expect("small")).expect("small")
    }

    pub fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Cases, one after the other.
#[derive(Debug)]
pub struct Mutations(Dice);

impl Mutations {
    pub fn new(seed: u64) -> Self {
        Self(Dice::new(seed))
    }

    fn damage(&mut self, case: &mut Vec<u8>) {
        let at = self.0.below(case.len());
        match self.0.below(8) {
            0 => drop(case.remove(at)),
            1 => drop(case.splice(at..at, self.0.one(STRANGE).bytes())),
            2 => drop(case.splice(at..=at, self.0.one(STRANGE).bytes())),
            3 => case[at] ^= 0x20,
            4 => case[at] = u8::try_from(self.0.below(256)).expect("a byte"),
            5 => {
                // Digits say how long things are.
                let digits: Vec<usize> = (0..case.len()).filter(|at| case[*at].is_ascii_digit()).collect();
                if let Some(at) = digits.get(self.0.below(digits.len())) {
                    case[*at] = b'0' + u8::try_from(self.0.below(10)).expect("a digit");
                }
            }
            _ => {
                let ends: Vec<usize> =
                    case.windows(2).enumerate().filter(|(_, two)| two == b"\r\n").map(|(at, _)| at).collect();
                if let Some(at) = ends.get(self.0.below(ends.len())) {
                    let line = format!("\r\n{}", self.0.one(LINES));
                    drop(case.splice(*at..*at, line.bytes()));
                }
            }
        }
    }
}

impl Iterator for Mutations {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut case = self.0.one(SOUND).as_bytes().to_vec();
        for _ in 0..=self.0.below(3) {
            self.damage(&mut case);
        }
        Some(case)
    }
}
