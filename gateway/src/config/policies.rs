//! Reading policy files: from the paths configured, or the shipped ones, checked against the catalogue.
//!
//! All problems of all files are told at once. Called at start and again at each reload; it keeps nothing, so a
//! wrong file has no effect beyond its error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tollgate_policies::{Diagnostics, Known, Policy, check, shipped};

use super::ConfigError;
use super::model::ModelEntry;

/// Name of the default policy where none is configured.
const DEFAULT: &str = "default";

/// Where the policies are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyFiles {
    /// Files, and folders of `*.toml`; empty = the shipped policies.
    pub paths: Vec<PathBuf>,
    /// Name of the policy for `model: auto`; `None` = the only one, or the one named `default`, or the first.
    pub default: Option<String>,
}

/// Policies that have been read and checked.
#[derive(Debug, Clone)]
pub struct Policies {
    /// For `model: auto`.
    pub default: Arc<Policy>,
    /// For `model: auto:NAME`, the default among them.
    pub named: BTreeMap<String, Arc<Policy>>,
}

/// What tells that a policy file changed: its path, time and length.
pub type Stamps = Vec<(PathBuf, Stamp)>;

/// Time and length of a file; `None` while there is none.
pub type Stamp = Option<(SystemTime, u64)>;

impl PolicyFiles {
    /// Reads and checks every policy.
    ///
    /// # Errors
    /// [`ConfigError`] with every problem of every file.
    pub fn load(&self, models: &[ModelEntry]) -> Result<Policies, ConfigError> {
        let names: Vec<&str> = models.iter().map(|model| model.name.as_str()).collect();
        let mut regions: Vec<&str> =
            models.iter().flat_map(|model| &model.regions).map(String::as_str).collect();
        regions.sort_unstable();
        regions.dedup();
        let known = Known { models: &names, regions: &regions };
        let mut policies: Vec<(String, Policy)> = Vec::new();
        let mut problems = Diagnostics::default();
        for (file, text) in self.texts()? {
            match check(&file, &text, Some(&known)) {
                Ok(policy) => policies.push((file, policy)),
                Err(wrong) => problems.0.extend(wrong.0),
            }
        }
        if !problems.0.is_empty() {
            return Err(problems.into());
        }
        self.choose(policies)
    }

    fn choose(&self, policies: Vec<(String, Policy)>) -> Result<Policies, ConfigError> {
        let mut named: BTreeMap<String, (String, Arc<Policy>)> = BTreeMap::new();
        let mut first = None;
        for (file, policy) in policies {
            let policy = Arc::new(policy);
            first.get_or_insert_with(|| policy.name.clone());
            if let Some((earlier, _)) = named.get(&policy.name) {
                let (first, name) = (earlier.clone(), policy.name.clone());
                return Err(ConfigError::SameName { name, first, second: file });
            }
            named.insert(policy.name.clone(), (file, policy));
        }
        let wanted = match &self.default {
            Some(name) => name.clone(),
            None if named.contains_key(DEFAULT) => DEFAULT.to_owned(),
            None => first.unwrap_or_else(|| DEFAULT.to_owned()),
        };
        let named: BTreeMap<String, Arc<Policy>> =
            named.into_iter().map(|(name, (_, policy))| (name, policy)).collect();
        let default = named.get(&wanted).cloned().ok_or_else(|| ConfigError::NoDefault {
            name: wanted,
            known: named.keys().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok(Policies { default, named })
    }

    /// Name and text of every policy.
    fn texts(&self) -> Result<Vec<(String, String)>, ConfigError> {
        if self.paths.is_empty() {
            let shipped = shipped().iter();
            return Ok(shipped.map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect());
        }
        let read = |path: &PathBuf| match std::fs::read_to_string(path) {
            Ok(text) => Ok((path.to_string_lossy().into_owned(), text)),
            Err(source) => Err(unreadable(path, source)),
        };
        self.files()?.iter().map(read).collect()
    }

    /// Every file, folders resolved, in a fixed order.
    fn files(&self) -> Result<Vec<PathBuf>, ConfigError> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let entries = std::fs::read_dir(path).map_err(|source| unreadable(path, source))?;
            let mut inside: Vec<PathBuf> = entries
                .filter_map(|entry| entry.ok().map(|entry| entry.path()))
                .filter(|file| file.extension().is_some_and(|extension| extension == "toml"))
                .collect();
            if inside.is_empty() {
                return Err(ConfigError::NoPolicies { path: path.clone() });
            }
            inside.sort();
            files.append(&mut inside);
        }
        Ok(files)
    }

    /// The files as they are on the disk now; a file that is being replaced shows as absent.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        let files = self.files().unwrap_or_else(|_| self.paths.clone());
        files
            .into_iter()
            .map(|file| {
                let seen = stamp(&file);
                (file, seen)
            })
            .collect()
    }
}

/// Time and length of a file as it is on the disk now.
pub(crate) fn stamp(file: &Path) -> Stamp {
    let meta = std::fs::metadata(file).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

fn unreadable(path: &Path, source: std::io::Error) -> ConfigError {
    ConfigError::Unreadable {
        path: path.to_owned(),
        source,
        help: "--policy and [policies] files name policy files or folders of them",
    }
}
