//! What rules may ask about a request, as far as its score says.

use std::collections::BTreeMap;

use tollgate_policies::Facts;

use crate::classify::Score;

impl Score {
    /// The facts of a plain request of one turn: `auto`, whole, no tools, on nobody's account, without a deadline.
    /// Whatever else is known is for the caller to fill in.
    ///
    /// `prompt_tokens` is what the prompt is expected to have, `quality` the share of the baseline's that is wanted.
    #[must_use]
    pub fn facts<'a>(
        &self,
        prompt_tokens: u64,
        tags: &'a BTreeMap<String, String>,
        quality: f64,
    ) -> Facts<'a> {
        Facts {
            domain: self.domain,
            difficulty: f64::from(self.difficulty),
            p_small: f64::from(self.p_small),
            p_large: f64::from(self.p_large),
            familiar: self.familiar,
            confidence: 1.0,
            prompt_tokens,
            output_tokens_p50: u64::from(self.output.p50),
            output_tokens_p90: u64::from(self.output.p90),
            tools: false,
            images: false,
            json: false,
            stream: false,
            model: "auto",
            key: "",
            team: "",
            run: "",
            tags,
            turns: 1,
            deadline_ms: 0,
            quality,
        }
    }
}
