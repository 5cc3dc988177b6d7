//! Which router said something: a digest of its graph and of the calibration in force.
//!
//! An ability is a place on the line through a router's two reference models, and p(small) and p(large) are what one
//! router says of a request. Under another graph or calibration the same numbers mean something else, so whatever is kept
//! of a decision carries this, and is compared with nothing that another router said.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::calibrate::{Calibration, CalibrationError, VALUES};
use crate::graph::Source;

/// A router's identity, written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RouterId(u64);

impl RouterId {
    /// Of the graph of this hash, with or without a calibration.
    pub(crate) fn of(graph: &str, calibration: Option<&Calibration>) -> RouterId {
        let mut hash = Sha256::new();
        hash.update(graph);
        if let Some(calibration) = calibration {
            // The document and not the file: how it is laid out decides nothing.
            hash.update(calibration.to_text());
        }
        let digest: [u8; 32] = hash.finalize().into();
        RouterId(digest.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte)))
    }

    /// Of the graph that ships with this build; ONNX Runtime is not needed to know it.
    #[must_use]
    pub fn shipped() -> RouterId {
        RouterId::of(&Source::shipped().sha256(), None)
    }

    /// The same with a calibration.
    ///
    /// # Errors
    /// When it was fitted for another graph.
    pub fn fitted(calibration: &Calibration) -> Result<RouterId, CalibrationError> {
        let graph = Source::shipped().sha256();
        calibration.fits(&graph, VALUES)?;
        Ok(RouterId::of(&graph, Some(calibration)))
    }
}

impl fmt::Display for RouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Text that is no router's identity.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no router's identity, which has 16 hexadecimal digits")]
pub struct NoRouterId(String);

impl FromStr for RouterId {
    type Err = NoRouterId;

    fn from_str(text: &str) -> Result<RouterId, NoRouterId> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if digits { u64::from_str_radix(text, 16).ok() } else { None };
        number.map(RouterId).ok_or_else(|| NoRouterId(text.chars().take(40).collect()))
    }
}

impl Serialize for RouterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RouterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RouterId, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_sixteen_digits_and_reads_back() {
        let id = RouterId::of("a graph", None);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text.len(), 18, "{text}");
        assert_eq!(serde_json::from_str::<RouterId>(&text).unwrap(), id);
        assert_eq!(RouterId(7).to_string().parse::<RouterId>().unwrap(), RouterId(7));
        for wrong in ["", "12", "+123456789abcdef", "zzzzzzzzzzzzzzzz"] {
            assert!(wrong.parse::<RouterId>().is_err(), "{wrong}");
        }
        assert_ne!(id, RouterId::of("another graph", None));
    }
}
