//! The ways to store a whole model that `tollgate models quantize` can make.
//!
//! Only those that need no statistics of the weights' use. Most are mixes: tensors that suffer most get more bits.

use std::fmt;
use std::str::FromStr;

/// One way to store a model, by llama.cpp's name for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantType {
    /// Its name.
    pub name: &'static str,
    /// llama.cpp's number for it, `general.file_type` in a file.
    pub file_type: u32,
    /// About how many bits a weight takes, in models of some billion weights.
    pub bits: f64,
}

/// Finest first.
const TYPES: &[QuantType] = &[
    QuantType { name: "q8_0", file_type: 7, bits: 8.5 },
    QuantType { name: "q6_k", file_type: 18, bits: 6.6 },
    QuantType { name: "q5_1", file_type: 9, bits: 6.0 },
    QuantType { name: "q5_k_m", file_type: 17, bits: 5.7 },
    QuantType { name: "q5_k_s", file_type: 16, bits: 5.6 },
    QuantType { name: "q5_0", file_type: 8, bits: 5.5 },
    QuantType { name: "q4_1", file_type: 3, bits: 5.0 },
    QuantType { name: "q4_k_m", file_type: 15, bits: 4.9 },
    QuantType { name: "q4_k_s", file_type: 14, bits: 4.7 },
    QuantType { name: "q4_0", file_type: 2, bits: 4.6 },
    QuantType { name: "iq4_nl", file_type: 25, bits: 4.6 },
    QuantType { name: "iq4_xs", file_type: 30, bits: 4.4 },
    QuantType { name: "q3_k_l", file_type: 13, bits: 4.3 },
    QuantType { name: "q3_k_m", file_type: 12, bits: 4.0 },
    QuantType { name: "q3_k_s", file_type: 11, bits: 3.6 },
    QuantType { name: "q2_k", file_type: 10, bits: 3.2 },
];

impl QuantType {
    /// Every type, finest first.
    #[must_use]
    pub fn all() -> &'static [QuantType] {
        TYPES
    }
}

impl FromStr for QuantType {
    type Err = String;

    fn from_str(text: &str) -> Result<QuantType, String> {
        let wanted = text.to_lowercase();
        TYPES.iter().find(|kind| kind.name == wanted).copied().ok_or_else(|| {
            let names: Vec<&str> = TYPES.iter().map(|kind| kind.name).collect();
            format!("it must be one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for QuantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_others_are_told_the_list() {
        assert_eq!("Q4_K_M".parse::<QuantType>().unwrap().file_type, 15);
        let told = "q4_m".parse::<QuantType>().unwrap_err();
        assert!(QuantType::all().iter().all(|kind| told.contains(kind.name)), "{told}");
        assert!(TYPES.is_sorted_by(|finer, coarser| finer.bits >= coarser.bits));
    }
}
