//! A connection that is made anew after a failure.

use postgres::Client;

use super::connect;
use crate::ledger::LedgerError;

/// A server, and the connection to it.
pub(crate) struct Session {
    url: String,
    /// `None` after a failure: what is done next connects again.
    client: Option<Client>,
}

impl Session {
    /// Connects when it is first used.
    pub(crate) fn new(url: &str) -> Session {
        Session { url: url.to_owned(), client: None }
    }

    /// Goes on with a connection to the server at this url.
    pub(super) fn of(url: &str, client: Client) -> Session {
        Session { url: url.to_owned(), client: Some(client) }
    }

    /// Does some work on the server.
    pub(crate) fn with<T, E: From<LedgerError>>(
        &mut self,
        work: impl FnOnce(&mut Client) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.url)?,
        };
        let done = work(&mut client)?;
        self.client = Some(client);
        Ok(done)
    }
}
