//! Text from outside as a person may be shown it: in a terminal, where a value can command the cursor, begin a line of its
//! own, or turn the direction of what stands beside it.

/// Characters that end a line, move the cursor, turn the direction of text, or cannot be seen.
pub fn deceives(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `text` in one line that deceives nobody: what could is spelled out.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if deceives(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// As [`shown`], but with the lines and tabs that the text has: for what is our own text with values from outside in it.
pub fn shown_lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        let stays = matches!(letter, '\n' | '\t') || !deceives(letter);
        if stays { shown.push(letter) } else { shown.extend(letter.escape_default()) }
    }
    shown
}

/// A JSON document, given as its text: the same document, in which such characters are spelled out as JSON does it. They stand
/// in strings alone, since outside of them JSON knows none but line breaks and tabs.
pub fn shown_json(document: &str) -> String {
    let mut shown = String::with_capacity(document.len());
    for letter in document.chars() {
        if matches!(letter, '\n' | '\r' | '\t') || !deceives(letter) {
            shown.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            shown.push_str(&format!("\\u{unit:04x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, in_a_line: &str, in_lines: &str, in_json: &str) {
        assert_eq!(shown(text), in_a_line);
        assert_eq!(shown_lines(text), in_lines);
        let document = serde_json::to_string(text).unwrap();
        assert_eq!(shown_json(&document), in_json);
        assert_eq!(serde_json::from_str::<String>(in_json).unwrap(), text, "the document is the same");
    }

    #[test]
    fn what_commands_a_terminal_or_deceives_a_reader_is_spelled_out() {
        check("grüße 日本", "grüße 日本", "grüße 日本", "\"grüße 日本\"");
        check("a\u{1b}[2J\u{7}", "a\\u{1b}[2J\\u{7}", "a\\u{1b}[2J\\u{7}", "\"a\\u001b[2J\\u0007\"");
        check("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}", "\\u{9b}2J\\u{7f}", "\"\\u009b2J\\u007f\"");
        check("a\n\tb\r", "a\\n\\tb\\r", "a\n\tb\\r", "\"a\\n\\tb\\r\"");
        check(
            "\u{202e}txt\u{2066}",
            "\\u{202e}txt\\u{2066}",
            "\\u{202e}txt\\u{2066}",
            "\"\\u202etxt\\u2066\"",
        );
        check("\u{200b}\u{feff}", "\\u{200b}\\u{feff}", "\\u{200b}\\u{feff}", "\"\\u200b\\ufeff\"");
        check("\u{e0041}", "\\u{e0041}", "\\u{e0041}", "\"\\udb40\\udc41\"");
        check("a\u{2028}b\u{85}", "a\\u{2028}b\\u{85}", "a\\u{2028}b\\u{85}", "\"a\\u2028b\\u0085\"");
    }
}
