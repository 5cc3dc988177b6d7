//! The folder where fetched and made files live, outside any source tree.
//!
//! Invariant: a file under its final name is whole. Work in progress lives in `partial/` and is renamed when
//! its checksum is right; a stamp beside the file remembers that, so a start does not hash gigabytes again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::ModelError;
use super::digest::Sha256Hex;

/// A cache folder; [`Cache::standard`] is the user's.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The cache at `root`, which need not exist yet.
    pub(crate) fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// `TOLLGATE_CACHE`, or `$XDG_CACHE_HOME/tollgate`, or `~/.cache/tollgate`.
    pub(crate) fn standard() -> Self {
        Self::at(cache_dir())
    }

    /// Where the model file called `file` is or would be.
    pub(crate) fn model(&self, file: &str) -> PathBuf {
        self.root.join("models").join(file)
    }

    /// Where the shared library called `file` is or would be.
    pub(crate) fn library(&self, file: &str) -> PathBuf {
        self.root.join("lib").join(file)
    }

    /// The folder for work in progress on `name`, created if need be.
    pub(crate) fn partial(&self, name: &str) -> Result<PathBuf, ModelError> {
        let folder = self.root.join("partial").join(name);
        fs::create_dir_all(&folder).map_err(|e| ModelError::io("create the folder", &folder, e))?;
        Ok(folder)
    }

    /// Waits until no other process works on `name`, then holds it until the guard is dropped.
    pub(crate) fn lock(&self, name: &str) -> Result<Lock, ModelError> {
        let folder = self.partial(name)?;
        let path = folder.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| ModelError::io("open", &path, e))?;
        file.lock().map_err(|e| ModelError::io("lock", &path, e))?;
        Ok(Lock { _file: file, folder })
    }
}

/// The user's cache folder: `TOLLGATE_CACHE`, or `$XDG_CACHE_HOME/tollgate`, or `~/.cache/tollgate`.
pub fn cache_dir() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("TOLLGATE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("tollgate")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("tollgate")))
        .unwrap_or_else(|| PathBuf::from(".tollgate-cache"))
}

/// Held while one process works on one file; the operating system lets go of it if the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
    folder: PathBuf,
}

impl Lock {
    /// The folder for work in progress.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes everything in the folder but the lock itself: another process may be waiting on that very file.
    pub(crate) fn clear(&self) -> Result<(), ModelError> {
        let entries = fs::read_dir(&self.folder).map_err(|e| ModelError::io("read", &self.folder, e))?;
        for entry in entries.flatten() {
            if entry.file_name() != "lock" {
                let path = entry.path();
                fs::remove_file(&path).map_err(|e| ModelError::io("remove", &path, e))?;
            }
        }
        Ok(())
    }
}

/// What is remembered about a file that was found right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    bytes: u64,
    modified_ns: u128,
    /// The digest that the file had.
    pub(crate) sha256: String,
    /// For a made model, the digest of everything it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipe: Option<String>,
}

impl Stamp {
    /// The stamp of `file`, if there is one and the file has not been touched since.
    pub(crate) fn valid(file: &Path) -> Option<Stamp> {
        let stamp: Stamp = serde_json::from_slice(&fs::read(stamp_path(file)).ok()?).ok()?;
        let (bytes, modified_ns) = size_and_time(file)?;
        (stamp.bytes == bytes && stamp.modified_ns == modified_ns).then_some(stamp)
    }

    /// Remembers that `file` has this digest. Losing the stamp costs a hash, so failing to write it is no error.
    pub(crate) fn write(file: &Path, sha256: &Sha256Hex, recipe: Option<String>) {
        let Some((bytes, modified_ns)) = size_and_time(file) else { return };
        let stamp = Stamp { bytes, modified_ns, sha256: sha256.to_string(), recipe };
        if let Ok(text) = serde_json::to_vec(&stamp) {
            let _ = fs::write(stamp_path(file), text);
        }
    }
}

fn stamp_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".verified");
    PathBuf::from(name)
}

fn size_and_time(file: &Path) -> Option<(u64, u128)> {
    let metadata = fs::metadata(file).ok()?;
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((metadata.len(), modified.as_nanos()))
}

/// Bytes an ordinary user may still write in `folder`, if the system says.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Refuses to begin what cannot end: `needed` bytes must be free in `folder`.
pub(crate) fn require_space(folder: &Path, needed: u64) -> Result<(), ModelError> {
    match free_bytes(folder) {
        Some(free) if free < needed => Err(ModelError::NoSpace { path: folder.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

/// Puts the finished file `from` in its final place, in one step.
pub(crate) fn publish(from: &Path, to: &Path) -> Result<(), ModelError> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|e| ModelError::io("create the folder", folder, e))?;
    }
    File::open(from).and_then(|file| file.sync_all()).map_err(|e| ModelError::io("flush", from, e))?;
    fs::rename(from, to).map_err(|e| ModelError::io("move into place", to, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_dies_with_the_file_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.gguf");
        fs::write(&file, b"one").unwrap();
        Stamp::write(&file, &Sha256Hex::of(b"one"), None);
        assert_eq!(Stamp::valid(&file).unwrap().sha256, Sha256Hex::of(b"one").to_string());
        fs::write(&file, b"longer").unwrap();
        assert_eq!(Stamp::valid(&file), None);
    }

    #[test]
    fn more_than_the_disk_holds_is_refused_before_anything_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let error = require_space(folder.path(), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("TOLLGATE_CACHE"), "{error}");
    }

    #[test]
    fn clearing_keeps_the_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Cache::at(folder.path()).lock("x").unwrap();
        fs::write(lock.folder().join("junk"), b"j").unwrap();
        lock.clear().unwrap();
        assert!(lock.folder().join("lock").exists() && !lock.folder().join("junk").exists());
    }
}
