//! A profile's steps with their arguments bound: every mistake is found before the first step runs.

use std::sync::Arc;

use wire::profile::{Condition, Limits, Mistake, Mistakes, Profile, Sensitive, Values, did_you_mean};

use super::condition;
use crate::collect::{COLLECTORS, Collector, Step};

/// A step that is ready to run, or is known not to.
pub struct BoundStep {
    /// What runs.
    pub collector: &'static Collector,
    /// With its arguments; or the condition by which it does not run.
    pub step: Result<Arc<dyn Step>, Condition>,
    /// Held to these.
    pub limits: Limits,
    /// The class of sensitive content that its paths hold.
    pub sensitive: Option<Sensitive>,
    /// What the host is asked before it runs.
    pub when: Option<Condition>,
}

/// Binds all steps of a profile to what is known of the incident.
///
/// # Errors
/// All mistakes: unknown collectors, arguments that do not fit and conditions that cannot be asked, with file, line and
/// a suggestion.
pub fn bind(profile: &Profile, values: &Values) -> Result<Vec<BoundStep>, Mistakes> {
    let mut mistakes = Vec::new();
    let mut bound = Vec::new();
    for step in &profile.collect {
        let Some(collector) = Collector::named(&step.collect) else {
            let hint = did_you_mean(&step.collect, COLLECTORS.iter().map(|collector| collector.name));
            mistakes.push(Mistake {
                file: step.place.file.clone(),
                line: step.place.lines.get("collect").copied().unwrap_or(step.place.line),
                message: format!("unknown collector `{}`", step.collect),
                hint: Some(hint),
            });
            continue;
        };
        let (limits, sensitive) = (step.limits, step.sensitive);
        if let Some(error) = step.when.as_ref().and_then(condition::mistake) {
            mistakes.push(step.place.mistake("when", error));
            continue;
        }
        let holds = step.when.as_ref().map_or(Some(true), |when| when.by_incident(values));
        if let (Some(false), Some(when)) = (holds, &step.when) {
            bound.push(BoundStep { collector, step: Err(when.clone()), limits, sensitive, when: None });
            continue;
        }
        let when = if holds.is_none() { step.when.clone() } else { None };
        match (collector.bind)(serde_json::Value::Object(values.replace_in(&step.with))) {
            Ok(with) => bound.push(BoundStep { collector, step: Ok(with.into()), limits, sensitive, when }),
            Err(error) => mistakes.push(step.place.mistake("with", error)),
        }
    }
    if mistakes.is_empty() { Ok(bound) } else { Err(Mistakes(mistakes)) }
}
