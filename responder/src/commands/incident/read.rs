//! How an incident went on and what is to be done: its timeline, its checklist, texts about it for others.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wire::api::{IncidentView, Page};
use wire::case::{StepOutcome, TimelineEntry};
use wire::response::Phase;

use crate::escape::shown;
use crate::show::{Look, Table, time};

/// The timeline, one entry a line; the lines of a text stand below one another.
pub fn timeline(page: &Page<TimelineEntry>, look: Look) -> String {
    let mut out = String::new();
    for entry in &page.items {
        let mut lines = entry.text.lines();
        let first = shown(lines.next().unwrap_or_default());
        let _ = writeln!(out, "{}  {}  {first}", time(entry.time), look.paint("2", &shown(&entry.actor)));
        for line in lines {
            let _ = writeln!(out, "    {}", shown(line));
        }
    }
    out
}

/// The checklist: what is done, and what is not.
pub fn checklist(view: &IncidentView, look: Look) -> String {
    let mut out = String::new();
    for phase in Phase::ALL {
        let mut table = Table::new(&["", "STEP", "WHO", "WITHIN", "WHAT"]);
        for step in view.checklist.iter().filter(|step| step.phase == phase) {
            let mark = match view.case.steps.get(&step.id).map(|state| state.outcome) {
                Some(StepOutcome::Done) => "x",
                Some(StepOutcome::Waived) => "-",
                _ if step.required => "!",
                _ => " ",
            };
            let within = step.within_minutes.map(|minutes| format!("{minutes} min")).unwrap_or_default();
            table.row([
                mark.into(),
                step.id.as_str().into(),
                step.owner.as_str().into(),
                within.into(),
                step.text.as_str().into(),
            ]);
        }
        if !table.is_empty() {
            let name = if phase == view.case.phase { format!("{phase} (now)") } else { phase.to_string() };
            let _ = writeln!(out, "{}\n{}", look.heading(&name), table.text(look, "  "));
        }
    }
    if out.is_empty() { out } else { out + "x done, - not needed, ! open, and warned of when the phase is left\n" }
}

/// How many required steps are open, by phase.
pub fn open_steps(view: &IncidentView) -> BTreeMap<Phase, usize> {
    let mut open = BTreeMap::new();
    for step in &view.checklist {
        if step.required && !view.case.steps.contains_key(&step.id) {
            *open.entry(step.phase).or_default() += 1;
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_note_stays_text() {
        let page: Page<TimelineEntry> = serde_json::from_str(
            r#"{"items":[{"actor":"user:zoe","event":"note_added","incident":"INC-1","seq":1,"subject":"incident:INC-1",
                "text":"one\u001b[2J\ntwo\u202e","time":"2026-11-21T17:45:48Z"}],"next":null}"#,
        )
        .unwrap();
        let text = timeline(&page, Look::PLAIN);
        assert_eq!(text, "2026-11-21 17:45:48Z  user:zoe  one\\u{1b}[2J\n    two\\u{202e}\n");
    }
}
