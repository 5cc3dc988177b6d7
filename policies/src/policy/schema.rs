//! The JSON Schema of policy files, for editors that complete and check as one types.

use serde_json::{Value, json};

use crate::condition::FACTS;
use crate::policy::budgets::{ON_EXHAUSTED, PACES, WINDOWS};
use crate::policy::learn::{MOST_EXPLORE, MOST_SHARE};
use crate::policy::read::HOLD_TOKENS;

/// The JSON Schema (draft 2020-12) of a policy file, as text.
///
/// It is a little more lenient than [`check`](crate::check), which also reads the conditions.
pub fn json_schema() -> String {
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Tollgate policy",
        "description": "How requests are routed and what they may cost. See docs/policies.md.",
        "type": "object",
        "required": ["policy"],
        "additionalProperties": false,
        "properties": {
            "policy": section("What the policy is called and compared with.", &["name", "baseline"], json!({
                "name": name("Callers ask for it as auto:NAME.", "^[!-~]+$"),
                "baseline": text("The catalogue model that savings are counted against."),
            })),
            "objective": section("Decides among the candidates that rules leave.", &[], json!({
                "quality": share("Share of the baseline's expected quality to keep on average.", 0.95),
                "max_loss": { "type": "number", "minimum": 0, "maximum": 1,
                    "description": "Largest share of what goes below the baseline that may be lost, with 95 % confidence; needs a calibration." },
                "pace": { "type": "boolean", "default": false, "description": "Let the price of money of each budget weigh, so that its money lasts for its window." },
                "latency_weight": { "type": "number", "minimum": 0, "maximum": 100, "default": 1.0,
                    "description": "What missing the deadline costs, as a share of quality." },
            })),
            "rule": list(rule()),
            "stick": section("When to decide afresh within a conversation.", &[], json!({
                "decide": { "enum": ["request", "user_turn", "run"], "default": "request" },
            })),
            "escalate": section("Answer small first, go up before the first byte if unsure.", &["when"], json!({
                "when": condition(),
                "hold_tokens": { "type": "integer", "minimum": 1, "maximum": 512, "default": HOLD_TOKENS,
                    "description": "Tokens held back while it is unknown." },
            })),
            "learn": section("How the router learns from this policy's traffic.", &[], json!({
                "share": { "type": "number", "minimum": 0, "maximum": MOST_SHARE, "default": 0,
                    "description": "Share of the requests answered below the baseline that the baseline is asked too." },
                "limit_usd": { "type": "number", "minimum": 0, "description": "Dollars that asking twice may cost in one window." },
                "window": { "enum": ["1h", "1d", "1w", "1mo"], "default": "1d" },
                "judge": text("The model that judges answers which cannot be compared."),
                "explore": { "type": "number", "minimum": 0, "maximum": MOST_EXPLORE, "default": 0,
                    "description": "Share of the requests spread evenly over all models that may answer." },
                "promote": { "type": "boolean", "default": false, "description": "Put abilities in force that are shown to be better." },
            })),
            "budget": list(budget()),
        },
    });
    format!("{schema:#}")
}

fn rule() -> Value {
    let mut rule = section(
        "Narrows the candidates, or moves the quality, where its condition holds.",
        &["name", "when"],
        json!({
            "name": name("Told to callers in x-tollgate-route.", "^[ -~]+$"),
            "when": condition(),
            "use": names("Only these catalogue models."),
            "min_bits": { "type": "integer", "minimum": 1, "maximum": 64, "description": "Only models with at least this many bits per weight." },
            "regions": names("Only models in one of these regions."),
            "quality": share("The quality wanted here instead of the objective's.", 0.95),
        }),
    );
    rule["anyOf"] =
        ["use", "min_bits", "regions", "quality"].iter().map(|key| json!({ "required": [key] })).collect();
    rule
}

fn budget() -> Value {
    let words = |words: Vec<&str>| json!({ "enum": words });
    let subject = text("A name, or \"*\" for each one apart.");
    section(
        "A limit on spending.",
        &["name", "scope", "limit_usd", "window"],
        json!({
            "name": name("Counters are kept under it.", "^[ -~]+$"),
            "scope": { "description": "Whose spending counts.", "anyOf": [
                { "type": "string", "pattern": "^(global|run|key|team|tag\\..+)$" },
                { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": false,
                  "properties": { "key": subject, "team": subject,
                      "tag": { "type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": subject } },
                  "patternProperties": { "^tag\\..+$": subject } },
            ] },
            "limit_usd": { "type": "number", "minimum": 0, "description": "Dollars that may be settled and held in one window." },
            "window": words(WINDOWS.iter().map(|(word, _)| *word).collect()),
            "on_exhausted": words(ON_EXHAUSTED.iter().map(|(word, _)| *word).collect()),
            "warn_at": { "type": "array", "items": { "type": "number", "exclusiveMinimum": 0, "maximum": 1 },
                "description": "Shares of the limit worth a warning, ascending." },
            "pace": { "enum": PACES.map(|(word, _)| word), "default": "even",
                "description": "How the money is spread over the window, for policies with `pace`." },
        }),
    )
}

fn section(description: &str, required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "description": description, "required": required,
        "additionalProperties": false, "properties": properties })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn text(description: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "description": description })
}

fn name(description: &str, pattern: &str) -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 80, "pattern": pattern, "description": description })
}

fn names(description: &str) -> Value {
    json!({ "type": "array", "minItems": 1, "items": { "type": "string" }, "description": description })
}

fn share(description: &str, example: f64) -> Value {
    json!({ "type": "number", "minimum": 0, "maximum": 1, "description": description, "examples": [example] })
}

fn condition() -> Value {
    let facts: Vec<&str> = FACTS.iter().map(|fact| fact.name).collect();
    text(&format!("A CEL condition over {}.", facts.join(", ")))
}
