//! Text of a dataset on a page: escaped, shortened, and without characters that disguise it.

use std::fmt::Write;

/// Longest text that is shown.
const TEXT_LIMIT: usize = 600;

/// The text as HTML, in elements and in quoted attributes.
pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for (number, c) in text.chars().enumerate() {
        if number == TEXT_LIMIT {
            html.push('…');
            break;
        }
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            // Control characters, and those that turn the direction of what follows.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                html.push('·');
            }
            c if c.is_control() => html.push('·'),
            c => html.push(c),
        }
    }
    html
}

/// A value with about four digits.
pub(super) fn value(value: f64) -> String {
    let size = value.abs();
    let text = if !value.is_finite() {
        return "–".into();
    } else if size != 0.0 && !(1e-3..1e6).contains(&size) {
        format!("{value:.2e}")
    } else if value.fract() == 0.0 || size >= 1e4 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 1.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    };
    // A minus sign is as wide as a digit.
    text.replace('-', "−")
}

/// A count with its thousands set apart.
pub(super) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A time in s, min or h.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        format!("{seconds:.1} s")
    } else if seconds < 7200.0 {
        format!("{:.1} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

/// Numbers in order as 3, 7–9, …
pub(super) fn numbers(numbers: &[u64]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some(first) = rest.first() {
        let run = rest.iter().zip(*first..);
        let length = run.take_while(|(n, expected)| *n == expected).count();
        let separator = if text.is_empty() { "" } else { ", " };
        let _ = match length {
            1 => write!(text, "{separator}{first}"),
            _ => write!(text, "{separator}{first}–{}", first + length as u64 - 1),
        };
        rest = &rest[length..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_are_short() {
        let shown = [0.0, 12.5, -3.0, 123_456.7, 1e9, 1e-7, 0.25].map(value);
        assert_eq!(
            shown,
            ["0", "12.50", "−3", "123457", "1.00e9", "1.00e−7", "0.2500"]
        );
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            [9.81, 600.0, 7200.0].map(duration),
            ["9.8 s", "10.0 min", "2.0 h"]
        );
        assert_eq!(numbers(&[0, 2, 3, 4, 9]), "0, 2–4, 9");
    }

    proptest! {
        #[test]
        fn escaped_text_leaves_no_way_out(text in "\\PC{0,40}|[<>&\"'a-z=\\u{0}-\\u{1f}\\u{202e}]{0,40}") {
            let html = escape(&text);
            let forbidden = ['<', '>', '"', '\'', '\u{202e}'];
            prop_assert!(!html.contains(forbidden));
            prop_assert!(!html.chars().any(char::is_control));
            for after in html.split('&').skip(1) {
                let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
                prop_assert!(known.iter().any(|k| after.starts_with(k)));
            }
        }
    }
}
