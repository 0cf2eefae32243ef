//! Somebody has it, somebody says something.

use serde_json::json;
use wire::case::Case;

use super::super::{Problem, details};
use super::texts::said;
use super::{Done, Scene};

/// I have it. Who said so first stands.
pub fn acknowledge(case: &mut Case, scene: &Scene<'_>) -> Done {
    if let Some(first) = &case.acknowledged {
        return Done::nothing((first.by != scene.by).then(|| format!("{} has it since {}", first.by, first.time)));
    }
    case.acknowledged = Some(scene.stamp(String::new()));
    Done::new("incident_acknowledged", details([]))
}

/// A note; one that is an update starts the update timer again.
pub fn note(case: &mut Case, scene: &Scene<'_>, text: &str, is_update: bool) -> Result<Done, Problem> {
    let text = said("the note", text)?;
    if is_update {
        case.last_update = Some(scene.now);
    }
    Ok(Done::new("note_added", details([("text", json!(text)), ("update", json!(is_update))])))
}
