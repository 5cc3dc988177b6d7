//! The file of saved prefixes: a mark, a key, the number of entries, the entries, and the SHA-256 of all that.
//!
//! Invariant: an entry is handed out only of a file that is whole and whose key is the one asked for. The key says which
//! program, model, adapters and settings computed the cells; another one's are of no use. Numbers are little-endian.

use super::super::SchedulerOptions;
use crate::adapters::Adapter;
use crate::llama::{Applied, Token};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const MARK: &[u8; 8] = b"tgslots1";
const DIGEST: u64 = 32;
/// Pieces of a model file that its key is made of, and bytes of each: another training or quantization changes all of them.
const SAMPLES: u64 = 64;
const SAMPLE: u64 = 64 * 1024;

/// What computed the cells.
pub(super) type Key = [u8; 32];

/// One sequence.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) tokens: Vec<Token>,
    /// Of those, the tokens of its last prompt.
    pub(super) prompt_tokens: usize,
    pub(super) adapter: Option<Applied>,
    pub(super) state: Vec<u8>,
}

/// The key of what these options run, with so many tokens for each request.
pub(super) fn key(options: &SchedulerOptions, context: usize) -> io::Result<Key> {
    let mut hash = Sha256::new_with_prefix(MARK);
    // The cells' layout is the program's own: another build may have another.
    let program = std::fs::metadata(std::env::current_exe()?)?;
    hash.update(format!("{} {} {}", program.len(), program.mtime(), program.mtime_nsec()));
    hash.update(format!("{context} {} {:?}", options.parallel, options.loading));
    let adapters = options.adapters.iter().flat_map(Adapter::files);
    for path in std::iter::once(options.model.clone()).chain(adapters) {
        sample(&path, &mut hash)?;
    }
    Ok(hash.finalize().into())
}

/// Length, time and pieces of a file: all of it would take seconds to read.
fn sample(path: &Path, hash: &mut Sha256) -> io::Result<()> {
    let mut file = File::open(path)?;
    let facts = file.metadata()?;
    hash.update(format!("{} {} {}", facts.len(), facts.mtime(), facts.mtime_nsec()));
    for number in 0..SAMPLES {
        file.seek(SeekFrom::Start(facts.len() / SAMPLES * number))?;
        let mut piece = Vec::new();
        (&file).take(SAMPLE).read_to_end(&mut piece)?;
        hash.update(&piece);
    }
    Ok(())
}

/// Writes a file beside the place and moves it there once it is whole. Only its owner may read it.
pub(super) fn write(
    place: &Path,
    key: &Key,
    count: usize,
    entries: impl Iterator<Item = io::Result<Entry>>,
) -> io::Result<u64> {
    let part = part(place);
    remove(&part)?;
    let written = write_to(&part, key, count, entries).and_then(|bytes| {
        std::fs::rename(&part, place)?;
        Ok(bytes)
    });
    if written.is_err() {
        remove(&part)?;
    }
    written
}

fn write_to(
    part: &Path,
    key: &Key,
    count: usize,
    entries: impl Iterator<Item = io::Result<Entry>>,
) -> io::Result<u64> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(part)?;
    let mut out = Hashing { out: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
    out.write_all(MARK)?;
    out.write_all(key)?;
    out.write_all(&length(count)?)?;
    for entry in entries {
        let Entry { tokens, prompt_tokens, adapter, state } = entry?;
        let (place, scale) =
            adapter.map_or((u32::MAX, 0.0), |a| (u32::try_from(a.adapter).unwrap_or(u32::MAX), a.scale));
        out.write_all(&length(tokens.len())?)?;
        out.write_all(&length(prompt_tokens)?)?;
        out.write_all(&place.to_le_bytes())?;
        out.write_all(&scale.to_le_bytes())?;
        out.write_all(&(state.len() as u64).to_le_bytes())?;
        for token in tokens {
            out.write_all(&token.0.to_le_bytes())?;
        }
        out.write_all(&state)?;
    }
    let digest = out.hash.finalize();
    out.out.write_all(&digest)?;
    out.out.flush()?;
    Ok(out.bytes + DIGEST)
}

fn length(count: usize) -> io::Result<[u8; 4]> {
    u32::try_from(count).map(u32::to_le_bytes).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// Where it is written, by this process.
fn part(place: &Path) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    name.into()
}

/// Removes what processes have begun to write that are no more.
pub(super) fn remove_parts(place: &Path) {
    let (Some(folder), Some(name)) = (place.parent(), place.file_name()) else { return };
    // A bare name is meant from where the process runs.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let writer = |part: &Path| -> Option<Pid> {
        let rest = part.file_name()?.to_str()?.strip_prefix(name.to_str()?)?;
        Pid::from_raw(rest.strip_prefix('.')?.strip_suffix(".part")?.parse().ok()?)
    };
    for part in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let gone = |pid| matches!(test_kill_process(pid), Err(Errno::SRCH));
        if writer(&part).is_some_and(gone)
            && let Err(error) = remove(&part)
        {
            tracing::warn!(%error, file = %part.display(), "half-written prefixes cannot be removed");
        }
    }
}

/// Removes a file; none is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

struct Hashing<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A whole file of the right key, being read.
#[derive(Debug)]
pub(super) struct Reader {
    from: BufReader<File>,
    left: u64,
    entries: u32,
}

impl Reader {
    /// Takes the file from its place, so that one which does harm does it once. `None` = there is none.
    pub(super) fn take(place: &Path, key: &Key, most: u64) -> io::Result<Option<Reader>> {
        let file = match File::open(place) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        remove(place)?;
        let length = file.metadata()?.len();
        let head = (MARK.len() + key.len() + 4) as u64;
        if length < head + DIGEST {
            return Err(wrong("it is cut"));
        }
        if length > most {
            return Err(wrong("it is larger than --slot-save-mb"));
        }
        let mut from = BufReader::new(file);
        if read::<8>(&mut from)? != *MARK {
            return Err(wrong("it holds something else"));
        }
        if read::<32>(&mut from)? != *key {
            return Err(wrong("it is of another model, other settings or another build"));
        }
        from.rewind()?;
        check(&mut from, length - DIGEST)?;
        from.seek(SeekFrom::Start(head - 4))?;
        let entries = u32::from_le_bytes(read(&mut from)?);
        Ok(Some(Reader { from, left: length - head - DIGEST, entries }))
    }

    /// The next sequence, oldest first.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let Some(rest) = self.entries.checked_sub(1) else { return Ok(None) };
        self.entries = rest;
        let mut number = || read(&mut self.from).map(u32::from_le_bytes);
        let (tokens, prompt_tokens, place) = (number()?, number()?, number()?);
        let scale = f32::from_le_bytes(read(&mut self.from)?);
        let state = u64::from_le_bytes(read(&mut self.from)?);
        let needed = u64::from(tokens) * 4 + 24;
        self.left = self
            .left
            .checked_sub(needed)
            .and_then(|left| left.checked_sub(state))
            .ok_or_else(|| wrong("its lengths do not fit"))?;
        let tokens: io::Result<Vec<Token>> =
            (0..tokens).map(|_| read(&mut self.from).map(|bytes| Token(i32::from_le_bytes(bytes)))).collect();
        let mut bytes = Vec::new();
        (&mut self.from).take(state).read_to_end(&mut bytes)?;
        let adapter = (place != u32::MAX).then_some(Applied { adapter: place as usize, scale });
        Ok(Some(Entry { tokens: tokens?, prompt_tokens: prompt_tokens as usize, adapter, state: bytes }))
    }
}

fn check(from: &mut impl Read, length: u64) -> io::Result<()> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 256 * 1024];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        let read = from.read(chunk.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(wrong("it is cut"));
        }
        hash.update(chunk.get(..read).unwrap_or_default());
        left -= read as u64;
    }
    if read::<32>(from)? == *hash.finalize() { Ok(()) } else { Err(wrong("it is cut or damaged")) }
}

fn read<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const KEY: Key = [7; 32];

    fn entries() -> Vec<Entry> {
        let entry = |tokens: std::ops::Range<i32>, adapter| Entry {
            tokens: tokens.map(Token).collect(),
            prompt_tokens: 3,
            adapter,
            state: vec![5; 100_000],
        };
        vec![entry(0..9, None), entry(4..8, Some(Applied { adapter: 1, scale: 0.5 }))]
    }

    fn saved(folder: &Path) -> PathBuf {
        let place = folder.join("e.slots");
        let bytes = write(&place, &KEY, 2, entries().into_iter().map(Ok)).unwrap();
        let facts = std::fs::metadata(&place).unwrap();
        assert_eq!((facts.len(), facts.permissions().mode() & 0o777), (bytes, 0o600));
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1, "nothing beside it is left");
        place
    }

    #[test]
    fn what_is_written_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = saved(folder.path());
        let mut reader = Reader::take(&place, &KEY, 1 << 20).unwrap().unwrap();
        let read: Vec<Entry> = std::iter::from_fn(|| reader.next().unwrap()).collect();
        assert_eq!(read, entries());
        assert!(Reader::take(&place, &KEY, 1 << 20).unwrap().is_none(), "it is gone");
    }

    #[test]
    fn what_is_cut_damaged_or_foreign_is_refused_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let whole = std::fs::read(saved(folder.path())).unwrap();
        let mut damaged = whole.clone();
        damaged[150_000] ^= 1;
        let longer = [&whole[..], b"x"].concat();
        let place = folder.path().join("e.slots");
        for (bytes, key, most, part) in [
            (&whole[..whole.len() - 1], KEY, 1 << 20, "cut or damaged"),
            (&whole[..50], KEY, 1 << 20, "it is cut"),
            (&[], KEY, 1 << 20, "it is cut"),
            (&damaged, KEY, 1 << 20, "cut or damaged"),
            (&longer, KEY, 1 << 20, "cut or damaged"),
            (&[0; 200], KEY, 1 << 20, "something else"),
            (&whole, [8; 32], 1 << 20, "another model"),
            (&whole, KEY, 1000, "larger than"),
        ] {
            std::fs::write(&place, bytes).unwrap();
            let refusal = Reader::take(&place, &key, most).unwrap_err().to_string();
            assert!(refusal.contains(part), "{part}: {refusal}");
            assert!(!place.exists(), "{part}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_whole_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("e.slots");
        let failing = entries().into_iter().map(Ok).chain([Err(wrong("no state"))]);
        assert!(write(&place, &KEY, 3, failing).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_dead_process_has_begun_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (place, mut child) =
            (folder.path().join("e.slots"), std::process::Command::new("true").spawn().unwrap());
        child.wait().unwrap();
        let named = |name: String| folder.path().join(name);
        let dead = named(format!("e.slots.{}.part", child.id()));
        let kept = [part(&place), named("f.slots.1.part".to_owned()), named("e.slots.x.part".to_owned())];
        kept.iter().chain([&dead]).for_each(|file| std::fs::write(file, b"x").unwrap());
        remove_parts(&place);
        assert!(!dead.exists() && kept.iter().all(|file| file.exists()));
    }
}
