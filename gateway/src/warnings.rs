//! `warn_at`: budgets that near their limits are told of, once a threshold and window, to the log, the metrics and a webhook.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tokio::task::JoinSet;
use tollgate_policies::{AccountState, Usd};

use crate::app::App;
use crate::config::SecretValue;
use crate::ledger::now_ms;
use crate::upstream::connector;

/// For a webhook to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Calls of the webhook at the same time; of more, only the log tells.
const CALLS: usize = 16;
/// Most of its answer that is read.
const ANSWER: usize = 64 * 1024;

/// What a webhook is sent.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Warning {
    /// One sentence: what Slack, Mattermost and their like show.
    pub text: String,
    /// The budget.
    pub budget: String,
    /// Whose counter it is; empty for a global one.
    pub subject: String,
    /// The share of the limit that was reached, as in `warn_at`.
    pub share: f64,
    /// The limit.
    pub limit_usd: Usd,
    /// Spent in this window.
    pub settled_usd: Usd,
    /// Held by requests in flight.
    pub held_usd: Usd,
}

impl Warning {
    fn of(state: &AccountState, share: f64) -> Warning {
        let whose = if state.subject.is_empty() { String::new() } else { format!(" of {:?}", state.subject) };
        let AccountState { budget, limit, settled, .. } = state;
        Warning {
            text: format!(
                "Tollgate: the budget {budget:?}{whose} has spent {settled} of {limit} USD ({:.0} % were to be told)",
                share * 100.0
            ),
            budget: budget.clone(),
            subject: state.subject.clone(),
            share,
            limit_usd: *limit,
            settled_usd: *settled,
            held_usd: state.held,
        }
    }
}

/// What was told already, and where to tell.
#[derive(Debug, Default)]
pub struct Warnings {
    told: HashMap<(String, String, u64), f64>,
    webhook: Option<Webhook>,
    calls: JoinSet<()>,
}

impl Warnings {
    /// Warnings that go to this webhook too.
    #[must_use]
    pub fn new(webhook: Option<Webhook>) -> Warnings {
        Warnings { webhook, ..Warnings::default() }
    }

    /// Looks at every budget and tells what is new. A gateway that was started again tells once more.
    pub fn look(&mut self, app: &App) {
        for warning in self.due(&app.budgets.snapshot(now_ms())) {
            tracing::warn!(
                budget = warning.budget,
                subject = warning.subject,
                share = warning.share,
                settled = %warning.settled_usd,
                limit = %warning.limit_usd,
                "a budget nears its limit"
            );
            app.metrics.budget_warned(&warning.budget);
            while self.calls.try_join_next().is_some() {}
            if let Some(webhook) = self.webhook.clone().filter(|_| self.calls.len() < CALLS) {
                self.calls.spawn(webhook.tell(warning));
            }
        }
    }

    /// What has to be told of budgets in this state.
    fn due(&mut self, states: &[AccountState]) -> Vec<Warning> {
        let key = |state: &AccountState| (state.budget.clone(), state.subject.clone(), state.window_start_ms);
        let mut due = Vec::new();
        for state in states {
            let Some(share) = state.warned else { continue };
            let told = self.told.entry(key(state)).or_insert(0.0);
            if share > *told {
                *told = share;
                due.push(Warning::of(state, share));
            }
        }
        if !self.told.is_empty() {
            // Ended windows are not told of again.
            let current: HashSet<_> = states.iter().map(key).collect();
            self.told.retain(|told, _| current.contains(told));
        }
        due
    }
}

/// An address that warnings are posted to as JSON.
#[derive(Clone)]
pub struct Webhook {
    address: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl std::fmt::Debug for Webhook {
    /// Without the address: it is often a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    /// A webhook at this address; `None` if it is not one.
    ///
    /// # Errors
    /// When the system's root certificates cannot be read.
    pub fn new(address: &SecretValue) -> std::io::Result<Option<Webhook>> {
        let uri: Option<Uri> = address.reveal().parse().ok();
        let uri =
            uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
        let Some(address) = uri else { return Ok(None) };
        let client = Client::builder(TokioExecutor::new()).build(connector(PATIENCE)?);
        Ok(Some(Webhook { address, client }))
    }

    /// Posts a warning; what goes wrong is logged, without the address.
    async fn tell(self, warning: Warning) {
        // Strings and numbers only: this cannot fail.
        let body = serde_json::to_vec(&warning).unwrap_or_default();
        let request = Request::post(self.address).header(CONTENT_TYPE, "application/json");
        let Ok(request) = request.body(Full::new(Bytes::from(body))) else { return };
        let posted = async {
            let response = self.client.request(request).await?;
            let status = response.status();
            // Read to its end, so that the connection can serve again.
            let _read = Limited::new(response.into_body(), ANSWER).collect().await;
            Ok::<_, hyper_util::client::legacy::Error>(status)
        };
        match tokio::time::timeout(PATIENCE, posted).await {
            Ok(Ok(status)) if status.is_success() => {}
            Ok(Ok(status)) => {
                tracing::warn!(%status, budget = warning.budget, "the webhook refused a warning")
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, budget = warning.budget, "the webhook cannot be reached")
            }
            Err(_) => tracing::warn!(budget = warning.budget, "the webhook does not answer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(subject: &str, window_start_ms: u64, warned: Option<f64>) -> AccountState {
        AccountState {
            budget: "team, daily".to_owned(),
            subject: subject.to_owned(),
            window_start_ms,
            limit: Usd::from_nanos(10),
            settled: Usd::from_nanos(8),
            held: Usd::ZERO,
            warned,
            price_of_money: 0.0,
        }
    }

    #[test]
    fn each_threshold_is_told_once_a_window() {
        let mut warnings = Warnings::default();
        let mut told = |states: &[AccountState]| -> Vec<(String, f64)> {
            warnings.due(states).into_iter().map(|warning| (warning.subject, warning.share)).collect()
        };
        assert!(told(&[state("a", 0, None)]).is_empty());
        assert_eq!(told(&[state("a", 0, Some(0.5)), state("b", 0, None)]), [("a".to_owned(), 0.5)]);
        assert!(told(&[state("a", 0, Some(0.5)), state("b", 0, None)]).is_empty());
        let both = [state("a", 0, Some(0.8)), state("b", 0, Some(0.5))];
        assert_eq!(told(&both), [("a".to_owned(), 0.8), ("b".to_owned(), 0.5)]);
        assert_eq!(told(&[state("a", 1, Some(0.5))]), [("a".to_owned(), 0.5)], "a new window");
    }
}
