//! Figures and dates as people read them.

use std::time::Duration;

/// Bytes in the unit that fits: `3 B`, `20.0 kB`, `1.07 GB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else {
        usize::from(value < 99.95)
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Bytes a second.
pub(super) fn rate(count: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(1e-3);
    format!("{}/s", bytes((count as f64 / seconds) as u64))
}

/// `1 file`, `2 files`.
pub(super) fn count(number: u64, what: &str) -> String {
    let ending = match (number, what.ends_with('y')) {
        (1, _) => return format!("1 {what}"),
        (_, true) => return format!("{number} {}ies", what.trim_end_matches('y')),
        (_, false) => "s",
    };
    format!("{number} {what}{ending}")
}

/// Text from a hub, for a terminal: nothing in it that would move the cursor.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

/// Milliseconds since 1970 as a date.
pub(super) fn date(ms: i64) -> String {
    crate::server::date(ms)
}

/// A date such as `2026-11-26` or `2026-11-26T12:00:00Z`, milliseconds since 1970. Dates to days: H. Hinnant's
/// `days_from_civil`.
pub(super) fn parse_date(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no date; write 2026-11-26 or 2026-11-26T12:00:00Z");
    let (day, time) = text
        .trim_end_matches('Z')
        .split_once('T')
        .unwrap_or((text, "00:00:00"));
    let numbers = |text: &str, separator: char| -> Option<[i64; 3]> {
        let parts: Vec<&str> = text.split(separator).collect();
        let number = |part: &str| {
            part.bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| part.parse().ok())?
        };
        match parts.as_slice() {
            [a, b, c] => Some([number(a)?, number(b)?, number(c)?]),
            _ => None,
        }
    };
    let [year, month, day] = numbers(day, '-').ok_or_else(wrong)?;
    let [hour, minute, second] = numbers(time, ':').ok_or_else(wrong)?;
    let is_date =
        (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !is_date || hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Ok((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_are_readable() {
        for (number, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (20_000, "20.0 kB"),
            (999_999, "1.00 MB"),
            (1_073_741_824, "1.07 GB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(count(2, "repository"), "2 repositories");
    }

    #[test]
    fn dates_are_the_calendars() {
        assert_eq!(parse_date("1970-01-01"), Ok(0));
        assert_eq!(parse_date("2000-02-29T12:34:56Z"), Ok(951_827_696_000));
        for wrong in [
            "",
            "2026",
            "2026-13-01",
            "2026-1-1T25:00:00",
            "a-b-c",
            "2026-01-01T",
            "+2026-01-01",
        ] {
            assert!(parse_date(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn dates_come_back(days in 0_i64..100_000) {
            let text = date(days * 86_400_000);
            prop_assert_eq!(parse_date(&text[..10]), Ok(days * 86_400_000));
        }

        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = parse_date(&text);
        }
    }
}
