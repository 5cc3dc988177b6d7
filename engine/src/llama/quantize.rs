//! ggml's own conversions between numbers and its storage types, so that a model made here is quantized exactly as
//! llama.cpp would have.

use std::ffi::c_void;

use llama_cpp_sys_2 as sys;

use crate::models::gguf::TensorType;

/// The numbers stored in `data`; `None` if the type cannot be converted or `data` is no whole number of blocks.
pub(crate) fn to_f32(kind: TensorType, data: &[u8]) -> Option<Vec<f32>> {
    if kind == TensorType::F32 {
        return Some(
            data.chunks_exact(4)
                .map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]))
                .collect(),
        );
    }
    let (block, block_bytes) = known_block(kind)?;
    if !data.len().is_multiple_of(block_bytes) {
        return None;
    }
    let count = data.len() / block_bytes * block;
    let mut numbers = vec![0.0_f32; count];
    #[expect(unsafe_code, reason = "ggml is C")]
    // SAFETY: `known_block` has checked that ggml knows the type and its block sizes are ours, so the function reads
    // exactly `data` and writes exactly `count` numbers. It keeps neither pointer.
    unsafe {
        let to_float = (*sys::ggml_get_type_traits(kind.0)).to_float?;
        to_float(data.as_ptr().cast::<c_void>(), numbers.as_mut_ptr(), i64::try_from(count).ok()?);
    }
    Some(numbers)
}

/// Stores `numbers`, rows of `row` numbers each, as `kind`; `None` if the type cannot be made without statistics of
/// the weights' use, or rows are no whole number of blocks.
pub(crate) fn from_f32(kind: TensorType, numbers: &[f32], row: usize) -> Option<Vec<u8>> {
    let (block, block_bytes) = known_block(kind)?;
    if row == 0 || !row.is_multiple_of(block) || !numbers.len().is_multiple_of(row) {
        return None;
    }
    let mut data = vec![0_u8; numbers.len() / block * block_bytes];
    let (rows, row) = (i64::try_from(numbers.len() / row).ok()?, i64::try_from(row).ok()?);
    #[expect(unsafe_code, reason = "ggml is C")]
    // SAFETY: ggml knows the type and agrees with us about its blocks (`known_block`), so it reads `rows * row`
    // numbers, all of `numbers`, and writes `data.len()` bytes. No importance matrix is passed, and types that need
    // one are refused. It keeps neither pointer.
    let written = unsafe {
        if sys::ggml_quantize_requires_imatrix(kind.0) {
            return None;
        }
        let to = data.as_mut_ptr().cast::<c_void>();
        sys::ggml_quantize_chunk(kind.0, numbers.as_ptr(), to, 0, rows, row, std::ptr::null())
    };
    (written == data.len()).then_some(data)
}

/// Elements and bytes of a block, if ggml has the type and sees it the same way.
fn known_block(kind: TensorType) -> Option<(usize, usize)> {
    let (block, bytes) = kind.block()?;
    #[expect(unsafe_code, reason = "ggml is C")]
    // SAFETY: the traits are a static table indexed by type; `block` has refused numbers that are not in ours, which
    // holds only numbers below ggml's count, and the reference is used before anything else can happen.
    let (ggml_block, ggml_bytes) = unsafe {
        let traits = sys::ggml_get_type_traits(kind.0);
        ((*traits).blck_size, (*traits).type_size)
    };
    let agreed = u64::try_from(ggml_block).ok()? == block && ggml_bytes as u64 == bytes;
    if agreed { Some((usize::try_from(block).ok()?, usize::try_from(bytes).ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_stays_within_the_types_precision() {
        let numbers: Vec<f32> = (0_i16..256).map(|n| (f32::from(n) * 0.37).sin()).collect();
        for (kind, tolerance) in
            [(TensorType::Q4_0, 0.14), (TensorType::Q5_0, 0.07), (TensorType::Q8_0, 0.006)]
        {
            let data = from_f32(kind, &numbers, 64).unwrap();
            assert_eq!(data.len() as u64, kind.row_bytes(256).unwrap());
            let back = to_f32(kind, &data).unwrap();
            let worst = numbers.iter().zip(&back).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= tolerance, "{}: off by {worst}", kind.name());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(to_f32(TensorType::Q8_0, &[0; 33]), None);
        assert_eq!(to_f32(TensorType(77), &[0; 32]), None);
        assert_eq!(from_f32(TensorType::Q8_0, &[0.0; 48], 48), None);
        assert_eq!(from_f32(TensorType(16), &[0.0; 256], 256), None, "needs an importance matrix");
    }
}
