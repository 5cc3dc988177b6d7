//! Reads a GGUF file's header, and tensor data on demand.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use super::value::least_bytes;
use super::{DEFAULT_ALIGNMENT, GgufError, Tensor, TensorType, Value};

/// name length, one dimension, type, offset: the least a tensor's description takes.
const TENSOR_LEAST_BYTES: u64 = 8 + 4 + 8 + 4 + 8;
/// key length, type, one byte of value.
const ENTRY_LEAST_BYTES: u64 = 8 + 4 + 1;
const DIMENSIONS_AT_MOST: u32 = 4;
const NESTING_AT_MOST: u32 = 3;

/// A GGUF file's header.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf {
    /// The metadata, in the file's order.
    pub metadata: Vec<(String, Value)>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor>,
    /// Where tensor data begins, in bytes from the beginning of the file.
    pub data_start: u64,
    /// The file's length in bytes.
    pub file_bytes: u64,
}

impl Gguf {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no GGUF, is cut, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Self::read(BufReader::with_capacity(256 * 1024, file), length)
    }

    /// Reads a header from `source`, which is `length` bytes long.
    ///
    /// # Errors
    /// As for [`Gguf::open`].
    pub fn read(source: impl Read, length: u64) -> Result<Self, GgufError> {
        let mut bytes = Bytes { source, left: length };
        if bytes.array::<4>("the magic number").map_err(|_| GgufError::NotGguf)? != *b"GGUF" {
            return Err(GgufError::NotGguf);
        }
        let version = bytes.u32("the version")?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = bytes.u64("the header")?;
        let entry_count = bytes.u64("the header")?;
        bytes.room_for(entry_count, ENTRY_LEAST_BYTES, "metadata entries")?;
        bytes.room_for(tensor_count, TENSOR_LEAST_BYTES, "tensors")?;
        let metadata = read_metadata(&mut bytes, entry_count)?;
        let tensors = read_tensors(&mut bytes, tensor_count)?;
        let alignment =
            metadata.iter().find(|(key, _)| key == "general.alignment").and_then(|(_, v)| v.as_u64());
        let alignment = alignment.unwrap_or(DEFAULT_ALIGNMENT);
        if !alignment.is_power_of_two() || alignment > length.max(DEFAULT_ALIGNMENT) {
            return Err(GgufError::Alignment(alignment));
        }
        let data_start = (length - bytes.left).next_multiple_of(alignment);
        let gguf = Self { metadata, tensors, data_start, file_bytes: length };
        gguf.check_places(alignment)?;
        Ok(gguf)
    }

    /// The metadata value called `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// The whole number called `key`.
    ///
    /// # Errors
    /// It is not there, or is no whole number.
    pub fn number(&self, key: &str) -> Result<u64, GgufError> {
        self.value(key).and_then(Value::as_u64).ok_or_else(|| GgufError::MissingKey(key.to_owned()))
    }

    /// The tensor called `name`.
    ///
    /// # Errors
    /// It is not there.
    pub fn tensor(&self, name: &str) -> Result<&Tensor, GgufError> {
        let found = self.tensors.iter().find(|tensor| tensor.name == name);
        found.ok_or_else(|| GgufError::MissingTensor(name.to_owned()))
    }

    /// Reads the data of `tensor` from `file`, the file this header came from.
    ///
    /// # Errors
    /// The type is not known, or the file cannot be read.
    pub fn data(&self, mut file: impl Read + Seek, tensor: &Tensor) -> Result<Vec<u8>, GgufError> {
        let length = tensor.bytes()?.ok_or_else(|| tensor.damaged("its type is not known"))?;
        file.seek(std::io::SeekFrom::Start(self.data_start + tensor.offset))?;
        let length =
            usize::try_from(length).map_err(|_| tensor.damaged("it is too large for this machine"))?;
        let mut data = vec![0; length];
        file.read_exact(&mut data)?;
        Ok(data)
    }

    fn check_places(&self, alignment: u64) -> Result<(), GgufError> {
        let data_bytes = self.file_bytes.saturating_sub(self.data_start);
        for tensor in &self.tensors {
            if !tensor.offset.is_multiple_of(alignment) {
                return Err(tensor.damaged("its data is not aligned"));
            }
            let end = tensor.offset.checked_add(tensor.bytes()?.unwrap_or(0));
            if end.is_none_or(|end| end > data_bytes) {
                return Err(tensor.damaged("its data lies beyond the end of the file, which may be cut"));
            }
        }
        Ok(())
    }
}

fn read_metadata<R: Read>(bytes: &mut Bytes<R>, count: u64) -> Result<Vec<(String, Value)>, GgufError> {
    let mut metadata = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let key = bytes.name("a metadata key")?;
        let kind = bytes.u32("a metadata value")?;
        let value = bytes.value(kind, 0)?;
        if !seen.insert(key.clone()) {
            return Err(GgufError::Duplicate(key));
        }
        metadata.push((key, value));
    }
    Ok(metadata)
}

fn read_tensors<R: Read>(bytes: &mut Bytes<R>, count: u64) -> Result<Vec<Tensor>, GgufError> {
    let mut tensors = Vec::new();
    let mut seen = HashSet::new();
    for _ in 0..count {
        let name = bytes.name("a tensor's name")?;
        let dimensions = bytes.u32("a tensor's shape")?;
        if !(1..=DIMENSIONS_AT_MOST).contains(&dimensions) {
            return Err(GgufError::Tensor { name, what: "it has no dimensions, or too many" });
        }
        let shape = (0..dimensions).map(|_| bytes.u64("a tensor's shape")).collect::<Result<_, _>>()?;
        let kind = TensorType(bytes.u32("a tensor's type")?);
        let offset = bytes.u64("a tensor's place")?;
        if !seen.insert(name.clone()) {
            return Err(GgufError::Duplicate(name));
        }
        tensors.push(Tensor { name, shape, kind, offset });
    }
    Ok(tensors)
}

/// A reader that knows how much can be left, so that a forged length cannot make it allocate.
struct Bytes<R> {
    source: R,
    left: u64,
}

impl<R: Read> Bytes<R> {
    fn room_for(&self, count: u64, each: u64, of: &'static str) -> Result<(), GgufError> {
        match count.checked_mul(each) {
            Some(bytes) if bytes <= self.left => Ok(()),
            _ => Err(GgufError::Absurd { of, count }),
        }
    }

    fn fill(&mut self, into: &mut [u8], what: &'static str) -> Result<(), GgufError> {
        self.left = self.left.checked_sub(into.len() as u64).ok_or(GgufError::Cut(what))?;
        self.source.read_exact(into).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => GgufError::Cut(what),
            _ => GgufError::Io(error),
        })
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        self.fill(&mut array, what)?;
        Ok(array)
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn string(&mut self, what: &'static str) -> Result<Vec<u8>, GgufError> {
        let length = self.u64(what)?;
        self.room_for(length, 1, "bytes of text")?;
        let mut text = vec![0; usize::try_from(length).map_err(|_| GgufError::Cut(what))?];
        self.fill(&mut text, what)?;
        Ok(text)
    }

    fn name(&mut self, what: &'static str) -> Result<String, GgufError> {
        String::from_utf8(self.string(what)?).map_err(|_| GgufError::Cut(what))
    }

    fn value(&mut self, kind: u32, depth: u32) -> Result<Value, GgufError> {
        let what = "a metadata value";
        Ok(match kind {
            0 => Value::U8(self.array::<1>(what)?[0]),
            1 => Value::I8(i8::from_le_bytes(self.array(what)?)),
            2 => Value::U16(u16::from_le_bytes(self.array(what)?)),
            3 => Value::I16(i16::from_le_bytes(self.array(what)?)),
            4 => Value::U32(self.u32(what)?),
            5 => Value::I32(i32::from_le_bytes(self.array(what)?)),
            6 => Value::F32(f32::from_le_bytes(self.array(what)?)),
            7 => Value::Bool(self.array::<1>(what)?[0] != 0),
            8 => Value::String(self.string(what)?),
            9 if depth < NESTING_AT_MOST => self.values(depth)?,
            10 => Value::U64(self.u64(what)?),
            11 => Value::I64(i64::from_le_bytes(self.array(what)?)),
            12 => Value::F64(f64::from_le_bytes(self.array(what)?)),
            other => return Err(GgufError::ValueType(other)),
        })
    }

    fn values(&mut self, depth: u32) -> Result<Value, GgufError> {
        let kind = self.u32("a metadata array")?;
        let count = self.u64("a metadata array")?;
        let least = least_bytes(kind).ok_or(GgufError::ValueType(kind))?;
        self.room_for(count, least, "array elements")?;
        let values = (0..count).map(|_| self.value(kind, depth + 1)).collect::<Result<_, _>>()?;
        Ok(Value::Array(kind, values))
    }
}
