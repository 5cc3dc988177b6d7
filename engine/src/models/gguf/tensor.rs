//! Tensors as a GGUF file describes them: name, shape, type, place.

use std::borrow::Cow;

use super::GgufError;

/// How a tensor's numbers are stored: GGML's type number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorType(pub u32);

/// Number, name, elements of a block, bytes of a block.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
];

impl TensorType {
    /// Single precision.
    pub const F32: Self = Self(0);
    /// Half precision.
    pub const F16: Self = Self(1);
    /// 4 bits, a scale for 32.
    pub const Q4_0: Self = Self(2);
    /// 5 bits, a scale for 32.
    pub const Q5_0: Self = Self(6);
    /// 8 bits, a scale for 32.
    pub const Q8_0: Self = Self(8);
    /// Signed 16-bit integers.
    pub const I16: Self = Self(25);

    fn row(self) -> Option<&'static (u32, &'static str, u64, u64)> {
        TYPES.iter().find(|row| row.0 == self.0)
    }

    /// The name people use.
    pub fn name(self) -> Cow<'static, str> {
        self.row().map_or_else(|| Cow::Owned(format!("type {}", self.0)), |row| Cow::Borrowed(row.1))
    }

    /// Elements and bytes of one block; `None` for a type this program does not know.
    pub fn block(self) -> Option<(u64, u64)> {
        self.row().map(|row| (row.2, row.3))
    }

    /// Bytes of `elements` numbers in one row; `None` if they are no whole number of blocks.
    pub fn row_bytes(self, elements: u64) -> Option<u64> {
        let (block, bytes) = self.block()?;
        elements.is_multiple_of(block).then(|| elements / block)?.checked_mul(bytes)
    }
}

/// A tensor's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its shape, the innermost dimension (a row) first.
    pub shape: Vec<u64>,
    /// How its numbers are stored.
    pub kind: TensorType,
    /// Where its data begins, from the beginning of all data.
    pub offset: u64,
}

impl Tensor {
    /// How many numbers it holds.
    ///
    /// # Errors
    /// The shape is empty, has a zero, or overflows.
    pub fn elements(&self) -> Result<u64, GgufError> {
        let product = self.shape.iter().try_fold(1_u64, |product, n| product.checked_mul(*n));
        match product {
            Some(n) if n > 0 && i64::try_from(n).is_ok() => Ok(n),
            _ => Err(self.damaged("its shape is impossible")),
        }
    }

    /// How many bytes its data takes; `None` if the type is not known.
    ///
    /// # Errors
    /// The shape is impossible or does not fit the type's blocks.
    pub fn bytes(&self) -> Result<Option<u64>, GgufError> {
        let elements = self.elements()?;
        if self.kind.block().is_none() {
            return Ok(None);
        }
        let row = self.shape.first().copied().unwrap_or(1);
        let row_bytes =
            self.kind.row_bytes(row).ok_or_else(|| self.damaged("its rows are no whole blocks"))?;
        let bytes = row_bytes.checked_mul(elements / row);
        bytes.map(Some).ok_or_else(|| self.damaged("its shape is impossible"))
    }

    pub(crate) fn damaged(&self, what: &'static str) -> GgufError {
        GgufError::Tensor { name: self.name.clone(), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[u64], kind: TensorType) -> Tensor {
        Tensor { name: "t".into(), shape: shape.to_vec(), kind, offset: 0 }
    }

    #[test]
    fn sizes_follow_blocks() {
        assert_eq!(tensor(&[64, 3], TensorType::Q5_0).bytes().unwrap(), Some(2 * 22 * 3));
        assert_eq!(tensor(&[5], TensorType::F32).bytes().unwrap(), Some(20));
        assert_eq!(tensor(&[5], TensorType(999)).bytes().unwrap(), None);
        assert!(tensor(&[33], TensorType::Q8_0).bytes().is_err());
        assert!(tensor(&[u64::MAX, 2], TensorType::F32).bytes().is_err());
        assert!(tensor(&[4, 0], TensorType::F32).bytes().is_err());
    }
}
