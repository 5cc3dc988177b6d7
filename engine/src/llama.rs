//! llama.cpp behind a small safe face: the only module with unsafe code.

pub(crate) mod quantize;
