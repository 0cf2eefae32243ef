//! What people say against the rules, and how an incident ends.

use serde_json::json;
use wire::assessment::{Assessment, Severity};
use wire::case::{Case, Closing, Disposition, Overridden};
use wire::response::Phase;

use super::super::{Problem, ProblemKind, details};
use super::texts::{said, text};
use super::{Done, Scene, known_type};

/// Contradicts the rules, or takes that back. `by_rules` is what they say without anybody.
pub fn override_rules(
    case: &mut Case,
    scene: &Scene<'_>,
    by_rules: &Assessment,
    (incident_type, severity): (Option<&str>, Option<Severity>),
    reason: &str,
) -> Result<Done, Problem> {
    let incident_type = incident_type.map(|word| known_type(scene.rules, word).map(str::to_owned)).transpose()?;
    if incident_type.is_none() && severity.is_none() {
        let reason = text("the reason", reason)?;
        return Ok(match case.overridden.take() {
            None => Done::nothing(None),
            Some(before) => {
                Done::new("override_withdrawn", details([("before", json!(before)), ("reason", json!(reason))]))
            }
        });
    }
    let is_upward = severity.is_some_and(|severity| severity >= by_rules.severity) && incident_type.is_none();
    let reason = if is_upward { text("the reason", reason)? } else { said("the reason", reason)? };
    let overridden = Overridden {
        incident_type,
        severity,
        stamp: scene.stamp(reason.clone()),
        triggers_then: by_rules.escalation_triggers_fired.clone(),
    };
    let told = details([
        ("from", json!(scene.record.assessment.severity)),
        ("incident_type", json!(overridden.incident_type)),
        ("reason", json!(reason)),
        ("rules_say", json!(by_rules.severity)),
        ("severity", json!(severity)),
        ("triggers", json!(overridden.triggers_then)),
    ]);
    case.overridden = Some(overridden);
    Ok(Done::new("severity_overridden", told))
}

/// It is over. Closed once, it stays so until it is opened again.
pub fn close(case: &mut Case, scene: &Scene<'_>, disposition: Disposition, reason: &str) -> Result<Done, Problem> {
    let reason = said("the reason", reason)?;
    match &case.closed {
        Some(closing) if closing.disposition == disposition => return Ok(Done::nothing(None)),
        Some(closing) => {
            let message = format!("it was closed as {} by {}", closing.disposition.name(), closing.stamp.by);
            return Err(Problem::new(ProblemKind::Conflict, message).hint("reopen it first, with the reason"));
        }
        None => {}
    }
    let told = details([("disposition", json!(disposition)), ("reason", json!(reason))]);
    case.closed = Some(Closing { disposition, stamp: scene.stamp(reason) });
    let open = super::work::open_before(case, scene, Phase::PostIncident);
    Ok(Done { warnings: open.into_iter().collect(), ..Done::new("incident_closed", told) })
}

/// It is not over.
pub fn reopen(case: &mut Case, reason: &str) -> Result<Done, Problem> {
    let reason = said("the reason", reason)?;
    Ok(match case.closed.take() {
        None => Done::nothing(None),
        Some(closing) => {
            Done::new("incident_reopened", details([("reason", json!(reason)), ("was", json!(closing.disposition))]))
        }
    })
}
