//! The form by which a person reports what they saw.

use maud::{Markup, html};

use super::{Frame, Here};

/// The page. `types` are the incident types that may be chosen.
pub fn page(frame: Frame<'_>, types: &[&str]) -> Markup {
    let main = html! {
        div.narrow.section {
            h1 { "Report something" }
            p { "What you tell becomes an alert like any other: it is triaged at once, and kept as you wrote it." }
            form.stack.report method="post" action="/report" {
                label { "In one line " input name="title" required maxlength="200" placeholder="A ransom note on the file server"; }
                label { "What did you see, and where? " textarea name="what" rows="6" required maxlength="16000" {} }
                label { "Host, if you know it " input name="host" maxlength="255" placeholder="file-1.example.com"; }
                label { "Account, if one is concerned " input name="user" maxlength="255"; }
                label { "When, in UTC; now when empty " input type="datetime-local" name="seen_at" step="1"; }
                label {
                    "What it may be "
                    select name="incident_type" {
                        option value="" { "I do not know" }
                        @for one in types { option value=(one) { (one.replace('_', " ")) } }
                    }
                }
                label { "How to reach you " input name="contact" maxlength="255"; }
                button type="submit" { "Report it" }
            }
        }
    };
    super::page(frame, Here::Report, "Report something", &main)
}
