use super::*;
use crate::ability::Ability;
use crate::choice::Candidate;
use crate::objective;
use tollgate_policies::Usd;

/// Numbers in 0..1, always the same for one seed.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Two models over prompts of every difficulty, `small` fifty times cheaper.
struct World {
    truth: Abilities,
    draws: Draws,
    asked: u64,
}

fn abilities(small: impl Into<Ability>) -> Abilities {
    [("small".to_owned(), small.into()), ("large".to_owned(), Ability::from(1.0))].into()
}

impl World {
    fn new(small: impl Into<Ability>, seed: u64) -> World {
        World { truth: abilities(small), draws: Draws(seed), asked: 0 }
    }

    fn choice(&mut self) -> Choice {
        let candidate = |model: &str, cost| Candidate {
            model: model.to_owned(),
            cost: Usd::from_nanos(cost),
            p_late: 0.0,
        };
        let easy = self.draws.next();
        Choice {
            p_small: (0.15 + 0.7 * easy) as f32,
            p_large: (0.7 + 0.25 * easy) as f32,
            domain: if self.draws.next() < 0.5 { "math" } else { "chat" }.to_owned(),
            bound: None,
            gap: 0.05,
            price_of_money: 1.0,
            latency_weight: 0.0,
            baseline: "large".to_owned(),
            candidates: vec![candidate("small", 1_000_000), candidate("large", 50_000_000)],
            each: 0.0,
            router: None,
        }
    }

    fn good(&mut self, choice: &Choice, model: &str) -> bool {
        let p_good = choice.p_good(&self.truth[model]);
        self.draws.next() < p_good
    }

    /// A request served as `abilities` say, exploring with this floor, and judged by its user.
    fn judged(&mut self, in_force: &Abilities, floor: f64) -> Outcome {
        self.asked += 1;
        let choice = Choice { each: floor / 2.0, ..self.choice() };
        let best = choice.take(in_force).unwrap().model.clone();
        let explored = self.draws.next() < floor / 2.0;
        let other = if best == "small" { "large" } else { "small" };
        let model = if explored { other.to_owned() } else { best };
        let propensity = if explored { floor / 2.0 } else { 1.0 - floor / 2.0 };
        let good = self.good(&choice, &model);
        Outcome {
            request: format!("req_{}", self.asked),
            choice,
            model,
            good,
            propensity,
            asked_twice: false,
        }
    }

    /// A request that was drawn to be asked twice: nothing is judged where it goes to the baseline.
    fn asked_twice(&mut self, in_force: &Abilities, floor: f64) -> Vec<Outcome> {
        let served = self.judged(in_force, floor);
        if served.model == "large" {
            return Vec::new();
        }
        let good = self.good(&served.choice, "large");
        // Of two models the other one serves whenever the baseline does not.
        let served = Outcome { asked_twice: true, ..served };
        vec![Outcome { model: "large".to_owned(), good, ..served.clone() }, served]
    }

    /// What decisions under some abilities are truly worth, on fresh prompts.
    fn worth(&mut self, abilities: &Abilities) -> f64 {
        let mut sum = 0.0;
        for _ in 0..4000 {
            let choice = self.choice();
            let taken = choice.take(abilities).unwrap();
            let tolerated = if taken.model == choice.baseline { 0.0 } else { choice.gap };
            sum += choice.p_good(&self.truth[&taken.model]) + tolerated - choice.burden(taken);
        }
        sum / 4000.0
    }
}

fn learned(world: &mut World, priors: &Abilities, requests: usize, floor: f64) -> Learner {
    let mut learner = Learner::new(priors.clone());
    for _ in 0..requests {
        let outcome = world.judged(priors, floor);
        learner.learn(outcome);
    }
    learner
}

#[test]
fn the_posterior_nears_the_truth_and_narrows() {
    let mut world = World::new(0.6, 1);
    let few = learned(&mut world, &abilities(0.0), 100, 0.5).evidence("small");
    let many = learned(&mut world, &abilities(0.0), 5000, 0.5).evidence("small");
    let general = |evidence: &[Evidence]| (evidence[0].mean, evidence[0].deviation);
    let ((_, wide), (_, narrow)) = (general(&few), general(&many));
    assert!(narrow < wide && wide < 0.5, "{narrow} {wide}");
    for line in many.iter().filter(|line| line.domain != "general") {
        assert!((line.mean - 0.6).abs() < 3.0 * line.deviation + 0.08, "{line:?}");
    }
}

#[test]
fn domains_differ_where_they_do_and_borrow_where_little_is_known() {
    let truth = Ability::from(0.8).with("math", 0.0).unwrap();
    let mut world = World::new(truth, 2);
    let learner = learned(&mut world, &abilities(0.4), 4000, 0.5);
    let small = learner.proposal()["small"];
    assert!(small.in_domain("chat") - small.in_domain("math") > 0.4, "{small:?}");
    // Code was never judged: it has what the others have in common.
    assert!((small.in_domain("code") - small.general()).abs() < f64::EPSILON);
    assert!((0.2..0.7).contains(&small.general()), "{small:?}");
}

#[test]
fn one_verdict_moves_little() {
    let mut learner = Learner::new(abilities(0.0));
    let mut outcome = World::new(0.0, 3).judged(&abilities(0.0), 0.1);
    (outcome.model, outcome.good) = ("small".to_owned(), true);
    learner.learn(outcome.clone());
    let moved = learner.proposal()["small"].general();
    assert!(moved > 0.0 && moved < 0.35, "{moved}");
    // Nothing is learned of a stranger, nor from an impossibility.
    outcome.model = "stranger".to_owned();
    learner.learn(outcome.clone());
    (outcome.model, outcome.propensity) = ("small".to_owned(), 0.0);
    learner.learn(outcome);
    assert_eq!(learner.outcomes.len(), 1);
}

#[test]
fn abilities_that_are_right_stay() {
    let promoted = (0..40).filter(|seed| {
        let mut world = World::new(0.3, 100 + seed);
        learned(&mut world, &abilities(0.3), 600, 0.2).trial(&abilities(0.3)).promotes()
    });
    assert!(promoted.count() <= 2);
}

#[test]
fn abilities_that_are_wrong_go_and_what_comes_is_better() {
    for (configured, truth, seed) in [(0.0, 1.0, 7), (1.0, 0.0, 8)] {
        let mut world = World::new(truth, seed);
        let in_force = abilities(configured);
        let learner = learned(&mut world, &in_force, 8000, 0.2);
        let trial = learner.trial(&in_force);
        assert!(trial.promotes(), "{configured} for {truth}: {trial:?}");
        let (new, old) = (world.worth(&learner.proposal()), world.worth(&in_force));
        assert!(new > old, "{new} against {old}");
        // The estimate is of what there is to gain, though most answers judged were the other model's.
        assert!((trial.low..=trial.high).contains(&(new - old)), "{trial:?} and truly {}", new - old);
    }
}

#[test]
fn the_model_may_be_wrong_where_the_propensities_are_right() {
    // Good answers do not follow the item-response line at all: the small model answers everything, the large one half.
    let in_force = abilities(0.0);
    let mut world = World::new(0.0, 9);
    let mut learner = Learner::new(in_force.clone());
    for _ in 0..3000 {
        let mut outcome = world.judged(&in_force, 0.2);
        outcome.good = outcome.model == "small" || world.draws.next() < 0.5;
        learner.learn(outcome);
    }
    let trial = learner.trial(&in_force);
    // Where they differ the small one gains a half, may lose 0.05 and saves 4.9 cents.
    let wanted = 0.599 * trial.differing as f64 / trial.requests as f64;
    assert!(trial.promotes() && (trial.low..=trial.high).contains(&wanted), "{trial:?} {wanted}");
}

#[test]
fn a_model_that_was_never_judged_is_not_promoted() {
    let mut priors = abilities(0.6);
    priors.insert("middle".to_owned(), Ability::from(0.9));
    let mut learner = Learner::new(priors.clone());
    let mut world = World::new(0.6, 12);
    for number in 0..2000 {
        let mut choice = world.choice();
        let middle = Candidate { model: "middle".to_owned(), cost: Usd::from_nanos(20_000_000), p_late: 0.0 };
        choice.candidates.insert(1, middle);
        // Whoever is asked is worse than configured, so the small model seems good enough; nobody ever saw what it says.
        let model = choice.take(&priors).unwrap().model.clone();
        if model != "small" {
            let good = world.draws.next() < 0.3;
            learner.learn(Outcome {
                request: format!("req_{number}"),
                choice,
                model,
                good,
                propensity: 1.0,
                asked_twice: false,
            });
        }
    }
    let trial = learner.trial(&priors);
    assert!(trial.differing > 100 && trial.gain > 0.0, "{trial:?}");
    assert!(!trial.promotes(), "{trial:?}");
}

#[test]
fn the_few_that_went_below_the_baseline_stand_for_those_that_did_not() {
    let in_force = abilities(0.6);
    let mut world = World::new(1.0, 30);
    let mut learner = Learner::new(in_force.clone());
    for _ in 0..9000 {
        world.asked_twice(&in_force, 0.2).into_iter().for_each(|outcome| learner.learn(outcome));
    }
    let trial = learner.trial(&in_force);
    let (new, old) = (world.worth(&learner.proposal()), world.worth(&in_force));
    // Most requests went to the baseline, and most of those would change: among the ones judged they are few.
    assert!(trial.differing * 2 < trial.requests, "or the test shows nothing: {trial:?}");
    assert!((trial.low..=trial.high).contains(&(new - old)), "{trial:?} and truly {}", new - old);
    assert!((trial.gain - (new - old)).abs() < 0.03 && trial.promotes(), "{trial:?} and truly {}", new - old);
}

#[test]
fn half_of_a_pair_stands_for_nothing() {
    let in_force = abilities(0.6);
    let mut world = World::new(1.0, 32);
    let (mut learner, mut halves) = (Learner::new(in_force.clone()), Learner::new(in_force.clone()));
    for _ in 0..2000 {
        for outcome in world.asked_twice(&in_force, 0.2) {
            if outcome.model != "large" {
                halves.learn(outcome.clone());
            }
            learner.learn(outcome);
        }
    }
    assert!(learner.trial(&in_force).gain > 0.0);
    let trial = halves.trial(&in_force);
    assert_eq!((trial.gain, trial.low, trial.promotes()), (0.0, 0.0, false), "{trial:?}");
}

#[test]
fn a_second_verdict_on_an_answer_is_no_second_answer() {
    let mut world = World::new(0.3, 31);
    let outcomes: Vec<Outcome> = (0..400).map(|_| world.judged(&abilities(0.3), 0.2)).collect();
    let learn = |all: &mut dyn Iterator<Item = Outcome>| {
        let mut learner = Learner::new(abilities(0.0));
        all.for_each(|outcome| learner.learn(outcome));
        learner
    };
    let again = outcomes.iter().map(|outcome| Outcome { asked_twice: true, ..outcome.clone() });
    let (once, twice) =
        (learn(&mut outcomes.iter().cloned()), learn(&mut outcomes.iter().cloned().chain(again)));
    assert_eq!(once.proposal(), twice.proposal());
    let deviation = |learner: &Learner| learner.evidence("small")[0].deviation;
    assert!((deviation(&once) - deviation(&twice)).abs() < 1e-9);
}

/// A learner that knows the small model for better than configured, and what was in force.
fn judged_by_chance(each: f64, seed: u64) -> (Learner, Abilities) {
    let in_force = abilities(0.0);
    let mut world = World::new(1.0, seed);
    let mut learner = Learner::new(in_force.clone());
    for _ in 0..4000 {
        let mut outcome = world.judged(&in_force, 0.2);
        outcome.choice.each = each;
        learner.learn(outcome);
    }
    (learner, in_force)
}

#[test]
fn no_answer_outweighs_all_others() {
    let (mut learner, in_force) = judged_by_chance(0.1, 20);
    let before = learner.trial(&in_force);
    assert_eq!((before.clipped, before.bias), (0, 0.0), "one in ten is often enough: {before:?}");
    // A bad answer that was all but impossible: unbounded it stands for a million others.
    let mut outcome = World::new(0.0, 21).judged(&in_force, 0.2);
    (outcome.model, outcome.good, outcome.propensity) = ("small".to_owned(), false, 1e-6);
    outcome.request = "an improbable one".to_owned();
    (outcome.choice.p_small, outcome.choice.p_large) = (0.6, 0.8);
    learner.learn(outcome);
    let after = learner.trial(&in_force);
    assert_eq!((after.clipped, after.differing), (1, before.differing + 1), "{after:?}");
    // It counts for one in thirty requests at most, and for what it may have counted too little.
    assert!((after.gain - before.gain).abs() < 1.0 / 30.0 + 1e-3, "{before:?} {after:?}");
    assert!(after.bias > 0.0 && after.bias < 1e-3, "{after:?}");
}

#[test]
fn what_could_not_be_drawn_is_not_taken_on_trust() {
    let (learner, in_force) = judged_by_chance(0.1, 22);
    assert!(learner.trial(&in_force).promotes());
    // The same verdicts where the other model could never have been drawn: nothing shows how good it is at those requests.
    let (learner, in_force) = judged_by_chance(0.0, 22);
    let trial = learner.trial(&in_force);
    assert!(trial.bias > 0.1 && trial.low < 0.0 && !trial.promotes(), "{trial:?}");
}

#[test]
fn seldom_explored_models_are_not_promoted_by_luck() {
    let promoted = (0..12).filter(|seed| {
        let mut world = World::new(0.3, 300 + seed);
        let in_force = abilities(0.3);
        let mut learner = Learner::new(in_force.clone());
        // Looked at again and again, as a gateway does.
        (0..4).any(|_| {
            for _ in 0..750 {
                let outcome = world.judged(&in_force, 0.02);
                learner.learn(outcome);
            }
            learner.trial(&in_force).promotes()
        })
    });
    assert!(promoted.count() <= 1);
}

#[test]
fn both_answers_to_a_request_count_once() {
    let in_force = abilities(0.0);
    let mut world = World::new(1.0, 10);
    let mut learner = Learner::new(in_force.clone());
    for number in 0..800 {
        let choice = world.choice();
        for model in ["small", "large"] {
            let good = world.good(&choice, model);
            let request = format!("req_{number}");
            learner.learn(Outcome {
                request,
                choice: choice.clone(),
                model: model.to_owned(),
                good,
                propensity: 1.0,
                asked_twice: true,
            });
        }
    }
    let trial = learner.trial(&in_force);
    assert_eq!(trial.requests, 800);
    assert!(trial.promotes(), "{trial:?}");
}

#[test]
fn a_choice_takes_the_better_of_two_alike() {
    let choice = World::new(0.0, 11).choice();
    assert!(objective::p_good(choice.p_small, choice.p_large, 1.0) > 0.5);
    let mut alike = choice.clone();
    alike.candidates[1].cost = alike.candidates[0].cost;
    alike.gap = 1.0;
    assert_eq!(
        alike.take(&abilities(0.5)).unwrap().model,
        "large",
        "as cheap, as good as wanted, and better"
    );
    alike.candidates.clear();
    assert_eq!(alike.take(&abilities(0.5)), None);
}
