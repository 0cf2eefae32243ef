//! What people are told: enough to decide whether to get up, and nothing sensitive. No account, no indicator, no raw text
//! of an alert but its title. Titles and names are a stranger's texts: bounded, and without what turns lines around.

use wire::assessment::Severity;
use wire::{IncidentId, Instant, PageId};

use super::super::incidents::victims;
use crate::store::IncidentRecord;

/// About an incident that somebody must answer.
pub const ESCALATION: &str = "escalation";
/// Before a bundle's id: its signer contradicts itself, or what came.
pub const CONTRADICTION: &str = "evidence_contradicted:";
/// Tries a channel out.
pub const TEST: &str = "test";
/// Before another purpose: what it was about is answered, or over. Only for channels that can be told so.
pub const ACKNOWLEDGED: &str = "acknowledged:";
/// See [`ACKNOWLEDGED`].
pub const RESOLVED: &str = "resolved:";

const TITLE_CHARS_MAX: usize = 200;
const ACTION_CHARS_MAX: usize = 300;
const NAME_CHARS_MAX: usize = 64;
/// Victims of an incident, and incidents of a digest, that are named.
const VICTIMS_MAX: usize = 5;
const INCIDENTS_MAX: usize = 20;

/// See the module.
#[derive(Clone, Debug)]
pub struct Message {
    /// Whom it is for, by the site's name.
    pub contact: String,
    /// None for a test, more than one in a digest; the worst first.
    pub incidents: Vec<Brief>,
    /// When it goes out.
    pub now: Instant,
    /// The page; of a digest, the first. The same each time that it is tried, so that who gets it twice can tell.
    pub page: PageId,
    /// See [`wire::api::PageView::purpose`].
    pub purpose: String,
    /// For which role.
    pub role: String,
    /// The how-manieth of the path, from 0.
    pub step: u32,
}

/// An incident in short.
#[derive(Clone, Debug)]
pub struct Brief {
    /// Which.
    pub incident: IncidentId,
    /// See [`wire::assessment::Assessment::incident_type`].
    pub incident_type: String,
    /// Its page on this server.
    pub link: String,
    /// One sentence.
    pub next_action: String,
    /// How bad.
    pub severity: Severity,
    /// One line.
    pub title: String,
    /// The first of them.
    pub victims: Vec<String>,
}

impl Brief {
    /// Of this incident; `link` is the address of the server's pages.
    pub fn of(record: &IncidentRecord, link: &str) -> Self {
        let mut names: Vec<String> =
            victims(&record.assessment).take(VICTIMS_MAX + 1).map(|name| clean(name, NAME_CHARS_MAX)).collect();
        if names.len() > VICTIMS_MAX {
            names.truncate(VICTIMS_MAX);
            names.push("…".to_owned());
        }
        Self {
            incident: record.incident.clone(),
            incident_type: clean(&record.assessment.incident_type, NAME_CHARS_MAX),
            link: format!("{link}/incidents/{}", record.incident),
            next_action: clean(&record.assessment.recommended_action, ACTION_CHARS_MAX),
            severity: record.assessment.severity,
            title: clean(&record.title, TITLE_CHARS_MAX),
            victims: names,
        }
    }

    /// The facts, each with its name.
    pub fn facts(&self) -> [(&'static str, String); 4] {
        let victims = if self.victims.is_empty() { "not known".to_owned() } else { self.victims.join(", ") };
        [
            ("Type", self.incident_type.clone()),
            ("Victims", victims),
            ("Next", self.next_action.clone()),
            ("Incident", self.link.clone()),
        ]
    }

    /// One line.
    pub fn headline(&self) -> String {
        format!("[{}] {} {}: {}", self.severity, self.incident, self.incident_type, self.title)
    }
}

impl Message {
    /// The incident that the whole message is about, when it is one.
    pub fn incident(&self) -> Option<&Brief> {
        self.incidents.first().filter(|_| self.incidents.len() == 1)
    }

    /// The worst severity; that of a test is the lowest.
    pub fn severity(&self) -> Severity {
        self.incidents.iter().map(|brief| brief.severity).max().unwrap_or(Severity::Sev4)
    }

    /// The incidents that are named; of the others only the number is.
    pub fn named(&self) -> &[Brief] {
        &self.incidents[..self.incidents.len().min(INCIDENTS_MAX)]
    }

    /// One line: what it is about.
    pub fn headline(&self) -> String {
        match (self.incident(), self.incidents.len()) {
            (Some(brief), _) if self.purpose == ESCALATION => brief.headline(),
            (Some(brief), _) => format!("{}: {}", self.purpose.replace([':', '_'], " "), brief.headline()),
            (None, 0) => format!("Test page for {}: there is no incident", self.contact),
            (None, count) => format!("[{}] {count} more incidents wait for an answer", self.severity()),
        }
    }

    /// Why this person gets it.
    pub fn reason(&self) -> String {
        match self.incidents.len() {
            0 => format!("Somebody tries out whether {} can be reached here.", self.contact),
            1 => format!("You are paged as {}, number {} in line.", self.role, u64::from(self.step) + 1),
            _ => format!("You are paged as {}. Too many came to tell of each apart.", self.role),
        }
    }
}

/// At most so many characters, in one line: controls become spaces, and what turns the direction of text is left out.
pub fn clean(text: &str, chars_max: usize) -> String {
    let is_turning = |c: &char| matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let mut cleaned = text.chars().filter(|c| !is_turning(c)).map(|c| if is_break(c) { ' ' } else { c });
    let mut short: String = cleaned.by_ref().take(chars_max).collect();
    if cleaned.next().is_some() {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_strangers_text_is_one_bounded_line() {
        assert_eq!(clean("a\r\nBcc: x\u{202e}y\u{1b}[31m\0", 99), "a  Bcc: xy [31m ");
        assert_eq!((clean("abcd", 4), clean("abcde", 4)), ("abcd".into(), "abc…".into()));
    }
}
