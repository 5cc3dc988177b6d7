//! The calibration of the classifier: read at start, again when the file changes, and by `score` and `route`.
//!
//! A file that is wrong, fitted for another graph, or unable to keep what a policy promises, is an error that names it
//! and never takes effect.

use std::path::Path;

use tollgate_router::{Calibration, CalibrationError, QualityTable, RouterId, Scorer};

use super::{ConfigError, Policies};

/// Reads a file written by `tollgate calibrate` and puts it in force.
///
/// # Errors
/// When it cannot be read, is malformed, or belongs to another graph; what was in force stays.
pub fn calibrate(scorer: &Scorer, path: &Path) -> Result<(), ConfigError> {
    scorer.calibrate(Some(read(path)?)).map_err(|reason| unusable(path, reason))
}

/// The same while policies are in force whose promises it must keep, too.
///
/// # Errors
/// As [`calibrate`], and for a promise that it does not keep.
pub fn recalibrate(scorer: &Scorer, path: &Path, policies: &Policies) -> Result<(), ConfigError> {
    let calibration = read(path)?;
    keeps_promises(calibration.quality(), policies)?;
    scorer.calibrate(Some(calibration)).map_err(|reason| unusable(path, reason))
}

/// Which router a gateway is with the graph that ships and this calibration, without loading ONNX Runtime.
///
/// # Errors
/// As [`calibrate`].
pub fn router(calibration: Option<&Path>) -> Result<RouterId, ConfigError> {
    let Some(path) = calibration else { return Ok(RouterId::shipped()) };
    RouterId::fitted(&read(path)?).map_err(|reason| unusable(path, reason))
}

fn read(path: &Path) -> Result<Calibration, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
        help: "--calibration and [router] calibration name a file that `tollgate calibrate` wrote",
    })?;
    Calibration::parse(&text).map_err(|reason| unusable(path, reason))
}

fn unusable(path: &Path, reason: CalibrationError) -> ConfigError {
    ConfigError::Calibration { path: path.to_owned(), reason }
}

/// Whether every `max_loss` of some policies can be kept with these tolerated gaps.
///
/// # Errors
/// For the first policy that promises what no calibration bounds.
pub fn keeps_promises(tolerance: &QualityTable, policies: &Policies) -> Result<(), ConfigError> {
    for policy in policies.named.values() {
        if let Some(most) = policy.objective.max_loss.filter(|most| tolerance.gap_for_loss(*most).is_none()) {
            let reason = match tolerance.bounds_losses() {
                true => "the calibration's labels are too few to show as little, or lose more",
                false => "only a calibration bounds losses, and [router] calibration names none that does",
            };
            return Err(ConfigError::Promise { policy: policy.name.clone(), most, reason });
        }
    }
    Ok(())
}
