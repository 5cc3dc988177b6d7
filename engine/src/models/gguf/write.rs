//! Writes GGUF files: header first, then each tensor's data in order. The same input gives the same bytes.

use std::io::Write;

use super::{DEFAULT_ALIGNMENT, GgufError, Tensor, TensorType, Value};

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTensor {
    /// Its name.
    pub name: String,
    /// Its shape, the innermost dimension first.
    pub shape: Vec<u64>,
    /// How its numbers are stored.
    pub kind: TensorType,
}

/// A GGUF file being written.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    /// What is still to come: name and data length.
    expected: std::vec::IntoIter<(String, u64)>,
}

impl<W: Write> Writer<W> {
    /// Writes the header. The data of `tensors` must follow, in their order, through [`Writer::tensor`].
    ///
    /// # Errors
    /// A tensor's shape does not fit its type, or `out` refuses.
    pub fn begin(
        mut out: W,
        metadata: &[(String, Value)],
        tensors: Vec<NewTensor>,
    ) -> Result<Self, GgufError> {
        let mut header = Vec::new();
        header.extend_from_slice(b"GGUF");
        header.extend_from_slice(&3_u32.to_le_bytes());
        header.extend_from_slice(&(tensors.len() as u64).to_le_bytes());
        header.extend_from_slice(&(metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            put_string(&mut header, key.as_bytes());
            header.extend_from_slice(&value.type_number().to_le_bytes());
            put_value(&mut header, value);
        }
        let mut expected = Vec::with_capacity(tensors.len());
        let mut offset = 0;
        for new in tensors {
            let tensor = Tensor { name: new.name, shape: new.shape, kind: new.kind, offset };
            let bytes = tensor.bytes()?.ok_or_else(|| tensor.damaged("its type is not known"))?;
            put_tensor(&mut header, &tensor);
            offset += bytes.next_multiple_of(DEFAULT_ALIGNMENT);
            expected.push((tensor.name, bytes));
        }
        pad(&mut header);
        out.write_all(&header)?;
        Ok(Self { out, expected: expected.into_iter() })
    }

    /// Writes the next tensor's data.
    ///
    /// # Errors
    /// There is no such next tensor, its length is another, or the output refuses.
    pub fn tensor(&mut self, name: &str, data: &[u8]) -> Result<(), GgufError> {
        let next = self.expected.next();
        if !next.is_some_and(|(expected, bytes)| expected == name && bytes == data.len() as u64) {
            let what = "its data is not what the header announced";
            return Err(GgufError::Tensor { name: name.to_owned(), what });
        }
        self.out.write_all(data)?;
        let zeros = [0; 32];
        let written = data.len() as u64;
        let padding = written.next_multiple_of(DEFAULT_ALIGNMENT) - written;
        // Fewer than 32 by construction.
        self.out.write_all(&zeros[..usize::try_from(padding).unwrap_or(0)])?;
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// A tensor is missing, or the output refuses.
    pub fn finish(mut self) -> Result<W, GgufError> {
        if let Some((name, _)) = self.expected.next() {
            return Err(GgufError::MissingTensor(name));
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text);
}

fn put_tensor(out: &mut Vec<u8>, tensor: &Tensor) {
    put_string(out, tensor.name.as_bytes());
    // A shape has at most a handful of dimensions.
    out.extend_from_slice(&u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX).to_le_bytes());
    for n in &tensor.shape {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out.extend_from_slice(&tensor.kind.0.to_le_bytes());
    out.extend_from_slice(&tensor.offset.to_le_bytes());
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::U8(n) => out.push(*n),
        Value::I8(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::U16(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::I16(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::U32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::I32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::F32(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::Bool(b) => out.push(u8::from(*b)),
        Value::String(text) => put_string(out, text),
        Value::Array(kind, values) => {
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&(values.len() as u64).to_le_bytes());
            for value in values {
                put_value(out, value);
            }
        }
        Value::U64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::I64(n) => out.extend_from_slice(&n.to_le_bytes()),
        Value::F64(n) => out.extend_from_slice(&n.to_le_bytes()),
    }
}

fn pad(header: &mut Vec<u8>) {
    let alignment = usize::try_from(DEFAULT_ALIGNMENT).unwrap_or(32);
    header.resize(header.len().next_multiple_of(alignment), 0);
}
