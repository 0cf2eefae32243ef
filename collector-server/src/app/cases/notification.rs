//! The facts that start notification clocks, whether clocks apply, and what was sent.

use serde_json::json;
use triage::clocks::Clock;
use wire::Instant;
use wire::case::{AnchorSet, Case, KEPT_MAX};
use wire::response::{Anchor, ClockDecision, ClockSubmission};

use super::super::{Problem, ProblemKind, details};
use super::texts::{name, said};
use super::{Done, Scene, full};

/// A fact is known. Entered again, it replaces the one before, which stays in custody.
pub fn anchor(
    case: &mut Case,
    scene: &Scene<'_>,
    anchor: Anchor,
    (at, reason): (Option<Instant>, &str),
) -> Result<Done, Problem> {
    let (at, reason) = (past(scene, at)?, said("how it is known", reason)?);
    let before = case.anchors.get(&anchor).map(|before| before.at);
    let told =
        details([("anchor", json!(anchor)), ("at", json!(at)), ("before", json!(before)), ("reason", json!(reason))]);
    case.anchors.insert(anchor, AnchorSet { at, stamp: scene.stamp(reason) });
    Ok(Done::new("anchor_set", told))
}

/// Whether a clock applies; of several decisions the newest counts, and all are kept.
pub fn decide(case: &mut Case, scene: &Scene<'_>, clock: &str, (applies, why): (bool, &str)) -> Result<Done, Problem> {
    let (clock, why) = (known(scene, clock)?.clock.clone(), said("the reason", why)?);
    if case.decisions.len() >= KEPT_MAX {
        return Err(full("decisions", KEPT_MAX));
    }
    let told = details([("applies", json!(applies)), ("clock", json!(clock)), ("reason", json!(why))]);
    case.decisions.push(ClockDecision { applies, at: scene.now, by: scene.by.clone(), clock, why });
    Ok(Done::new("clock_decided", told))
}

/// A notification was sent. The same receipt for the same stage is the same submission.
pub fn submit(
    case: &mut Case,
    scene: &Scene<'_>,
    (clock, stage): (&str, &str),
    (at, receipt): (Option<Instant>, &str),
) -> Result<Done, Problem> {
    let (known, stage) = (known(scene, clock)?, name("the stage", stage)?);
    if !known.stages.iter().any(|one| one.stage == stage) {
        let stages = known.stages.iter().map(|one| one.stage.as_str()).collect::<Vec<_>>();
        return Err(Problem::new(ProblemKind::Input, format!("{} has no stage {stage:?}", known.clock))
            .hint(format!("it has {}", stages.join(", "))));
    }
    let clock = known.clock.clone();
    let (at, receipt) = (past(scene, at)?, said("the receipt", receipt)?);
    let is_same = |there: &ClockSubmission| {
        there.clock == clock && there.stage == stage && there.receipt.as_ref() == Some(&receipt)
    };
    if case.submissions.iter().any(is_same) {
        return Ok(Done::nothing(None));
    }
    if case.submissions.len() >= KEPT_MAX {
        return Err(full("submissions", KEPT_MAX));
    }
    let told =
        details([("at", json!(at)), ("clock", json!(clock)), ("receipt", json!(receipt)), ("stage", json!(stage))]);
    case.submissions.push(ClockSubmission { at, by: scene.by.clone(), clock, receipt: Some(receipt), stage });
    Ok(Done::new("notification_submitted", told))
}

/// The clock that is meant, by its name or the regime's.
fn known<'a>(scene: &Scene<'a>, word: &str) -> Result<&'a Clock, Problem> {
    let word = name("the clock", word)?;
    let clocks = &scene.rules.clocks.clocks;
    clocks.iter().find(|one| one.clock == word || one.regime == word).ok_or_else(|| {
        let hint = wire::suggest::nearest(&word, clocks.iter().map(|one| one.clock.as_str())).map_or_else(
            || "the clocks of an incident are in: holdfast incident show".to_owned(),
            |near| format!("did you mean {near}?"),
        );
        Problem::new(ProblemKind::Input, format!("the rules have no clock {word:?}")).hint(hint)
    })
}

/// Nothing was so, or was sent, at a time that is still to come.
fn past(scene: &Scene<'_>, at: Option<Instant>) -> Result<Instant, Problem> {
    let at = at.unwrap_or(scene.now);
    if at <= scene.now && at.0 >= 0 {
        return Ok(at);
    }
    let message = format!("{at} is no time that has been: the server's clock says {}", scene.now);
    Err(Problem::new(ProblemKind::Input, message).hint("leave the time out when it is now"))
}
