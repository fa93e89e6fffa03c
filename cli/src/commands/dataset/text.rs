//! Text that fits a terminal of 100 columns.

/// Columns that a line may have.
pub(super) const WIDTH: usize = 100;

/// Breaks text at spaces so that with `indent` columns before it every line fits. Words longer
/// than a line stay whole, as paths are there to be copied.
pub(in crate::commands) fn wrap(text: &str, indent: usize) -> Vec<String> {
    let room = WIDTH.saturating_sub(indent).max(20);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Prints `label` and behind it `text`, as many lines as it takes.
pub(in crate::commands) fn labelled(label: &str, text: &str) {
    const INDENT: usize = 12;
    for (number, line) in wrap(text, INDENT).iter().enumerate() {
        let label = if number == 0 { label } else { "" };
        println!("{label:<INDENT$}{line}");
    }
}

/// The text, cut to `room` columns; what is cut off is shown by an ellipsis. Control characters of
/// a stranger's dataset do not reach the terminal.
pub(in crate::commands) fn cut(text: &str, room: usize) -> String {
    let clean = |c: char| if c.is_control() { '·' } else { c };
    let mut cut: String = text.chars().map(clean).take(room).collect();
    if text.chars().count() > room {
        cut.pop();
        cut.push('…');
    }
    cut
}

/// A size in the unit that fits.
pub(in crate::commands) fn bytes(bytes: u64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size < 1000.0 {
            let digits = usize::from(unit != "B" && size < 100.0);
            return format!("{size:.digits$} {unit}");
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A value in at most nine columns, with the digits that fit.
pub(super) fn figure(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e8 {
        format!("{value:.0}")
    } else if !(1e-3..1e6).contains(&size) {
        format!("{value:.2e}")
    } else if size >= 1e4 {
        format!("{value:.1}")
    } else if size >= 100.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_lose_nothing() {
        let text = "some words that are repeated often ".repeat(20);
        let lines = wrap(&text, 12);
        assert!(lines.len() > 5 && lines.iter().all(|l| l.chars().count() <= 88));
        let back: Vec<&str> = lines.iter().flat_map(|l| l.split(' ')).collect();
        assert_eq!(back, text.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn figures_and_sizes_are_short() {
        let values = [
            0.0, -12.5, 3.0, -1.5e-12, -2839.102, 123_456.78, -1.5e9, 1e7,
        ];
        let shown = values.map(figure);
        let expected = [
            "0",
            "-12.5000",
            "3",
            "-1.50e-12",
            "-2839.10",
            "123456.8",
            "-1.50e9",
            "10000000",
        ];
        assert_eq!(shown, expected);
        assert!(shown.iter().all(|s| s.len() <= 9));
        assert_eq!(
            [999, 1500, 250_000_000].map(bytes),
            ["999 B", "1.5 kB", "250 MB"]
        );
        assert_eq!(
            (cut("abcdef", 4), cut("a\u{1b}b", 4)),
            ("abc…".into(), "a·b".into())
        );
    }
}
