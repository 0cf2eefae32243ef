//! Forms by which a responder does something to an incident: each is one [`wire::case::Action`]. They work without the
//! script.

use maud::{Markup, html};
use wire::IncidentId;
use wire::api::Role;

use crate::ui::Frame;

/// True when the reader may act.
pub fn may(frame: Frame<'_>) -> bool {
    frame.me.is_some_and(|me| me.role == Role::Responder)
}

/// A form around `fields` that does `what`, by the name of the action.
pub fn form(incident: &IncidentId, what: &str, fields: &Markup, button: &str) -> Markup {
    html! {
        form.act method="post" action={ "/incidents/" (incident) "/actions" } {
            input type="hidden" name="do" value=(what);
            (fields)
            button type="submit" { (button) }
        }
    }
}

/// The same, folded behind its name.
pub fn folded(incident: &IncidentId, what: &str, name: &str, fields: &Markup, button: &str) -> Markup {
    html! { details.act { summary { (name) } (form(incident, what, fields, button)) } }
}

/// One line of text that must be there.
pub fn line(name: &str, label: &str, hint: &str) -> Markup {
    html! { label { (label) " " input name=(name) required maxlength="500" placeholder=(hint) autocomplete="off"; } }
}

/// One line of text that may be empty.
pub fn perhaps(name: &str, label: &str, hint: &str) -> Markup {
    html! { label { (label) " " input name=(name) maxlength="500" placeholder=(hint) autocomplete="off"; } }
}

/// A choice: each value with its words.
pub fn choice<'a>(name: &str, label: &str, options: impl Iterator<Item = (&'a str, String)>) -> Markup {
    html! {
        label {
            (label) " "
            select name=(name) { @for (value, words) in options { option value=(value) { (words) } } }
        }
    }
}

/// A moment in UTC.
pub fn moment(name: &str, label: &str) -> Markup {
    html! { label { (label) " " input type="datetime-local" name=(name) step="1"; span.quiet { " UTC; now when empty" } } }
}

/// `snake_case` as words, for options.
pub fn words(name: &str) -> String {
    name.replace('_', " ")
}
