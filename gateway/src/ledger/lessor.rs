//! Leases of budget windows, from the server that has them.

use postgres::Client;
use tollgate_policies::{AccountId, Quiet, Want};

use super::error::LedgerError;
use super::postgres::{connect, leases};
use super::recovery::Recovery;

pub(crate) use leases::Given;

/// The server, asked by one gateway.
pub struct Lessor {
    url: String,
    gateway: String,
    /// `None` after a failure: the next question connects again.
    client: Option<Client>,
}

impl std::fmt::Debug for Lessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lessor").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Lessor {
    pub(super) fn new(url: &str, gateway: &str) -> Lessor {
        Lessor { url: url.to_owned(), gateway: gateway.to_owned(), client: None }
    }

    pub(crate) fn lease(&mut self, wants: &[Want]) -> Result<Vec<Given>, LedgerError> {
        self.with(|client, gateway| leases::lease(client, gateway, wants))
    }

    pub(crate) fn see(&mut self, accounts: &[AccountId]) -> Result<Vec<Given>, LedgerError> {
        self.with(|client, gateway| leases::see(client, gateway, accounts))
    }

    pub(crate) fn give_back(&mut self, quiet: &[Quiet]) -> Result<(), LedgerError> {
        self.with(|client, gateway| leases::give_back(client, gateway, quiet))
    }

    pub(crate) fn forget(&mut self, account: &AccountId) -> Result<(), LedgerError> {
        self.with(|client, gateway| leases::forget(client, gateway, account))
    }

    pub(crate) fn beat(&mut self) -> Result<bool, LedgerError> {
        self.with(leases::beat)
    }

    pub(crate) fn sign_on(&mut self) -> Result<(), LedgerError> {
        self.with(leases::sign_on)
    }

    pub(crate) fn take_over(&mut self) -> Result<Recovery, LedgerError> {
        self.with(|client, _| leases::take_over(client))
    }

    pub(crate) fn sign_off(&mut self) -> Result<(), LedgerError> {
        self.with(leases::sign_off)
    }

    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Client, &str) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            _ => connect(&self.url)?,
        };
        let done = work(&mut client, &self.gateway)?;
        self.client = Some(client);
        Ok(done)
    }
}
