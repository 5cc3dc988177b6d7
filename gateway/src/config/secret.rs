//! Secrets by reference: `tollgate.toml` says where a secret is, never what it is.
//!
//! `env:NAME` reads an environment variable, `file:PATH` a file's first line. The value is read once at start and
//! never shown by `Debug`.

use std::fmt;
use std::path::Path;

use super::ConfigError;

/// A secret's value; `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// The value in clear, for the header it belongs in.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable.
    Env(String),
    /// A file.
    File(String),
}

impl SecretRef {
    /// Reads `env:NAME` or `file:PATH`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<SecretRef> {
        match text.split_once(':')? {
            ("env", name) if !name.is_empty() => Some(SecretRef::Env(name.to_owned())),
            ("file", path) if !path.is_empty() => Some(SecretRef::File(path.to_owned())),
            _ => None,
        }
    }

    /// Fetches the value; a relative file lies beside the configuration.
    ///
    /// # Errors
    /// [`ConfigError::Secret`] naming the reference, never the value.
    pub fn fetch(&self, base: &Path) -> Result<SecretValue, ConfigError> {
        let failed = |reference: String, reason: String| ConfigError::Secret { reference, reason };
        let value = match self {
            SecretRef::Env(name) => std::env::var(name).map_err(|_| {
                failed(format!("env:{name}"), "the environment variable is not set".to_owned())
            })?,
            SecretRef::File(path) => std::fs::read_to_string(base.join(path))
                .map_err(|error| failed(format!("file:{path}"), error.to_string()))?,
        };
        let first_line = value.lines().next().unwrap_or_default().trim();
        if first_line.is_empty() || !first_line.bytes().all(|byte| byte.is_ascii_graphic()) {
            let reason = "it must be one line of visible ASCII characters".to_owned();
            return Err(failed(self.to_string(), reason));
        }
        Ok(SecretValue(first_line.to_owned()))
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretRef::Env(name) => write!(f, "env:{name}"),
            SecretRef::File(path) => write!(f, "file:{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), "sk-very-secret\n").unwrap();
        let value = SecretRef::parse("file:key").unwrap().fetch(folder.path()).unwrap();
        assert_eq!(value.reveal(), "sk-very-secret");
        assert_eq!(format!("{value:?}"), "SecretValue(…)");
        assert_eq!(SecretRef::parse("sk-very-secret"), None);
        let missing = SecretRef::parse("env:TOLLGATE_NO_SUCH_VARIABLE").unwrap().fetch(folder.path());
        assert!(missing.unwrap_err().to_string().contains("env:TOLLGATE_NO_SUCH_VARIABLE"));
    }
}
