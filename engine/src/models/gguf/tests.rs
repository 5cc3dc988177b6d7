//! Round trips, and files that are cut, forged or of another kind.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

fn sample() -> Vec<u8> {
    let metadata = vec![
        ("general.architecture".to_owned(), Value::text("llama")),
        ("general.name".to_owned(), Value::text("Tiny")),
        ("llama.context_length".to_owned(), Value::U32(2048)),
        ("llama.block_count".to_owned(), Value::U32(1)),
        ("llama.expert_count".to_owned(), Value::U32(4)),
        ("llama.expert_used_count".to_owned(), Value::U32(2)),
        (
            "tokenizer.ggml.tokens".to_owned(),
            Value::Array(8, vec![Value::text("a"), Value::String(vec![0xff])]),
        ),
        ("tokenizer.chat_template".to_owned(), Value::text("{{ messages }}")),
        ("x.f".to_owned(), Value::F64(1.5)),
        ("x.b".to_owned(), Value::Bool(true)),
    ];
    let tensor =
        |name: &str, shape: &[u64], kind| NewTensor { name: name.to_owned(), shape: shape.to_vec(), kind };
    let tensors = vec![
        tensor("token_embd.weight", &[32, 2], TensorType::Q8_0),
        tensor("blk.0.ffn_up_exps.weight", &[32, 1, 4], TensorType::Q5_0),
        tensor("output_norm.weight", &[3], TensorType::F32),
    ];
    let mut writer = Writer::begin(Vec::new(), &metadata, tensors).unwrap();
    writer.tensor("token_embd.weight", &[1; 68]).unwrap();
    writer.tensor("blk.0.ffn_up_exps.weight", &[2; 88]).unwrap();
    writer.tensor("output_norm.weight", &[3; 12]).unwrap();
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> Result<Gguf, GgufError> {
    Gguf::read(Cursor::new(bytes), bytes.len() as u64)
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = sample();
    let gguf = read(&bytes).unwrap();
    assert_eq!(gguf.number("llama.context_length").unwrap(), 2048);
    assert_eq!(
        gguf.value("tokenizer.ggml.tokens").unwrap(),
        &Value::Array(8, vec![Value::text("a"), Value::String(vec![0xff])])
    );
    for (name, byte, length) in [("token_embd.weight", 1, 68), ("output_norm.weight", 3, 12)] {
        let data = gguf.data(Cursor::new(&bytes), gguf.tensor(name).unwrap()).unwrap();
        assert_eq!(data, vec![byte; length], "{name}");
    }
    assert_eq!(bytes, sample(), "the same input gives the same bytes");
}

#[test]
fn facts_count_what_a_token_passes_through() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, sample()).unwrap();
    let facts = inspect(&path).unwrap();
    assert_eq!((facts.architecture.as_str(), facts.layers, facts.vocabulary), ("llama", Some(1), Some(2)));
    assert_eq!((facts.parameters, facts.active_parameters), (64 + 128 + 3, 64 + 64 + 3));
    assert_eq!(facts.experts, Some(Experts { count: 4, used: 2, shared: false }));
    assert_eq!(facts.quantization[0].kind, "Q5_0");
    assert!(facts.chat_template && facts.licence.is_none());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = sample();
    // The last tensor's padding may be missing, its data not.
    let needed = bytes.len() - 20;
    for length in 0..needed {
        assert!(read(&bytes[..length]).is_err(), "cut at {length} of {}", bytes.len());
    }
    assert!(read(&bytes[..needed]).is_ok());
}

#[test]
fn absurd_counts_are_refused_without_allocating() {
    let with = |at: usize, number: u64| {
        let mut bytes = sample();
        bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
        read(&bytes).unwrap_err().to_string()
    };
    assert!(with(8, u64::MAX).contains("18446744073709551615 tensors"));
    assert!(with(16, 1 << 40).contains("1099511627776 metadata entries"));
    assert!(with(24, 1 << 50).contains("bytes of text"));
}

#[test]
fn other_kinds_of_file_are_named() {
    assert!(matches!(read(b"PK\x03\x04 not a model, a zip archive"), Err(GgufError::NotGguf)));
    assert!(matches!(read(b""), Err(GgufError::NotGguf)));
    let mut old = sample();
    old[4..8].copy_from_slice(&1_u32.to_le_bytes());
    assert!(matches!(read(&old), Err(GgufError::Version(1))));
    let mut big_endian = sample();
    big_endian[4..8].copy_from_slice(&3_u32.to_be_bytes());
    assert!(read(&big_endian).unwrap_err().to_string().contains("little-endian"));
}

#[test]
fn the_writer_keeps_its_announcements() {
    let tensor = |name: &str| NewTensor { name: name.to_owned(), shape: vec![1], kind: TensorType::F32 };
    let begin = || Writer::begin(Vec::new(), &[], vec![tensor("a"), tensor("b")]).unwrap();
    assert!(begin().tensor("b", &[0; 4]).is_err(), "out of order");
    assert!(begin().tensor("a", &[0; 5]).is_err(), "another length");
    assert!(begin().finish().is_err(), "missing tensors");
}

proptest! {
    /// Whatever bytes are changed, reading ends in a value or an error: no panic, no runaway allocation.
    #[test]
    fn damaged_headers_never_panic(changes in prop::collection::vec((0_usize..700, any::<u8>()), 1..12)) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(gguf) = read(&bytes) {
            for tensor in &gguf.tensors {
                let _ = gguf.data(Cursor::new(&bytes), tensor);
            }
        }
    }

    #[test]
    fn noise_after_the_magic_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(noise);
        let _ = read(&bytes);
    }
}
