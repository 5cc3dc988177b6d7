//! What a decision leaves to chance: a share of the requests goes to models that are not the best, so that they are known
//! better, and the probability of what was drawn is kept exactly.

use crate::decision::{Decision, PINNED, Verdict};

/// What was left to chance about a decision.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Chance {
    /// Nothing.
    #[default]
    Nothing,
    /// The first was drawn.
    Drawn(Draw),
    /// What was drawn could not be had, and something else was decided: how probable that was cannot be told any more.
    Lost,
}

/// From what the first was drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Draw {
    /// Places in the catalogue; the first is the best.
    arms: Vec<usize>,
    /// The probability of each but the best.
    each: f64,
}

impl Draw {
    fn propensity(&self, place: usize) -> f64 {
        match self.arms.iter().position(|arm| *arm == place) {
            Some(0) => 1.0 - self.each * (self.arms.len() - 1) as f64,
            Some(_) => self.each,
            None => 0.0,
        }
    }
}

impl Decision {
    /// Spreads a share of the requests, `floor`, evenly over all models that may answer and that `can_pay` says can be paid
    /// (ε-greedy; Sutton and Barto, Reinforcement Learning, 2.2): without it a model never chosen would never be known
    /// better. `draw`, from 0 to below 1, is the caller's, so that the decision stays one that can be repeated. Whatever
    /// may still keep a model from answering must be known to `can_pay`: a model that is drawn and then refused would leave
    /// its probability to another. A model asked for by name stays, a bound on losses leaves nothing to chance, and nor does
    /// a best model that cannot be paid: whoever decides again explores then.
    pub fn explore(&mut self, floor: f64, draw: f64, can_pay: impl Fn(&Verdict) -> bool) {
        let floor = floor.min(0.5);
        if floor <= 0.0 || self.route == PINNED || self.terms.bound.is_some() {
            return;
        }
        let paid = |place: &usize| can_pay(&self.verdicts[*place]);
        let arms: Vec<usize> = self.ranked.iter().copied().filter(paid).collect();
        if arms.len() < 2 || arms[0] != self.ranked[0] {
            return;
        }
        let each = floor / arms.len() as f64;
        let drawn = arms.get((draw / each) as usize).copied().unwrap_or(arms[0]);
        if drawn != arms[0] {
            self.ranked.retain(|place| *place != drawn);
            self.ranked.insert(0, drawn);
            self.reason = format!("explored: {} was drawn to be learned from", self.verdicts[drawn].model);
        }
        let draw = Draw { arms, each };
        self.propensity = draw.propensity(drawn);
        self.chance = Chance::Drawn(draw);
    }

    /// Whether the first was drawn, or was decided because what was drawn could not be had.
    #[must_use]
    pub fn is_drawn(&self) -> bool {
        self.chance != Chance::Nothing
    }

    /// This was decided because what was drawn could not be had.
    pub fn lose_chance(&mut self) {
        self.chance = Chance::Lost;
        self.propensity = 0.0;
    }

    /// Probability with which the model at this place came first; `None` where it cannot be told.
    #[must_use]
    pub fn propensity_of(&self, place: usize) -> Option<f64> {
        match &self.chance {
            Chance::Nothing => Some(f64::from(u8::from(self.ranked[0] == place))),
            Chance::Drawn(draw) => Some(draw.propensity(place)),
            Chance::Lost => None,
        }
    }

    /// Whether something can be learned of the models from what comes of it: it was decided here and now, and how probable
    /// it was is known.
    #[must_use]
    pub fn teaches(&self) -> bool {
        !self.kept && self.chance != Chance::Lost
    }

    /// The probability of the least probable of those that might have come first.
    pub(crate) fn least_propensity(&self) -> f64 {
        match &self.chance {
            Chance::Drawn(draw) => draw.each,
            Chance::Nothing | Chance::Lost => 0.0,
        }
    }

    /// Whether the model at this place might have come first: of those that may answer the ones that could be drawn, if any was.
    pub(crate) fn might_answer(&self, place: usize) -> bool {
        match &self.chance {
            Chance::Drawn(draw) => draw.arms.contains(&place),
            Chance::Nothing | Chance::Lost => self.verdicts[place].refused.is_none(),
        }
    }
}
