//! Charges in the columns of FOCUS, the FinOps Open Cost and Usage Specification (1.2), which cost tools read.
//!
//! A row is what one model of one engine cost one team and key in one hour. Columns that begin with `x_` are Tollgate's own, as the
//! specification provides for.

use std::io::Write;

use jiff::civil::DateTime;
use jiff::{ToSpan, Unit};

use super::error::LedgerError;
use super::reader::Reader;
use super::report::{Dimension, Line, Question};

const COLUMNS: [&str; 33] = [
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SubAccountId",
    "SubAccountName",
    "x_Requests",
    "x_PromptTokens",
    "x_BaselineCost",
    "x_SavedCost",
];

impl Reader {
    /// Writes charges as CSV in FOCUS's columns, a header first.
    ///
    /// # Errors
    /// [`LedgerError`] if the ledger cannot be read or `out` not written.
    pub fn export_focus(&self, since_ms: Option<u64>, out: &mut dyn Write) -> Result<(), LedgerError> {
        let by = vec![Dimension::Hour, Dimension::Engine, Dimension::Model, Dimension::Team, Dimension::Key];
        let report = self.report(&Question { by, since_ms, until_ms: None })?;
        let mut table = csv::Writer::from_writer(out);
        let failed = |error: csv::Error| self.output(std::io::Error::other(error));
        table.write_record(COLUMNS).map_err(failed)?;
        for line in &report.lines {
            if let Some(row) = row(line) {
                table.write_record(row).map_err(failed)?;
            }
        }
        table.flush().map_err(|source| self.output(source))
    }
}

/// One charge; `None` if its hour is not one.
fn row(line: &Line) -> Option<[String; 33]> {
    let group = |index: usize| line.group.get(index).cloned().flatten().unwrap_or_default();
    let (engine, model, team, key) = (group(1), group(2), group(3), group(4));
    let hour: DateTime = group(0).replace(' ', "T").parse().ok()?;
    let month = hour.first_of_month().start_of_day();
    let utc = |at: DateTime| format!("{at}Z");
    let round = |at: DateTime| at.round(Unit::Second).unwrap_or(at);
    let tokens = (line.prompt_tokens + line.completion_tokens).to_string();
    let cost = line.cost_usd.to_string();
    Some([
        cost.clone(),
        "tollgate".to_owned(),
        "Tollgate".to_owned(),
        "USD".to_owned(),
        utc(month),
        utc(round(month.checked_add(1.month()).ok()?)),
        "Usage".to_owned(),
        String::new(),
        format!("{} requests to {model}", line.requests),
        "Usage-Based".to_owned(),
        utc(hour),
        utc(round(hour.checked_add(1.hour()).ok()?)),
        tokens.clone(),
        "Tokens".to_owned(),
        cost.clone(),
        cost.clone(),
        engine.clone(),
        cost,
        tokens,
        "Tokens".to_owned(),
        engine.clone(),
        engine.clone(),
        format!("{engine}/{model}"),
        model,
        "Model".to_owned(),
        "AI and Machine Learning".to_owned(),
        "Large Language Models".to_owned(),
        if key.is_empty() { team.clone() } else { key },
        team,
        line.requests.to_string(),
        line.prompt_tokens.to_string(),
        line.baseline_usd.to_string(),
        line.saved_usd.to_string(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_policies::Usd;

    #[test]
    fn an_hour_of_december_ends_in_the_next_year() {
        let group =
            ["2026-12-31 23:00", "cloud", "large", "search", "alice"].map(|text| Some(text.to_owned()));
        let line = Line {
            group: group.into(),
            requests: 2,
            prompt_tokens: 30,
            completion_tokens: 12,
            cost_usd: Usd::from_nanos(1_250_000),
            ..Line::default()
        };
        let row = row(&line).unwrap();
        let at = |name: &str| row[COLUMNS.iter().position(|column| *column == name).unwrap()].as_str();
        assert_eq!(
            (at("ChargePeriodStart"), at("ChargePeriodEnd")),
            ("2026-12-31T23:00:00Z", "2027-01-01T00:00:00Z")
        );
        assert_eq!(
            (at("BillingPeriodStart"), at("BillingPeriodEnd")),
            ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z")
        );
        assert_eq!(
            (at("BilledCost"), at("ConsumedQuantity"), at("SubAccountId")),
            ("0.001250", "42", "alice")
        );
    }
}
