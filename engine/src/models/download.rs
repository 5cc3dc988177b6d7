//! Fetches one file over HTTP: goes on where an earlier attempt was cut, hashes while it arrives, refuses what
//! is not what was published.
//!
//! The file being fetched is named `….part`. It gets the name asked for only when it is whole and right, and is
//! removed when it is whole and wrong, so a wrong byte is never built upon.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};
use ureq::http::Response;
use ureq::{Agent, Body};
use url::Url;

use super::digest::{self, CHUNK, Sha256Hex};
use super::http::{self, ATTEMPTS, backoff, hint, redacted, worth_retrying};
use super::{ModelError, Progress, cache};

/// One file to fetch.
pub(crate) struct Download<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) url: &'a Url,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    /// Where the whole file goes.
    pub(crate) to: &'a Path,
    /// The size it must have, if known beforehand.
    pub(crate) bytes: Option<u64>,
    /// The SHA-256 it must have, if known beforehand.
    pub(crate) sha256: Option<&'a str>,
    /// Set when a sibling failed: stop soon, keeping what has arrived.
    pub(crate) stop: &'a AtomicBool,
    pub(crate) progress: &'a dyn Progress,
}

/// How one attempt ended when it did not fail for good.
enum Attempt {
    Whole,
    Stopped,
    /// It may go better next time; `progressed` says whether bytes arrived.
    Cut {
        progressed: bool,
        source: CutSource,
    },
}

enum CutSource {
    Status(u16),
    Transport(ureq::Error),
}

impl Download<'_> {
    /// Fetches the file. `Ok(None)` means that it was told to stop.
    pub(crate) fn run(&self) -> Result<Option<Sha256Hex>, ModelError> {
        let part = self.part();
        let mut receiving = Receiving::open(&part, self)?;
        let mut failures = 0;
        loop {
            match self.attempt(&mut receiving)? {
                Attempt::Whole => return self.accept(receiving).map(Some),
                Attempt::Stopped => return Ok(None),
                Attempt::Cut { progressed, source } => {
                    failures = if progressed { 1 } else { failures + 1 };
                    if failures >= ATTEMPTS {
                        return Err(self.gave_up(source));
                    }
                    std::thread::sleep(backoff(failures));
                }
            }
        }
    }

    fn part(&self) -> PathBuf {
        let mut name = self.to.as_os_str().to_owned();
        name.push(".part");
        PathBuf::from(name)
    }

    fn attempt(&self, receiving: &mut Receiving) -> Result<Attempt, ModelError> {
        if self.bytes.is_some_and(|bytes| receiving.bytes == bytes) {
            return Ok(Attempt::Whole);
        }
        let range = format!("bytes={}-", receiving.bytes);
        let mut headers = self.headers.to_vec();
        if receiving.bytes > 0 {
            headers.push(("range", &range));
        }
        let response = match http::send(self.agent, self.url, &headers) {
            Ok(response) => response,
            Err(source) => {
                return Ok(Attempt::Cut { progressed: false, source: CutSource::Transport(source) });
            }
        };
        match response.status().as_u16() {
            206 if range_begins_at(&response, receiving.bytes) => self.receive(response, receiving),
            // The whole file again: either it was asked for, or the server does not do ranges.
            200 => {
                receiving.restart(self.progress)?;
                self.receive(response, receiving)
            }
            // More than the file holds was kept, or another range came than asked for: begin anew.
            206 | 416 => {
                receiving.restart(self.progress)?;
                Ok(Attempt::Cut { progressed: false, source: CutSource::Status(416) })
            }
            status if worth_retrying(status) => {
                Ok(Attempt::Cut { progressed: false, source: CutSource::Status(status) })
            }
            status => Err(ModelError::Status { url: redacted(self.url), status, hint: hint(status) }),
        }
    }

    fn receive(&self, response: Response<Body>, receiving: &mut Receiving) -> Result<Attempt, ModelError> {
        let begun_at = receiving.bytes;
        let announced = content_length(&response).map(|length| begun_at + length);
        let expected = self.bytes.or(announced);
        let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Ok(Attempt::Stopped);
            }
            let cut = match body.read(&mut buffer) {
                Ok(0) if expected.is_none_or(|bytes| receiving.bytes >= bytes) => return Ok(Attempt::Whole),
                Ok(0) => ureq::Error::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                Ok(n) => {
                    receiving.write(&buffer[..n], self.progress)?;
                    // A server that sends more than was published: whole and wrong, the digest will say so.
                    if expected.is_some_and(|bytes| receiving.bytes > bytes) {
                        return Ok(Attempt::Whole);
                    }
                    continue;
                }
                Err(error) => ureq::Error::from(error),
            };
            let progressed = receiving.bytes > begun_at;
            return Ok(Attempt::Cut { progressed, source: CutSource::Transport(cut) });
        }
    }

    /// The file is whole: checks it and gives it its name, or removes it.
    fn accept(&self, receiving: Receiving) -> Result<Sha256Hex, ModelError> {
        let Receiving { path, bytes, running, .. } = receiving;
        let got = Sha256Hex::finish(running);
        if let Some(expected) = self.sha256
            && !got.is(expected)
        {
            fs::remove_file(&path).map_err(|e| ModelError::io("remove", &path, e))?;
            self.progress.retreat(bytes);
            let what = self.to.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (expected, got) = (expected.to_owned(), got.to_string());
            return Err(ModelError::Checksum { what, expected, got, from: redacted(self.url) });
        }
        cache::publish(&path, self.to)?;
        Ok(got)
    }

    fn gave_up(&self, source: CutSource) -> ModelError {
        let url = redacted(self.url);
        match source {
            CutSource::Status(status) => ModelError::Status { url, status, hint: hint(status) },
            CutSource::Transport(source) => {
                ModelError::Network { url, attempts: ATTEMPTS, source: Box::new(source) }
            }
        }
    }
}

/// The part of the file that has arrived, and its running digest.
struct Receiving {
    path: PathBuf,
    file: File,
    bytes: u64,
    running: Sha256,
}

impl Receiving {
    /// Takes up what an earlier run left, which has to be hashed again.
    fn open(path: &Path, download: &Download<'_>) -> Result<Self, ModelError> {
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        let file = options.open(path).map_err(|e| ModelError::io("write", path, e))?;
        let mut running = Sha256::new();
        let bytes = digest::absorb(&mut running, path, download.progress)?;
        let mut receiving = Self { path: path.to_owned(), file, bytes, running };
        if download.bytes.is_some_and(|expected| bytes > expected) {
            receiving.restart(download.progress)?;
        }
        Ok(receiving)
    }

    fn write(&mut self, chunk: &[u8], progress: &dyn Progress) -> Result<(), ModelError> {
        self.file.write_all(chunk).map_err(|e| ModelError::io("write", &self.path, e))?;
        self.running.update(chunk);
        self.bytes += chunk.len() as u64;
        progress.advance(chunk.len() as u64);
        Ok(())
    }

    fn restart(&mut self, progress: &dyn Progress) -> Result<(), ModelError> {
        self.file.set_len(0).map_err(|e| ModelError::io("empty", &self.path, e))?;
        progress.retreat(self.bytes);
        (self.bytes, self.running) = (0, Sha256::new());
        Ok(())
    }
}

fn content_length(response: &Response<Body>) -> Option<u64> {
    response.headers().get("content-length")?.to_str().ok()?.parse().ok()
}

/// Whether a partial answer goes on exactly where we are (`content-range: bytes 10-99/100`).
fn range_begins_at(response: &Response<Body>, offset: u64) -> bool {
    let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
    let begin =
        range.and_then(|range| range.strip_prefix("bytes ")?.split('-').next()?.trim().parse::<u64>().ok());
    begin == Some(offset)
}
