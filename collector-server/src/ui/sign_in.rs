//! Signing in with a token.

use maud::{Markup, html};
use wire::Instant;

use super::{Frame, Here};

/// The form. `back` is where to go afterwards, a path of this server; `problem` is what was wrong with the last try.
pub fn page(now: Instant, back: &str, problem: Option<&str>) -> Markup {
    let main = html! {
        section.narrow {
            h1 { "Sign in" }
            @if let Some(problem) = problem {
                p.alarm role="alert" { (problem) }
            }
            form.stack method="post" action={ "/sign-in" (super::text::query(&[("back", back)])) } {
                input type="hidden" name="back" value=(back);
                label for="token" { "Token" }
                input #token type="password" name="token" required autocomplete="current-password" spellcheck="false"
                    autocapitalize="off" autofocus aria-describedby="token-hint" maxlength="256";
                p #token-hint .quiet {
                    "It looks like " code { "hf_…" } ". It is sent to this server only, and not kept in the browser."
                }
                button type="submit" { "Sign in" }
            }
            details {
                summary { "I have no token" }
                p { "The operator of this server makes one:" }
                (super::parts::command("holdfast-server token add NAME --role analyst --data DIR"))
            }
        }
    };
    super::page(Frame { me: None, now }, Here::Elsewhere, "Sign in", &main)
}
