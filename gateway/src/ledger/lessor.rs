//! Leases of budget windows, from the server that has them.

use tollgate_policies::{AccountId, Quiet, Want};

use super::error::LedgerError;
use super::postgres::{Session, leases};
use super::recovery::Recovery;

pub(crate) use leases::Given;

/// The server, asked by one gateway.
pub struct Lessor {
    session: Session,
    gateway: String,
}

impl std::fmt::Debug for Lessor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lessor").field("gateway", &self.gateway).finish_non_exhaustive()
    }
}

impl Lessor {
    pub(super) fn new(url: &str, gateway: &str) -> Lessor {
        Lessor { session: Session::new(url), gateway: gateway.to_owned() }
    }

    pub(crate) fn lease(&mut self, wants: &[Want]) -> Result<Vec<Given>, LedgerError> {
        self.session.with(|client| leases::lease(client, &self.gateway, wants))
    }

    pub(crate) fn see(&mut self, accounts: &[AccountId]) -> Result<Vec<Given>, LedgerError> {
        self.session.with(|client| leases::see(client, &self.gateway, accounts))
    }

    pub(crate) fn give_back(&mut self, quiet: &[Quiet]) -> Result<(), LedgerError> {
        self.session.with(|client| leases::give_back(client, &self.gateway, quiet))
    }

    pub(crate) fn forget(&mut self, account: &AccountId) -> Result<(), LedgerError> {
        self.session.with(|client| leases::forget(client, &self.gateway, account))
    }

    pub(crate) fn beat(&mut self) -> Result<bool, LedgerError> {
        self.session.with(|client| leases::beat(client, &self.gateway))
    }

    pub(crate) fn sign_on(&mut self) -> Result<(), LedgerError> {
        self.session.with(|client| leases::sign_on(client, &self.gateway))
    }

    pub(crate) fn take_over(&mut self) -> Result<Recovery, LedgerError> {
        self.session.with(leases::take_over)
    }

    pub(crate) fn sign_off(&mut self) -> Result<(), LedgerError> {
        self.session.with(|client| leases::sign_off(client, &self.gateway))
    }
}
