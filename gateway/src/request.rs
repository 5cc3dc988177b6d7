//! What a chat request asks for beside its text, read once from its headers and its key.
//!
//! Every header is checked here; a wrong one is an error that names it, never silently ignored.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_policies::{Policy, Spender, Usd, run_subject};

use crate::app::App;
use crate::call::Call;
use crate::headers::{EXPLAIN, MAX_COST, QUALITY, RUN, SESSION, TAGS, invalid};
use crate::wire::error::Fault;
use crate::wire::openai::Chat;

pub use crate::body::Body;

/// Longest run id, tag name or tag value, bytes.
const LONGEST_NAME: usize = 200;
/// Most tags a request may carry.
const MOST_TAGS: usize = 32;

/// Who asks, on whose account, and under which policy and limits.
#[derive(Debug)]
pub struct Ask {
    /// The policy that decides.
    pub policy: Arc<Policy>,
    /// The catalogue name asked for, if the choice is not left to the policy.
    pub pinned: Option<String>,
    /// Id of the virtual key, if any.
    pub key_id: Option<String>,
    /// What policies and budgets call that key.
    pub key_name: Option<String>,
    /// Models the key may use; `None` = all.
    pub allowed: Option<Vec<String>>,
    /// Team charged.
    pub team: Option<String>,
    /// Agent run, never empty.
    pub run: Option<String>,
    /// The same as budgets count it: a run is of whoever began it.
    pub run_subject: Option<String>,
    /// Tags, the key's own included.
    pub tags: BTreeMap<String, String>,
    /// Most the request may cost.
    pub max_cost: Option<Usd>,
    /// Share of the baseline's quality wanted.
    pub quality: Option<f64>,
    /// Whether the whole decision is sent back.
    pub explain: bool,
}

impl Ask {
    /// Reads the headers of a call and resolves the model it names.
    ///
    /// # Errors
    /// [`Fault::Invalid`] naming the header, [`Fault::UnknownModel`], [`Fault::Forbidden`].
    pub fn read(app: &App, call: &Call, chat: &Chat<'_>) -> Result<Ask, Fault> {
        let (policy, pinned) = resolve(app, &chat.model)?;
        let key = call.key.as_deref();
        if let (Some(key), Some(model)) = (key, &pinned)
            && !key.may_use(model)
        {
            let allowed = key.models.as_deref().unwrap_or_default().join(", ");
            return Err(Fault::Forbidden { model: model.clone(), allowed });
        }
        let mut tags = tags(call.header(TAGS).unwrap_or_default())?;
        tags.extend(key.into_iter().flat_map(|key| key.tags.clone()));
        let run = run(call)?;
        // Not the team of a tag, which anybody may write.
        let team = key.and_then(|key| key.team.as_deref());
        let owned = |run: &String| run_subject(key.map(|key| key.name.as_str()), team, run);
        Ok(Ask {
            policy,
            pinned,
            key_id: key.map(|key| key.id.clone()),
            key_name: key.map(|key| key.name.clone()),
            allowed: key.and_then(|key| key.models.clone()),
            team: key.and_then(|key| key.team.clone()).or_else(|| tags.get("team").cloned()),
            run_subject: run.as_ref().map(owned),
            run,
            max_cost: max_cost(call)?,
            quality: quality(call)?,
            explain: explain(call)?,
            tags,
        })
    }

    /// On whose account the request spends.
    #[must_use]
    pub fn spender(&self) -> Spender<'_> {
        Spender {
            key: self.key_name.as_deref(),
            team: self.team.as_deref(),
            tags: &self.tags,
            run: self.run_subject.as_deref(),
            learning: None,
        }
    }
}

/// `auto`, `auto:NAME` or a catalogue name.
fn resolve(app: &App, model: &str) -> Result<(Arc<Policy>, Option<String>), Fault> {
    let policies = app.policies.load();
    if model == "auto" {
        return Ok((Arc::clone(&policies.default), None));
    }
    if let Some(name) = model.strip_prefix("auto:") {
        let policy = policies.named.get(name).ok_or_else(|| {
            let known =
                policies.named.keys().map(|name| format!("auto:{name}")).collect::<Vec<_>>().join(", ");
            Fault::UnknownModel { message: format!("there is no policy {name:?}; there are: {known}") }
        })?;
        return Ok((Arc::clone(policy), None));
    }
    if app.catalog.find(model).is_none() {
        let known =
            app.catalog.models().iter().map(|model| model.name.as_str()).collect::<Vec<_>>().join(", ");
        let message =
            format!("the model {model:?} does not exist; use \"auto\" to be routed, or one of: {known}");
        return Err(Fault::UnknownModel { message });
    }
    Ok((Arc::clone(&policies.default), Some(model.to_owned())))
}

fn explain(call: &Call) -> Result<bool, Fault> {
    match call.header(EXPLAIN).map(str::trim) {
        None | Some("" | "0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(text) => Err(invalid(EXPLAIN, format!("`{EXPLAIN}` is 1 or 0, not {text:?}"))),
    }
}

/// `team=search,env=prod`.
fn tags(text: &str) -> Result<BTreeMap<String, String>, Fault> {
    let mut tags = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) =
            pair.split_once('=').map(|(name, value)| (name.trim(), value.trim())).ok_or_else(|| {
                invalid(
                    TAGS,
                    format!("`{TAGS}` is a list like \"team=search,env=prod\"; {pair:?} has no `=`"),
                )
            })?;
        if name.is_empty() || name.len() > LONGEST_NAME || value.len() > LONGEST_NAME {
            return Err(invalid(TAGS, format!("`{TAGS}`: names and values have 1 to {LONGEST_NAME} bytes")));
        }
        tags.insert(name.to_owned(), value.to_owned());
    }
    if tags.len() > MOST_TAGS {
        return Err(invalid(
            TAGS,
            format!("`{TAGS}` has {} tags; at most {MOST_TAGS} are taken", tags.len()),
        ));
    }
    Ok(tags)
}

fn run(call: &Call) -> Result<Option<String>, Fault> {
    let named = [RUN, SESSION].into_iter().find_map(|name| call.header(name).map(|id| (name, id.trim())));
    match named {
        Some((name, id)) if id.len() > LONGEST_NAME => {
            Err(invalid(name, format!("`{name}` has at most {LONGEST_NAME} bytes")))
        }
        Some((_, id)) if !id.is_empty() => Ok(Some(id.to_owned())),
        _ => Ok(None),
    }
}

fn max_cost(call: &Call) -> Result<Option<Usd>, Fault> {
    let Some(text) = call.header(MAX_COST) else { return Ok(None) };
    // JavaScript writes small amounts as 1e-7; what is below a nanodollar is nothing.
    let decimal = |text: &str| match text.parse::<f64>() {
        Ok(amount) if text.contains(['e', 'E']) && amount.is_finite() => format!("{amount:.9}"),
        _ => text.to_owned(),
    };
    let usd: Result<Usd, _> = decimal(text.trim()).parse();
    match usd {
        Ok(usd) if usd >= Usd::ZERO => Ok(Some(usd)),
        _ => Err(invalid(MAX_COST, format!("`{MAX_COST}` is an amount in USD such as 0.002, not {text:?}"))),
    }
}

fn quality(call: &Call) -> Result<Option<f64>, Fault> {
    let Some(text) = call.header(QUALITY) else { return Ok(None) };
    match text.trim().parse::<f64>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => Ok(Some(quality)),
        _ => Err(invalid(QUALITY, format!("`{QUALITY}` is a number from 0 to 1, not {text:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_pairs() {
        let read = tags(" team = search , env=prod,").unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [("env".to_owned(), "prod".to_owned()), ("team".to_owned(), "search".to_owned())]
        );
        assert!(tags("team").is_err());
        assert!(tags("=x").is_err());
        assert!(tags(&"a".repeat(300)).is_err());
    }
}
