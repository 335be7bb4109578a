//! Base64 as Go decodes it: line ends are skipped wherever they stand, and unused bits may be anything.
use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

pub(crate) use base64::engine::general_purpose::{STANDARD as STD, URL_SAFE_NO_PAD as RAW_URL};

const fn engine(alphabet: &Alphabet, padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(alphabet, config.with_decode_padding_mode(padding))
}

const STD_DECODER: GeneralPurpose = engine(&STANDARD, DecodePaddingMode::RequireCanonical);
const URL_DECODER: GeneralPurpose = engine(&URL_SAFE, DecodePaddingMode::RequireCanonical);
const RAW_STD_DECODER: GeneralPurpose = engine(&STANDARD, DecodePaddingMode::RequireNone);
const RAW_URL_DECODER: GeneralPurpose = engine(&URL_SAFE, DecodePaddingMode::RequireNone);

/// The standard alphabet, padded.
pub(crate) fn standard(text: &[u8]) -> Option<Vec<u8>> {
    STD_DECODER.decode(without_line_ends(text)).ok()
}

/// The alphabet for URLs; padding may be left out, as in a token.
pub(crate) fn of_token(text: &str) -> Option<Vec<u8>> {
    let padding = match text.len() % 4 {
        _ if text.ends_with('=') => "",
        0 => "",
        2 => "==",
        3 => "=",
        _ => return None,
    };
    URL_DECODER.decode(without_line_ends(format!("{text}{padding}").as_bytes())).ok()
}

/// Whichever of the four forms the text looks like, as members of a JWK are read.
pub(crate) fn of_jwk(text: &str) -> Option<Vec<u8>> {
    let decoder = match (text.ends_with('='), text.contains(['+', '/'])) {
        (false, false) => RAW_URL_DECODER,
        (true, false) => URL_DECODER,
        (false, true) => RAW_STD_DECODER,
        (true, true) => STD_DECODER,
    };
    decoder.decode(without_line_ends(text.as_bytes())).ok()
}

fn without_line_ends(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        text.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
    } else {
        Cow::Borrowed(text)
    }
}
