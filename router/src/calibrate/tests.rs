//! Fits on made-up tasks whose truth is known.

use super::shuffle::Shuffle;
use super::*;
use crate::classify::DOMAINS;
use crate::features::DENSE;
use crate::links::{self, Heads};

/// Tasks of a few words; the first word says whether the small model is up to it, dense count 1 how long it is.
fn examples(count: usize, seed: u64, told_by_word: bool) -> Vec<Example> {
    let mut chance = Shuffle::new(seed);
    let example = |at| {
        let word = chance.below(40) as i32;
        let length = chance.unit();
        let hard = if told_by_word { word < 20 } else { length > 0.5 };
        let small_ok = chance.unit() < if hard { 0.2 } else { 0.9 };
        let large_ok = chance.unit() < 0.9;
        let p_small = 0.3 + 0.4 * chance.unit();
        let mut dense = [0.0; DENSE];
        dense[1] = length;
        let mut row = Vec::new();
        let heads =
            Heads { log_p50: 4.0, log_p90: 5.0, domains: vec![0.0; DOMAINS.len()], ..Heads::default() };
        let said = links::Said {
            p_small,
            p_large: 0.8,
            difficulty: 0.5,
            domain: 0,
            p50: 55,
            p90: 148,
            familiar: true,
        };
        values(&said, &heads, &dense, &mut row);
        let inputs = Inputs {
            ids: vec![word, 1000 + chance.below(300) as i32, 2000 + chance.below(300) as i32],
            weights: vec![0.577; 3],
            values: row,
            domain: chance.below(2),
        };
        let score = Score { p_small, p_large: 0.8, difficulty: 0.9 - p_small, ..Score::default() };
        Example { prompt: at as u64, inputs, score, label: Label { small_ok, large_ok } }
    };
    (0..count).map(example).collect()
}

fn apgr_on(calibration: &Calibration, examples: &[Example]) -> f64 {
    let (said, labels): (Vec<Said>, Vec<Label>) = examples
        .iter()
        .map(|example| {
            let said = calibration.apply(example.inputs.view());
            (Said { order: said.difficulty, p_small: said.p_small, p_large: said.p_large }, example.label)
        })
        .unzip();
    let each: Vec<usize> = (0..labels.len()).collect();
    quality(&said, &labels, &each).apgr.value
}

#[test]
fn what_words_tell_is_learned() {
    let (calibration, report) = fit("graph", &examples(600, 1, true)).unwrap();
    assert_eq!(calibration.reads(), Reads::Words);
    assert!(report.before.apgr.high < 0.6 && report.after.apgr.low > 0.65, "{report:?}");
    let unseen = apgr_on(&calibration, &examples(2_000, 2, true));
    assert!(
        (unseen - report.after.apgr.value).abs() < 0.05,
        "promised {}, came {unseen}",
        report.after.apgr.value
    );
}

#[test]
fn what_counts_tell_is_learned_without_words() {
    let (calibration, report) = fit("graph", &examples(400, 3, false)).unwrap();
    assert!(matches!(calibration.reads(), Reads::Values | Reads::Words));
    assert!(report.after.apgr.low > report.before.apgr.value + 0.1, "{report:?}");
    assert!(report.after.ece_small.value < report.before.ece_small.value);
}

#[test]
fn noise_is_not_learned() {
    let mut labelled = examples(300, 5, true);
    let mut chance = Shuffle::new(9);
    labelled.iter_mut().for_each(|example| {
        example.label = Label { small_ok: chance.unit() < 0.6, large_ok: chance.unit() < 0.9 };
    });
    let (_, report) = fit("graph", &labelled).unwrap();
    assert!(report.after.apgr.low < 0.55, "no better than chance: {:?}", report.after.apgr);
    assert!(report.after.ece_small.value < 0.12, "but calibrated: {:?}", report.after.ece_small);
}

#[test]
fn a_file_gives_back_what_was_written() {
    let labelled = examples(300, 7, true);
    let (calibration, _) = fit("graph", &labelled).unwrap();
    let read = Calibration::parse(&calibration.to_text()).unwrap();
    for example in &labelled {
        let [written, read] =
            [&calibration, &read].map(|calibration| calibration.apply(example.inputs.view()));
        assert_eq!(written, read);
        assert!((0.0..=1.0).contains(&read.p_small) && (0.0..=1.0).contains(&read.difficulty));
    }
    assert_eq!(calibration.quality(), read.quality());
    assert!(read.fits("graph", labelled[0].inputs.values.len()).is_ok());
    let other = read.fits("another", labelled[0].inputs.values.len()).unwrap_err();
    assert!(matches!(other, CalibrationError::OtherGraph { .. }), "{other}");
}

#[test]
fn labels_given_again_are_no_further_evidence() {
    let once = examples(120, 8, true);
    let again: Vec<Example> = std::iter::repeat_n(once.clone(), 8).flatten().collect();
    let width = |report: &Report| report.before.apgr.high - report.before.apgr.low;
    let (one, many) = (fit("graph", &once).unwrap().1, fit("graph", &again).unwrap().1);
    assert!(width(&many) > 0.8 * width(&one), "{many:?} of {one:?}");
    let few: Vec<Example> =
        again.iter().enumerate().filter(|(at, _)| at % 120 < 40).map(|(_, one)| one.clone()).collect();
    assert_eq!(fit("graph", &few).unwrap_err(), FitError::Repeated { found: 320, prompts: 40 });
}

#[test]
fn the_same_labels_give_the_same_file() {
    let labelled = examples(120, 8, true);
    let text = || fit("graph", &labelled).unwrap().0.to_text();
    assert_eq!(text(), text());
}

#[test]
fn a_thousand_labels_bring_isotonic_curves() {
    let curves = |count| fit("graph", &examples(count, 4, false)).unwrap().0.to_text().contains("isotonic");
    assert!(!curves(200) && curves(1_000));
}

#[test]
fn a_broken_file_is_told_apart() {
    let (calibration, _) = fit("graph", &examples(120, 6, true)).unwrap();
    let text = calibration.to_text();
    for (from, to, told) in [
        ("\"tollgate_calibration\":1", "\"tollgate_calibration\":9", "format 9"),
        ("\"ridge\"", "\"rigde\"", "unknown field"),
        ("\"bias\":", "\"bias\":null,\"was\":", "not a calibration"),
        ("\"deviation\":[", "\"deviation\":[-1.0,", "scale"),
        ("\"points\":[[", "\"points\":[[2.0,0.5],[", "quality"),
    ] {
        assert!(text.contains(from), "{from}");
        let error = Calibration::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(told), "{from}: {error}");
    }
    assert!(Calibration::parse("").is_err() && Calibration::parse("[]").is_err());
}

#[test]
fn labels_that_teach_nothing_are_refused() {
    let all = |small_ok, large_ok| {
        let mut labelled = examples(80, 2, true);
        labelled.iter_mut().for_each(|example| example.label = Label { small_ok, large_ok });
        labelled
    };
    assert_eq!(fit("graph", &examples(49, 1, true)).unwrap_err(), FitError::TooFew { found: 49 });
    let error = fit("graph", &all(true, true)).unwrap_err();
    assert_eq!(error, FitError::OneSided { which: "small_ok", value: 1, others: 0, found: 80 });
    let mut reversed = all(false, false);
    reversed.iter_mut().take(40).for_each(|example| example.label = Label { small_ok: true, large_ok: true });
    assert_eq!(fit("graph", &reversed).unwrap_err(), FitError::NothingToGain { found: 0 });
}
