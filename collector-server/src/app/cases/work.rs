//! The work: phases, steps of the checklist, who does what.

use serde_json::json;
use wire::case::{Case, KEPT_MAX, StepOutcome, StepState};
use wire::response::Phase;

use super::super::{Problem, ProblemKind, details};
use super::texts::{name, said, text};
use super::{Done, Scene, full};

/// Open steps that a warning names.
const NAMED_MAX: usize = 8;
/// Roles of one incident.
const ROLES_MAX: usize = 64;

/// The work goes on in another phase, whatever is left of the one before: that is said, not prevented.
pub fn phase(case: &mut Case, scene: &Scene<'_>, to: Phase, reason: &str) -> Result<Done, Problem> {
    let reason = text("the reason", reason)?;
    let from = std::mem::replace(&mut case.phase, to);
    if from == to {
        return Ok(Done::nothing(None));
    }
    let told = details([("from", json!(from)), ("reason", json!(reason)), ("to", json!(to))]);
    Ok(Done { warnings: open_before(case, scene, to).into_iter().collect(), ..Done::new("phase_changed", told) })
}

/// The steps of all phases before this one that are open, in a sentence.
pub fn open_before(case: &Case, scene: &Scene<'_>, to: Phase) -> Option<String> {
    let settled = case.steps.keys().map(String::as_str).collect();
    let open = scene.rules.checklists.open_before(&scene.record.assessment.incident_type, to, &settled);
    let names: Vec<&str> = open.iter().map(|step| step.id.as_str()).take(NAMED_MAX).collect();
    let more = if open.len() > names.len() { " …" } else { "" };
    (!open.is_empty()).then(|| format!("{} steps are open: {}{more}", open.len(), names.join(", ")))
}

/// Ticks a step, waives it, or opens it again. What it is already stays as it was first said.
pub fn step(
    case: &mut Case,
    scene: &Scene<'_>,
    id: &str,
    (outcome, note): (StepOutcome, &str),
) -> Result<Done, Problem> {
    let id = name("the step", id)?;
    if !scene.rules.checklists.has(&id) && !case.steps.contains_key(&id) {
        return Err(Problem::new(ProblemKind::Input, format!("no checklist has the step {id:?}"))
            .hint(format!("its steps are in: holdfast incident checklist {}", scene.record.incident)));
    }
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
