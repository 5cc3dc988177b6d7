//! Calendar windows in UTC.

use jiff::{Timestamp, Unit, civil::Date};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// Unix time began on a Thursday; weeks begin on Mondays.
const FIRST_MONDAY_MS: u64 = 4 * DAY_MS;

/// How long a budget counts before it starts from zero. Windows are calendar ones in UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Window {
    /// From each full hour.
    Hour,
    /// From midnight.
    Day,
    /// From midnight on Monday.
    Week,
    /// From midnight on the first of the month.
    Month,
    /// The life of an agent run: never resets.
    Run,
}

impl Window {
    /// When the window around `now_ms` began, as Unix milliseconds; 0 for [`Window::Run`].
    pub fn start_ms(self, now_ms: u64) -> u64 {
        match self {
            Window::Hour => now_ms - now_ms % HOUR_MS,
            Window::Day => now_ms - now_ms % DAY_MS,
            Window::Week if now_ms < FIRST_MONDAY_MS => 0,
            Window::Week => now_ms - (now_ms - FIRST_MONDAY_MS) % (7 * DAY_MS),
            Window::Month => date_ms(date(now_ms).first_of_month()),
            Window::Run => 0,
        }
    }

    /// When the window around `now_ms` ends and the next begins, as Unix milliseconds; `None` for
    /// [`Window::Run`].
    pub fn end_ms(self, now_ms: u64) -> Option<u64> {
        let start = self.start_ms(now_ms);
        match self {
            Window::Hour => Some(start + HOUR_MS),
            Window::Day => Some(start + DAY_MS),
            Window::Week if now_ms < FIRST_MONDAY_MS => Some(FIRST_MONDAY_MS),
            Window::Week => Some(start + 7 * DAY_MS),
            Window::Month => date(now_ms).last_of_month().tomorrow().ok().map(date_ms),
            Window::Run => None,
        }
    }

    /// How files write it: `1h`, `1d`, `1w`, `1mo`, `run`.
    pub fn name(self) -> &'static str {
        match self {
            Window::Hour => "1h",
            Window::Day => "1d",
            Window::Week => "1w",
            Window::Month => "1mo",
            Window::Run => "run",
        }
    }
}

/// A time in UTC to the second, as people and logs write it.
pub(super) fn display_ms(ms: u64) -> String {
    let instant = instant(ms);
    instant.round(Unit::Second).unwrap_or(instant).to_string()
}

/// Times past the year 9999 are clamped to it, where the library's calendar ends.
fn instant(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

fn date(ms: u64) -> Date {
    jiff::tz::Offset::UTC.to_datetime(instant(ms)).date()
}

fn date_ms(date: Date) -> u64 {
    let midnight = date.at(0, 0, 0, 0);
    jiff::tz::Offset::UTC
        .to_timestamp(midnight)
        .ok()
        .and_then(|instant| u64::try_from(instant.as_millisecond()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> u64 {
        text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
    }

    #[test]
    fn windows_begin_and_end_where_the_calendar_says() {
        // A Thursday in a leap February.
        let now = ms("2028-02-24T13:45:10.250Z");
        for (window, start, end) in [
            (Window::Hour, "2028-02-24T13:00:00Z", "2028-02-24T14:00:00Z"),
            (Window::Day, "2028-02-24T00:00:00Z", "2028-02-25T00:00:00Z"),
            (Window::Week, "2028-02-21T00:00:00Z", "2028-02-28T00:00:00Z"),
            (Window::Month, "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"),
        ] {
            assert_eq!(display_ms(window.start_ms(now)), start);
            assert_eq!(display_ms(window.end_ms(now).unwrap()), end);
        }
        assert_eq!(Window::Month.end_ms(ms("2027-12-31T23:59:59Z")), Some(ms("2028-01-01T00:00:00Z")));
        assert_eq!((Window::Run.start_ms(now), Window::Run.end_ms(now)), (0, None));
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_window_and_windows_touch(now in 0u64..250_000_000_000_000) {
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                let (start, end) = (window.start_ms(now), window.end_ms(now).unwrap());
                prop_assert!(start <= now && now < end);
                prop_assert_eq!(window.start_ms(end), end);
                prop_assert_eq!(window.start_ms(end - 1), start);
            }
        }

        #[test]
        fn no_time_panics(now: u64) {
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month, Window::Run] {
                let _ = window.start_ms(now);
            }
            let _ = display_ms(now);
        }
    }
}
