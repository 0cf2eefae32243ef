//! A profile's steps with their arguments bound: every mistake is found before the first step runs.

use wire::profile::{Limits, Mistake, Mistakes, Profile, Sensitive, did_you_mean};

use crate::collect::{COLLECTORS, Collector, Step};

/// A step that is ready to run.
pub struct BoundStep {
    /// What runs.
    pub collector: &'static Collector,
    /// With its arguments.
    pub step: std::sync::Arc<dyn Step>,
    /// Held to these.
    pub limits: Limits,
    /// The class of sensitive content that its paths hold.
    pub sensitive: Option<Sensitive>,
}

/// Binds all steps of a profile.
///
/// # Errors
/// All mistakes: unknown collectors and arguments that do not fit, with file, line and a suggestion.
pub fn bind(profile: &Profile) -> Result<Vec<BoundStep>, Mistakes> {
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
        match (collector.bind)(serde_json::Value::Object(step.with.clone())) {
            Ok(with) => {
                let (limits, sensitive) = (step.limits, step.sensitive);
                bound.push(BoundStep { collector, step: with.into(), limits, sensitive });
            }
            Err(error) => mistakes.push(step.place.mistake("with", error)),
        }
    }
    if mistakes.is_empty() { Ok(bound) } else { Err(Mistakes(mistakes)) }
}
