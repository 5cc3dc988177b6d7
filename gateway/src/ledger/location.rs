//! Which ledger: a file of SQLite's, or a database of PostgreSQL's.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::LedgerError;
use super::open::path_of_url;

/// Where a ledger is. Shown without a password.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// A file, for one gateway.
    File(PathBuf),
    /// A server's database, for one or several; the url has the password.
    Server(String),
}

impl Location {
    /// The ledger named by `[ledger] url`; relative files lie in `data_dir`.
    ///
    /// # Errors
    /// [`LedgerError::Url`] for anything but `sqlite:FILE` and `postgres://…`.
    pub fn of_url(url: &str, data_dir: &Path) -> Result<Location, LedgerError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let parsed: Result<postgres::Config, _> = url.parse();
            return match parsed {
                Ok(_) => Ok(Location::Server(url.to_owned())),
                // What is wrong with it may be the password: the url is not repeated.
                Err(error) => Err(LedgerError::Url { url: format!("postgres://… ({error})") }),
            };
        }
        path_of_url(url, data_dir).map(Location::File)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = match self {
            Location::File(path) => return write!(f, "{}", path.display()),
            Location::Server(url) => url,
        };
        let Ok(config) = url.parse::<postgres::Config>() else { return f.write_str("postgres://…") };
        let hosts = config.get_hosts().iter().map(|host| match host {
            postgres::config::Host::Tcp(name) => name.clone(),
            postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let hosts: Vec<String> = hosts.collect();
        write!(f, "postgres://{}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let base = Path::new("/data");
        let server =
            Location::of_url("postgres://me:s3cret@db.example:5433/money?sslmode=require", base).unwrap();
        assert_eq!(server.to_string(), "postgres://db.example/money");
        assert!(!format!("{server:?}").contains("s3cret"));
        let wrong = Location::of_url("postgres://me:s3cret@db:notaport/x", base).unwrap_err().to_string();
        assert!(!wrong.contains("s3cret"), "{wrong}");
        assert_eq!(Location::of_url("sqlite:a.db", base).unwrap(), Location::File("/data/a.db".into()));
        assert!(Location::of_url("mysql://x", base).is_err());
    }
}
