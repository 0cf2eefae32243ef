//! The small pieces that pages are made of: badges, times, digests, sizes.

use maud::{Markup, html};
use ssh_key::PublicKey;
use wire::api::{EvidenceState, SignerTrust};
use wire::assessment::Severity;
use wire::order::OrderState;
use wire::{Instant, Sha256};

use super::text::shown;

/// The severity, in a colour and in letters.
pub fn severity(severity: Severity) -> Markup {
    html! { span class={ "sev sev-" (severity.name()) } { (severity.name()) } }
}

/// The severity as an adjective.
pub const fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Sev1 => "critical",
        Severity::Sev2 => "high",
        Severity::Sev3 => "medium",
        Severity::Sev4 => "low",
    }
}

/// How far a bundle goes, in a colour and in letters.
pub fn evidence_state(state: EvidenceState) -> Markup {
    badge(tone(state), state.name())
}

/// The colour of a state, as a class of the style.
pub const fn tone(state: EvidenceState) -> &'static str {
    match state {
        EvidenceState::Receiving => "busy",
        EvidenceState::Sealed => "good",
        EvidenceState::Partial | EvidenceState::Unverified => "warn",
        EvidenceState::Rejected => "bad",
    }
}

/// Where an order stands, in a colour and in letters.
pub fn order_state(state: OrderState) -> Markup {
    let tone = match state {
        OrderState::AwaitingApproval | OrderState::Queued | OrderState::Delivered | OrderState::Cancelled => "idle",
        OrderState::Accepted | OrderState::Running | OrderState::Holding => "busy",
        OrderState::Completed => "good",
        OrderState::Interrupted | OrderState::Expired => "warn",
        OrderState::Refused | OrderState::Failed => "bad",
    };
    badge(tone, &state.name().replace('_', " "))
}

/// Whose key it is, in short.
pub const fn trust(trust: Option<SignerTrust>) -> &'static str {
    match trust {
        Some(SignerTrust::Enrolled) => "enrolled agent's key",
        Some(SignerTrust::Unenrolled) => "unenrolled host's key",
        Some(SignerTrust::Unknown) => "unknown key",
        None => "no key yet",
    }
}

/// A word in a coloured frame.
pub fn badge(tone: &str, word: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (word) } }
}

/// A moment, to the second, in UTC; the machine reads all nine digits.
pub fn time(at: Instant) -> Markup {
    html! { time datetime=(at) { (at.calendar().strftime("%Y-%m-%d %H:%M:%SZ")) } }
}

/// How long ago it was, with the moment behind it.
pub fn age(then: Instant, now: Instant) -> Markup {
    html! { time.age datetime=(then) title=(then.calendar().strftime("%Y-%m-%d %H:%M:%SZ")) { (ago(then, now)) } }
}

fn ago(then: Instant, now: Instant) -> String {
    let seconds = now.unix_seconds().saturating_sub(then.unix_seconds());
    match seconds {
        ..0 => "in the future".into(),
        0..60 => "just now".into(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A size for people; the exact one stands in the title.
pub fn bytes(count: u64) -> Markup {
    html! { span.num title=(format!("{} bytes", grouped(count))) { (short_bytes(count)) } }
}

/// `1.4 MiB`.
pub fn short_bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut unit = "B";
    let (mut whole, mut tenths) = (count, 0);
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "B" || whole >= 100 { format!("{whole} {unit}") } else { format!("{whole}.{tenths} {unit}") }
}

/// `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number and its noun.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A digest in full; it wraps.
pub fn digest(sha256: Sha256) -> Markup {
    html! { code.digest { (sha256) } }
}

/// The beginning of a digest, where a table has no room; the whole is in the title.
pub fn short_digest(sha256: Sha256) -> Markup {
    let text = sha256.to_string();
    html! { code.digest title=(text) { (text.get(..16).unwrap_or_default()) "…" } }
}

/// A public key as `ssh-keygen -l` names it.
pub fn key(openssh: &str) -> Markup {
    match PublicKey::from_openssh(openssh) {
        Ok(key) => html! { code.digest title=(super::text::plain(openssh)) { (bundle::sign::fingerprint(&key)) } },
        Err(_) => html! { code.digest { (shown(openssh)) } },
    }
}

/// A command to copy. It is one line for each line of the text; the script adds a button.
pub fn command(text: &str) -> Markup {
    html! { div.command { pre tabindex="0" { code { (text) } } } }
}

/// A table that scrolls by itself where the screen is narrow, with a name for those who do not see it. (A group, not a
/// region: the section around it is the landmark.)
pub fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="group" aria-label=(label) tabindex="0" { (table) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_read_well() {
        let shown = [0, 1023, 1024, 1536, 104_857_600, u64::MAX].map(short_bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "100 MiB", "16777215 TiB"]);
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((count(1, "item"), count(2, "item")), ("1 item".into(), "2 items".into()));
    }

    #[test]
    fn times_are_utc_and_exact_for_machines() {
        let at = Instant(1_795_283_148_000_000_001);
        assert_eq!(
            time(at).into_string(),
            "<time datetime=\"2026-11-21T17:45:48.000000001Z\">2026-11-21 17:45:48Z</time>"
        );
        let after = |seconds: i128| ago(at, Instant(at.0 + seconds * 1_000_000_000));
        assert_eq!(
            [-1, 0, 59, 60, 3599, 3600, 172_799, 172_800].map(after),
            ["in the future", "just now", "just now", "1 min ago", "59 min ago", "1 h ago", "47 h ago", "2 days ago"]
        );
    }

    #[test]
    fn a_key_that_is_none_is_shown_and_escaped() {
        assert_eq!(key("<x>").into_string(), "<code class=\"digest\"><bdi>&lt;x&gt;</bdi></code>");
    }
}
