//! Reads how an answer's tokens are picked and where it ends.

use super::super::error::ApiError;
use super::fields::Fields;
use crate::logprobs::MOST_ALTERNATIVES;
use crate::sample::Sampling;
use serde_json::Value;

/// Stop strings at most; OpenAI allows four, agents sometimes send more.
const MOST_STOPS: usize = 16;

/// `None` = as many as the context has room for.
pub(super) fn max_tokens(fields: &Fields<'_>) -> Result<Option<usize>, ApiError> {
    // The newer name wins, as it does for OpenAI.
    for name in ["max_completion_tokens", "max_tokens"] {
        if let Some(tokens) = fields.integer(name, 1..=i64::from(i32::MAX))? {
            return Ok(usize::try_from(tokens).ok());
        }
    }
    Ok(None)
}

/// Whether to say how likely tokens were, with so many alternatives.
pub(super) fn logprobs(fields: &Fields<'_>) -> Result<Option<usize>, ApiError> {
    let most = i64::try_from(MOST_ALTERNATIVES).unwrap_or(i64::MAX);
    let alternatives = fields.integer("top_logprobs", 0..=most)?;
    if !fields.flag("logprobs")?.unwrap_or(false) {
        return match alternatives {
            Some(_) => Err(ApiError::invalid("top_logprobs", "top_logprobs needs logprobs to be true.")),
            None => Ok(None),
        };
    }
    Ok(Some(usize::try_from(alternatives.unwrap_or(0)).unwrap_or(0)))
}

/// How tokens are picked.
pub(super) fn parse(fields: &Fields<'_>) -> Result<Sampling, ApiError> {
    let usual = Sampling::default();
    let number = |name, range, otherwise| fields.number(name, range).map(|value| value.unwrap_or(otherwise));
    Ok(Sampling {
        temperature: number("temperature", 0.0..=2.0, usual.temperature)?,
        top_p: number("top_p", 0.0..=1.0, usual.top_p)?,
        min_p: number("min_p", 0.0..=1.0, usual.min_p)?,
        top_k: match fields.integer("top_k", -1..=i64::from(i32::MAX))? {
            Some(count) => usize::try_from(count).unwrap_or(0),
            None => usual.top_k,
        },
        frequency_penalty: number("frequency_penalty", -2.0..=2.0, 0.0)?,
        presence_penalty: number("presence_penalty", -2.0..=2.0, 0.0)?,
        repeat_penalty: number(repeat_name(fields), 0.01..=10.0, 1.0)?,
        logit_bias: logit_bias(fields)?,
        // Any integer is a seed; negative ones by their bits.
        seed: fields.integer("seed", i64::MIN..=i64::MAX)?.map(i64::cast_unsigned),
    })
}

/// Texts that end the answer.
pub(super) fn stops(fields: &Fields<'_>) -> Result<Vec<String>, ApiError> {
    let wrong = || ApiError::invalid("stop", "stop must be a string or an array of strings.");
    let stops = match fields.value("stop") {
        None => return Ok(Vec::new()),
        Some(Value::String(stop)) => vec![stop.clone()],
        Some(Value::Array(stops)) => stops
            .iter()
            .map(|stop| stop.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        Some(_) => return Err(wrong()),
    };
    if stops.len() > MOST_STOPS {
        return Err(ApiError::invalid("stop", format!("stop may hold {MOST_STOPS} strings at most.")));
    }
    Ok(stops)
}

/// llama.cpp's name, or the one that vLLM and Hugging Face have for it.
fn repeat_name(fields: &Fields<'_>) -> &'static str {
    let theirs = fields.value("repeat_penalty").is_none() && fields.value("repetition_penalty").is_some();
    if theirs { "repetition_penalty" } else { "repeat_penalty" }
}

fn logit_bias(fields: &Fields<'_>) -> Result<Vec<(usize, f32)>, ApiError> {
    let name = "logit_bias";
    let Some(value) = fields.value(name) else { return Ok(Vec::new()) };
    let object = value
        .as_object()
        .ok_or_else(|| ApiError::invalid(name, "logit_bias must be an object of biases by token number."))?;
    let biases = Fields::at(object, name.to_owned());
    let mut read = Vec::new();
    for token in object.keys() {
        let number = token
            .parse()
            .map_err(|_| ApiError::invalid(name, format!("logit_bias: {token:?} is no token number.")))?;
        if let Some(bias) = biases.number(token, -100.0..=100.0)? {
            read.push((number, bias));
        }
    }
    Ok(read)
}
