//! The ledger in PostgreSQL: the same receipts, holds, windows and keys, for one gateway or several.
//!
//! Every gateway writes in groups, as to a file. The chain's end is a row that each commit locks, so receipts of all gateways are one
//! chain. What is a gateway's own (holds, leases) carries the id that it drew at its start.

mod apply;
mod content;
mod keys;
pub(crate) mod leases;
mod prune;
mod read;
mod schema;
mod session;

use std::time::Duration;

use postgres::{Client, Config};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::LedgerError;
use super::location::Location;

pub(crate) use apply::ServerStore;
pub(crate) use content::forget_contents;
pub(crate) use keys::ServerKeys;
pub(crate) use leases::open;
pub(crate) use prune::prune;
pub(crate) use read::ServerReader;
pub(crate) use schema::migrate;
pub(crate) use session::Session;

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// For the network to acknowledge what was sent: a connection that is cut without a word ends then.
const ACKNOWLEDGE: Duration = Duration::from_secs(10);
/// Everything lies in a schema of its own.
const SCHEMA: &str = "tollgate";

/// Connects; what is there may be an empty database.
///
/// # Errors
/// [`LedgerError::Unreachable`]
pub(crate) fn connect(url: &str) -> Result<Client, LedgerError> {
    let unreachable =
        |source| LedgerError::Unreachable { location: Location::Server(url.to_owned()).to_string(), source };
    let mut config: Config = url.parse().map_err(unreachable)?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    config.tcp_user_timeout(ACKNOWLEDGE).keepalives_idle(ACKNOWLEDGE).application_name("tollgate");
    let options = format!(
        "{} -c search_path={SCHEMA} -c client_min_messages=warning -c lock_timeout=10s -c idle_in_transaction_session_timeout=30s",
        config.get_options().unwrap_or_default()
    );
    config.options(options.trim_start());
    config.connect(tls()).map_err(unreachable)
}

/// TLS by the system's root certificates, where the url asks for it or the server offers it.
fn tls() -> MakeRustlsConnect {
    let mut roots = RootCertStore::empty();
    let found: Vec<CertificateDer<'static>> = rustls_native_certs::load_native_certs().certs;
    roots.add_parsable_certificates(found);
    MakeRustlsConnect::new(
        rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
    )
}

/// PostgreSQL's integers are signed; times, counts and money never come near the edge.
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
