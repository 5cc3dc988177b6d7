//! The live figures that other servers offer, in Tollgate's terms.
//!
//! vLLM, SGLang and llama-server tell them as Prometheus text, llama-server without `--metrics` as `/slots`, and
//! `tollgate engine` as `/stats`. Speeds are those of one answer, measured between two readings where a server counts
//! time and tokens, and kept from before while nothing happens.

use std::collections::HashMap;

use serde_json::Value;
use tollgate_engine::Stats;

/// Where figures are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Metrics,
    Stats,
    Slots,
}

impl Source {
    /// Every source, in the order in which they are tried.
    pub(super) const ALL: [Source; 3] = [Source::Metrics, Source::Stats, Source::Slots];

    pub(super) fn path(self) -> &'static str {
        match self {
            Source::Metrics => "/metrics",
            Source::Stats => "/stats",
            Source::Slots => "/slots",
        }
    }

    /// What an answer says; `None` where it is no such answer.
    pub(super) fn read(self, body: &[u8]) -> Option<Reading> {
        match self {
            Source::Metrics => Reading::of_metrics(std::str::from_utf8(body).ok()?),
            Source::Stats => {
                let value: Value = serde_json::from_slice(body).ok()?;
                value.get("tokens_per_second")?;
                serde_json::from_value(value).ok().map(|stats| Reading { stats, ..Reading::default() })
            }
            Source::Slots => Reading::of_slots(&serde_json::from_slice(body).ok()?),
        }
    }
}

/// One look at a server's figures.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Reading {
    stats: Stats,
    /// Seconds spent between tokens, and such pauses, since the server began.
    pauses: Option<(f64, f64)>,
    /// Seconds spent on reading prompts, and their tokens, since the server began.
    prompts: Option<(f64, f64)>,
}

impl Reading {
    /// The figures now, with speeds from what happened since the reading before.
    pub(super) fn stats(&self, before: Option<&Reading>, shown: &Stats) -> Stats {
        let speed = |now: Option<(f64, f64)>, before: Option<(f64, f64)>, shown: f64| {
            let (Some(now), before) = (now, before.unwrap_or((0.0, 0.0))) else { return shown };
            let (seconds, count) = (now.0 - before.0, now.1 - before.1);
            if seconds > 0.0 && count > 0.0 { count / seconds } else { shown }
        };
        let told = |own: f64, measured: f64| if own > 0.0 { own } else { measured };
        let (pauses, prompts) =
            (before.and_then(|reading| reading.pauses), before.and_then(|reading| reading.prompts));
        Stats {
            tokens_per_second: told(
                self.stats.tokens_per_second,
                speed(self.pauses, pauses, shown.tokens_per_second),
            ),
            prompt_tokens_per_second: told(
                self.stats.prompt_tokens_per_second,
                speed(self.prompts, prompts, shown.prompt_tokens_per_second),
            ),
            ..self.stats
        }
    }

    fn of_metrics(text: &str) -> Option<Reading> {
        let sums = sums(text);
        let first = |names: &[&str]| names.iter().find_map(|name| sums.get(name).copied());
        let active =
            first(&["vllm:num_requests_running", "llamacpp:requests_processing", "sglang:num_running_reqs"])?;
        let waiting =
            first(&["vllm:num_requests_waiting", "llamacpp:requests_deferred", "sglang:num_queue_reqs"]);
        let kv = first(&[
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "llamacpp:kv_cache_usage_ratio",
            "sglang:token_usage",
        ]);
        let pair = |sum: &[&str], count: &[&str]| Some((first(sum)?, first(count)?));
        let count = |value: f64| value.clamp(0.0, f64::from(u32::MAX)) as u32;
        let writers = active.max(1.0);
        Some(Reading {
            stats: Stats {
                active: count(active),
                queue_depth: count(waiting.unwrap_or(0.0)),
                // How many it takes at once none of them tells; but where some wait, all of that is taken.
                slots: waiting.filter(|waiting| *waiting > 0.0).map_or(0, |_| count(writers)),
                // SGLang tells the speed of all answers together.
                tokens_per_second: first(&["sglang:gen_throughput"]).map_or(0.0, |all| all / writers)
                    + first(&["llamacpp:predicted_tokens_seconds"]).unwrap_or(0.0),
                prompt_tokens_per_second: first(&["llamacpp:prompt_tokens_seconds"]).unwrap_or(0.0),
                kv_used_ratio: kv.unwrap_or(0.0).clamp(0.0, 1.0),
                // None of them tells.
                predicted_wait_seconds: 0.0,
                service_seconds: 0.0,
            },
            pauses: pair(
                &["vllm:inter_token_latency_seconds_sum", "vllm:time_per_output_token_seconds_sum"],
                &["vllm:inter_token_latency_seconds_count", "vllm:time_per_output_token_seconds_count"],
            ),
            prompts: pair(&["vllm:request_prefill_time_seconds_sum"], &["vllm:prompt_tokens_total"]),
        })
    }

    fn of_slots(slots: &Value) -> Option<Reading> {
        let slots = slots.as_array().filter(|slots| !slots.is_empty())?;
        let busy = slots.iter().filter(|slot| slot["is_processing"].as_bool() == Some(true)).count();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let stats = Stats { active: count(busy), slots: count(slots.len()), ..Stats::default() };
        Some(Reading { stats, ..Reading::default() })
    }
}

/// Every series of Prometheus text by its name, summed over its labels; shares are averaged.
fn sums(text: &str) -> HashMap<&str, f64> {
    let mut sums: HashMap<&str, (f64, u32)> = HashMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name_ends = line.find(['{', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(name_ends);
        let value = rest.rsplit_once('}').map_or(rest, |(_, value)| value);
        let Some(Ok(value)) = value.split_whitespace().next().map(str::parse::<f64>) else { continue };
        if value.is_finite() {
            let sum = sums.entry(name).or_default();
            *sum = (sum.0 + value, sum.1 + 1);
        }
    }
    let share =
        |name: &str| name.ends_with("_perc") || name.ends_with("_ratio") || name.ends_with("token_usage");
    sums.into_iter()
        .map(|(name, (sum, count))| (name, if share(name) { sum / f64::from(count.max(1)) } else { sum }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vllm(tokens: u32, seconds: f64) -> Reading {
        let text = format!(
            "# HELP vllm:num_requests_running Number of requests.\n\
             vllm:num_requests_running{{engine=\"0\",model_name=\"a b\"}} 3.0\n\
             vllm:num_requests_waiting{{engine=\"0\"}} 2.0\n\
             vllm:num_requests_waiting{{engine=\"1\"}} 5.0\n\
             vllm:kv_cache_usage_perc{{engine=\"0\"}} 0.25\n\
             vllm:kv_cache_usage_perc{{engine=\"1\"}} 0.75\n\
             vllm:time_per_output_token_seconds_sum{{engine=\"0\"}} {seconds}\n\
             vllm:time_per_output_token_seconds_count{{engine=\"0\"}} {tokens}\n"
        );
        Source::Metrics.read(text.as_bytes()).unwrap()
    }

    #[test]
    fn vllm_is_read_and_its_speed_measured_between_two_looks() {
        let (first, second) = (vllm(100, 10.0), vllm(150, 11.0));
        let shown = first.stats(None, &Stats::default());
        assert_eq!((shown.active, shown.queue_depth), (3, 7));
        assert!((shown.kv_used_ratio - 0.5).abs() < 1e-9 && (shown.tokens_per_second - 10.0).abs() < 1e-9);
        let shown = second.stats(Some(&first), &shown);
        assert!((shown.tokens_per_second - 50.0).abs() < 1e-9);
        let idle = second.stats(Some(&second), &shown);
        assert!((idle.tokens_per_second - 50.0).abs() < 1e-9, "kept while nothing happens");
    }

    #[test]
    fn llama_server_is_read_either_way() {
        let text = b"llamacpp:requests_processing 2\nllamacpp:requests_deferred 1\nllamacpp:predicted_tokens_seconds 12.5\n";
        let stats = Source::Metrics.read(text).unwrap().stats(None, &Stats::default());
        assert_eq!((stats.active, stats.queue_depth), (2, 1));
        assert!((stats.tokens_per_second - 12.5).abs() < 1e-9);
        let slots = br#"[{"id":0,"is_processing":true},{"id":1,"is_processing":false}]"#;
        let stats = Source::Slots.read(slots).unwrap().stats(None, &Stats::default());
        assert_eq!((stats.active, stats.slots), (1, 2));
    }

    #[test]
    fn what_is_no_figure_is_not_taken_for_one() {
        for source in Source::ALL {
            assert_eq!(source.read(b"<html>not found</html>"), None);
            assert_eq!(source.read(br#"{"error":{"message":"x"}}"#), None);
        }
        assert_eq!(Source::Metrics.read(b"go_goroutines 12\n"), None);
        let own = Source::Stats.read(br#"{"active":1,"tokens_per_second":9.0,"slots":4}"#).unwrap();
        assert_eq!((own.stats.active, own.stats.slots), (1, 4));
    }
}
