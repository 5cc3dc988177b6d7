//! llama.cpp's quantizer of whole files, and ggml's own conversions between numbers and its storage types, so that a model
//! made here is quantized exactly as llama.cpp would have.

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use llama_cpp_sys_2 as sys;

use crate::models::gguf::TensorType;

/// Writes the model at `source` to `target` as llama.cpp's file type of that number, on all cores; or why not.
pub(crate) fn file(
    source: &Path,
    target: &Path,
    file_type: u32,
    allow_requantize: bool,
) -> Result<(), String> {
    super::backend().map_err(|error| error.to_string())?;
    let c_path = |path: &Path| {
        CString::new(path.as_os_str().as_bytes()).map_err(|_| format!("{} holds a NUL", path.display()))
    };
    let (source, target) = (c_path(source)?, c_path(target)?);
    let _making = super::MAKING.lock();
    super::log::forget();
    #[expect(unsafe_code, reason = "the bindings do not wrap the quantizer")]
    // SAFETY: both paths are NUL-terminated and live until it returns; the parameters are llama.cpp's own defaults (every
    // pointer null) with two plain values changed; it catches C++ exceptions and keeps nothing.
    let code = unsafe {
        let mut params = sys::llama_model_quantize_default_params();
        params.ftype = file_type;
        params.allow_requantize = allow_requantize;
        sys::llama_model_quantize(source.as_ptr(), target.as_ptr(), &raw const params)
    };
    if code == 0 {
        return Ok(());
    }
    Err(super::log::last_errors().unwrap_or_else(|| format!("llama.cpp gave up (code {code})")))
}

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
    fn types_of_files_have_llama_cpps_numbers() {
        use crate::models::QuantType;
        let known = [
            ("q8_0", sys::LLAMA_FTYPE_MOSTLY_Q8_0),
            ("q6_k", sys::LLAMA_FTYPE_MOSTLY_Q6_K),
            ("q5_1", sys::LLAMA_FTYPE_MOSTLY_Q5_1),
            ("q5_k_m", sys::LLAMA_FTYPE_MOSTLY_Q5_K_M),
            ("q5_k_s", sys::LLAMA_FTYPE_MOSTLY_Q5_K_S),
            ("q5_0", sys::LLAMA_FTYPE_MOSTLY_Q5_0),
            ("q4_1", sys::LLAMA_FTYPE_MOSTLY_Q4_1),
            ("q4_k_m", sys::LLAMA_FTYPE_MOSTLY_Q4_K_M),
            ("q4_k_s", sys::LLAMA_FTYPE_MOSTLY_Q4_K_S),
            ("q4_0", sys::LLAMA_FTYPE_MOSTLY_Q4_0),
            ("iq4_nl", sys::LLAMA_FTYPE_MOSTLY_IQ4_NL),
            ("iq4_xs", sys::LLAMA_FTYPE_MOSTLY_IQ4_XS),
            ("q3_k_l", sys::LLAMA_FTYPE_MOSTLY_Q3_K_L),
            ("q3_k_m", sys::LLAMA_FTYPE_MOSTLY_Q3_K_M),
            ("q3_k_s", sys::LLAMA_FTYPE_MOSTLY_Q3_K_S),
            ("q2_k", sys::LLAMA_FTYPE_MOSTLY_Q2_K),
        ];
        let ours: Vec<_> = QuantType::all().iter().map(|kind| (kind.name, kind.file_type)).collect();
        assert_eq!(ours, known);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(to_f32(TensorType::Q8_0, &[0; 33]), None);
        assert_eq!(to_f32(TensorType(77), &[0; 32]), None);
        assert_eq!(from_f32(TensorType::Q8_0, &[0.0; 48], 48), None);
        assert_eq!(from_f32(TensorType(16), &[0.0; 256], 256), None, "needs an importance matrix");
    }
}
