//! What all alerts of an incident come to, with what a person said against it.

use serde_json::{Map, Value, json};
use triage::{Alert, Context, Override};
use wire::assessment::{Assessment, Severity};
use wire::case::Case;

use super::super::details;

/// Alerts that an incident is assessed over.
pub const ASSESSED_MAX: usize = 1000;

/// What `alerts` come to. Past the bound some are left out: then the severity that they had made `before` is not taken
/// back.
pub fn judge(
    context: &Context<'_>,
    case: &Case,
    before: &Assessment,
    (alerts, count): (&[&Alert], usize),
) -> Assessment {
    let assessment = judge_anew(context, case, alerts);
    if count > ASSESSED_MAX && assessment.severity < before.severity { before.clone() } else { assessment }
}

/// The same, whatever it was before.
pub fn judge_anew(context: &Context<'_>, case: &Case, alerts: &[&Alert]) -> Assessment {
    let overridden = case.overridden.as_ref().map(|said| Override {
        by: said.stamp.by.clone(),
        incident_type: said.incident_type.clone(),
        reason: said.stamp.reason.clone(),
        severity: said.severity,
        triggers_then: said.triggers_then.clone(),
    });
    triage::assess(alerts, &Context { overridden, ..context.clone() })
}

/// What custody is told when the rules raise an incident above what a person had set.
pub fn outranked(case: &Case, before: Severity, after: &Assessment) -> Option<Map<String, Value>> {
    let said = case.overridden.as_ref()?;
    let severity = said.severity?;
    let triggers = new_triggers(said.triggers_then.as_slice(), after);
    (before <= severity && after.severity > severity && !triggers.is_empty()).then(|| {
        details([
            ("from", json!(before)),
            ("set", json!(severity)),
            ("to", json!(after.severity)),
            ("triggers", json!(triggers)),
        ])
    })
}

fn new_triggers<'a>(then: &[String], after: &'a Assessment) -> Vec<&'a String> {
    after.escalation_triggers_fired.iter().filter(|trigger| !then.contains(trigger)).collect()
}
