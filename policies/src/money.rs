//! Exact money: integer nanodollars.
//!
//! Sums, budgets and receipts never touch floats. Text in and out is exact decimal dollars; a text
//! with more than nine decimals, or one that does not fit, is an error and never rounded.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Nanodollars in one dollar.
pub(crate) const NANOS_PER_USD: u64 = 1_000_000_000;

/// An amount of US dollars, exact to a nanodollar; may be negative (a saving can be a loss).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(i64);

/// Why a text is not an amount of dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseUsdError {
    /// Not plain decimal digits with an optional sign and point.
    #[error("not a decimal amount like 25 or 0.05")]
    NotDecimal,
    /// More than nine digits after the point: it could only be kept by rounding.
    #[error("more than nine decimals: amounts are exact to 0.000000001 USD")]
    TooPrecise,
    /// Larger than [`Usd::MAX`].
    #[error("too large: at most {} USD", Usd::MAX)]
    TooLarge,
}

impl Usd {
    /// Nothing.
    pub const ZERO: Usd = Usd(0);
    /// The largest amount, about 9.2 billion dollars.
    pub const MAX: Usd = Usd(i64::MAX);

    /// An amount from nanodollars.
    pub const fn from_nanos(nanos: i64) -> Usd {
        Usd(nanos)
    }

    /// The amount in nanodollars.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// The sum, or `None` if it does not fit.
    pub fn checked_add(self, other: Usd) -> Option<Usd> {
        self.0.checked_add(other.0).map(Usd)
    }

    /// The difference, or `None` if it does not fit.
    pub fn checked_sub(self, other: Usd) -> Option<Usd> {
        self.0.checked_sub(other.0).map(Usd)
    }

    /// The sum, held at the ends of the range. An overflowing sum of prices stays unaffordable.
    pub fn saturating_add(self, other: Usd) -> Usd {
        Usd(self.0.saturating_add(other.0))
    }

    /// The difference, held at the ends of the range.
    pub fn saturating_sub(self, other: Usd) -> Usd {
        Usd(self.0.saturating_sub(other.0))
    }

    /// The amount as a float, in dollars: for metrics and the routing objective only, never for sums.
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / NANOS_PER_USD as f64
    }

    /// An amount from a count of nanodollars that may exceed the range; too much becomes [`Usd::MAX`].
    pub(crate) fn from_wide_nanos(nanos: u128) -> Usd {
        Usd(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}

impl std::iter::Sum for Usd {
    fn sum<I: Iterator<Item = Usd>>(amounts: I) -> Usd {
        amounts.fold(Usd::ZERO, Usd::saturating_add)
    }
}

impl fmt::Display for Usd {
    /// Plain decimal dollars without a sign for the currency: at least six decimals, at most nine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every receipt has some ten amounts: written from the end into a place of their own, they need no memory.
        let mut text = [0; 24];
        let (mut place, mut rest, mut decimals) = (text.len(), self.0.unsigned_abs(), 9);
        while decimals > 6 && rest.is_multiple_of(10) {
            rest /= 10;
            decimals -= 1;
        }
        let mut put = |byte: u8| {
            place -= 1;
            text[place] = byte;
        };
        let mut digits = 0;
        while digits <= decimals || rest > 0 {
            if digits == decimals {
                put(b'.');
            }
            put(b'0' + (rest % 10) as u8);
            rest /= 10;
            digits += 1;
        }
        if self.0 < 0 {
            put(b'-');
        }
        f.pad(std::str::from_utf8(&text[place..]).unwrap_or_default())
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Usd({self})")
    }
}

/// Reads plain decimal text as an integer count of `10^-places`, exactly.
///
/// Shared by amounts (nine places) and token prices (six places of dollars per million tokens).
pub(crate) fn parse_decimal(text: &str, places: usize) -> Result<i64, ParseUsdError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let decimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !decimal(whole) || !decimal(fraction) {
        return Err(ParseUsdError::NotDecimal);
    }
    if fraction.len() > places {
        return Err(ParseUsdError::TooPrecise);
    }
    let padding = std::iter::repeat_n(b'0', places - fraction.len());
    let mut value: i64 = 0;
    for byte in whole.bytes().chain(fraction.bytes()).chain(padding) {
        let digit = i64::from(byte - b'0');
        // Built with its sign, so that the most negative amount can be read back too.
        let signed = if negative { -digit } else { digit };
        value = value.checked_mul(10).and_then(|v| v.checked_add(signed)).ok_or(ParseUsdError::TooLarge)?;
    }
    Ok(value)
}

impl FromStr for Usd {
    type Err = ParseUsdError;

    fn from_str(text: &str) -> Result<Usd, ParseUsdError> {
        parse_decimal(text, 9).map(Usd)
    }
}

impl Serialize for Usd {
    /// As its decimal text, because a JSON number would pass through floats on the other side.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Usd, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shows_six_to_nine_decimals() {
        for (nanos, text) in [
            (0, "0.000000"),
            (123_000, "0.000123"),
            (51, "0.000000051"),
            (25_000_000_000, "25.000000"),
            (-1_500_000_000, "-1.500000"),
            (1_234_567_891, "1.234567891"),
            (1_234_567_890, "1.23456789"),
        ] {
            assert_eq!(Usd::from_nanos(nanos).to_string(), text);
        }
        assert_eq!(format!("{:>12}|", Usd::from_nanos(1_000)), "    0.000001|");
    }

    #[test]
    fn refuses_what_it_could_only_round() {
        assert_eq!("0.0000000001".parse::<Usd>(), Err(ParseUsdError::TooPrecise));
        assert_eq!("9223372036.854775808".parse::<Usd>(), Err(ParseUsdError::TooLarge));
        for text in ["", "-", ".", "1.", ".5", "1e3", "1_000", "$5", "inf", "0x10", "1,5", " 1", "--1", "٣"]
        {
            assert_eq!(text.parse::<Usd>(), Err(ParseUsdError::NotDecimal), "{text:?}");
        }
    }

    #[test]
    fn is_text_in_json() {
        let text = serde_json::to_string(&Usd::from_nanos(51)).unwrap();
        assert_eq!(text, "\"0.000000051\"");
        assert_eq!(serde_json::from_str::<Usd>(&text).unwrap(), Usd::from_nanos(51));
        assert!(serde_json::from_str::<Usd>("0.5").is_err());
    }

    proptest! {
        #[test]
        fn text_comes_back_exactly(nanos: i64) {
            let amount = Usd::from_nanos(nanos);
            prop_assert_eq!(amount.to_string().parse::<Usd>(), Ok(amount));
        }

        #[test]
        fn never_panics_on_any_text(text in "\\PC*") {
            let _ = text.parse::<Usd>();
        }

        #[test]
        fn saturating_sums_agree_with_checked_ones(a: i64, b: i64) {
            let (a, b) = (Usd::from_nanos(a), Usd::from_nanos(b));
            if let Some(sum) = a.checked_add(b) {
                prop_assert_eq!(sum, a.saturating_add(b));
                prop_assert_eq!(sum.checked_sub(b), Some(a));
            }
        }
    }
}
