//! The work: phases, steps of the checklist, who does what.

use serde_json::json;
use wire::case::{Case, KEPT_MAX, StepOutcome, StepState};
use wire::response::Phase;

use super::super::{Problem, details};
use super::texts::{name, said, text};
use super::{Done, Scene, full};

/// Roles of one incident.
const ROLES_MAX: usize = 64;

/// The work goes on in another phase, whatever is left of the one before: that is said, not prevented.
pub fn phase(case: &mut Case, to: Phase, reason: &str) -> Result<Done, Problem> {
    let reason = text("the reason", reason)?;
    let from = std::mem::replace(&mut case.phase, to);
    if from == to {
        return Ok(Done::nothing(None));
    }
    Ok(Done::new("phase_changed", details([("from", json!(from)), ("reason", json!(reason)), ("to", json!(to))])))
}

/// Ticks a step, waives it, or opens it again. What it is already stays as it was first said.
pub fn step(
    case: &mut Case,
    scene: &Scene<'_>,
    id: &str,
    (outcome, note): (StepOutcome, &str),
) -> Result<Done, Problem> {
    let id = name("the step", id)?;
    let note =
        if outcome == StepOutcome::Waived { said("why it is not needed", note)? } else { text("the note", note)? };
    let before = case.steps.get(&id).map_or(StepOutcome::Open, |state| state.outcome);
    if before == outcome {
        return Ok(Done::nothing(None));
    }
    let event = match outcome {
        StepOutcome::Done => "step_done",
        StepOutcome::Open => "step_reopened",
        StepOutcome::Waived => "step_waived",
    };
    let told = details([("note", json!(note)), ("step", json!(id))]);
    if outcome == StepOutcome::Open {
        case.steps.remove(&id);
    } else {
        if case.steps.len() >= KEPT_MAX {
            return Err(full("steps", KEPT_MAX));
        }
        case.steps.insert(id, StepState { outcome, stamp: scene.stamp(note) });
    }
    Ok(Done::new(event, told))
}

/// A role goes to a person, or is vacant again.
pub fn assign(case: &mut Case, role: &str, person: &str) -> Result<Done, Problem> {
    let role = name("the role", role)?;
    if person.trim().is_empty() {
        let Some(before) = case.roles.remove(&role) else { return Ok(Done::nothing(None)) };
        return Ok(Done::new("role_vacated", details([("person", json!(before)), ("role", json!(role))])));
    }
    let person = name("the person", person)?;
    let before = case.roles.insert(role.clone(), person.clone());
    if before.as_ref() == Some(&person) {
        return Ok(Done::nothing(None));
    }
    if case.roles.len() > ROLES_MAX {
        return Err(full("roles", ROLES_MAX));
    }
    Ok(Done::new(
        "role_assigned",
        details([("before", json!(before)), ("person", json!(person)), ("role", json!(role))]),
    ))
}
