//! Points in time as people write them: a date, a timestamp, or how long from now.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

/// A moment, Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

/// Reads `2026-11-24` (UTC midnight), `2026-11-24T08:00:00Z`, or an age such as `90m`, `24h`, `7d`.
pub(crate) fn past(text: &str) -> Result<Moment, String> {
    read(text, -1)
}

/// As [`past`], with `30d` meaning from now on.
pub(crate) fn future(text: &str) -> Result<Moment, String> {
    read(text, 1)
}

fn read(text: &str, direction: i64) -> Result<Moment, String> {
    let wrong = || {
        format!("{text:?} is not a date (2026-11-24), a time (2026-11-24T08:00:00Z) or a span (90m, 24h, 7d)")
    };
    let at = if let Ok(at) = text.parse::<Timestamp>() {
        at
    } else if let Ok(date) = text.parse::<Date>() {
        date.to_zoned(TimeZone::UTC).map_err(|_| wrong())?.timestamp()
    } else {
        let split = text.len() - text.chars().next_back().map_or(0, char::len_utf8);
        let (number, unit) = text.split_at(split);
        let count: i64 = number.parse().ok().filter(|count| *count >= 0).ok_or_else(wrong)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            "d" => 86400,
            "w" => 7 * 86400,
            _ => return Err(wrong()),
        };
        let span = Span::new().try_seconds(count.saturating_mul(seconds) * direction).map_err(|_| wrong())?;
        Timestamp::now().checked_add(span).map_err(|_| wrong())?
    };
    u64::try_from(at.as_millisecond()).map(Moment).map_err(|_| wrong())
}

/// `2026-11-24 08:00:00Z`.
pub(crate) fn shown(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Now, Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_spans_are_read() {
        assert_eq!(past("1970-01-02"), Ok(Moment(86_400_000)));
        assert_eq!(past("1970-01-01T00:00:01Z"), Ok(Moment(1000)));
        let day_ago = now_ms() - past("1d").unwrap().0;
        assert!((86_400_000..86_401_000).contains(&day_ago));
        assert!(future("30d").unwrap().0 > now_ms());
        for wrong in ["", "d", "yesterday", "-3d", "12", "3y", "9223372036854775807w", "ä"] {
            assert!(past(wrong).is_err(), "{wrong}");
        }
    }
}
