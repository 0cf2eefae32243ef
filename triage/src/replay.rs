//! Past alerts under changed rules, before they go live.

use wire::Instant;
use wire::assessment::{Difference, Judgement, Replay};

use crate::intake::{NotTaken, normalise};
use crate::{Alert, Context, assess};

/// A record as it came.
#[derive(Clone, Debug)]
pub struct Past {
    /// The token that it came in with: alerts of one token are not independent of each other.
    pub ingest_token: Option<String>,
    /// Its bytes.
    pub raw: Vec<u8>,
    /// When it came.
    pub received: Instant,
}

/// What differs between `before` and `after` for each alert by itself, and for each group that has several: the alerts
/// of one incident. Records are read anew, so that changed mappings count as well.
///
/// # Errors
/// [`NotTaken`]: a record that can never have been taken in.
pub fn replay(before: &Context, after: &Context, groups: &[Vec<Past>]) -> Result<Replay, NotTaken> {
    let (mut differences, mut count) = (Vec::new(), 0);
    for group in groups {
        let (old, new) = (alerts(group, before)?, alerts(group, after)?);
        count += new.len() as u64;
        // A changed mapping may take one record for several, or several for one: then only the whole can be compared.
        if old.len() == new.len() {
            let pairs = old.iter().zip(&new);
            differences.extend(pairs.filter_map(|(old, new)| difference(&[old], &[new], before, after)));
        }
        if old.len() != new.len() || new.len() > 1 {
            let (old, new): (Vec<&Alert>, Vec<&Alert>) = (old.iter().collect(), new.iter().collect());
            differences.extend(difference(&old, &new, before, after));
        }
    }
    Ok(Replay { after: after.rules.version(), alerts: count, before: before.rules.version(), differences })
}

fn alerts(group: &[Past], context: &Context) -> Result<Vec<Alert>, NotTaken> {
    let mut alerts = Vec::new();
    for past in group {
        let taken = normalise(&past.raw, past.received, context.rules)?;
        alerts.extend(taken.into_iter().map(|one| Alert { ingest_token: past.ingest_token.clone(), ..one.alert }));
    }
    Ok(alerts)
}

fn difference(old: &[&Alert], new: &[&Alert], before: &Context, after: &Context) -> Option<Difference> {
    let (was, is) = (Judgement::from(assess(old, before)), Judgement::from(assess(new, after)));
    let changed = was.differs_in(&is);
    (!changed.is_empty()).then(|| Difference {
        after: is,
        alerts: new.iter().map(|alert| alert.raw_sha256).collect(),
        before: was,
        changed,
        title: new.first().map(|alert| alert.title.clone()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use wire::assessment::Severity;
    use wire::profile::Text;

    use super::*;
    use crate::{Rules, SiteFile};

    fn past(raw: &str) -> Past {
        Past { ingest_token: None, raw: raw.as_bytes().to_vec(), received: Instant(0) }
    }

    #[test]
    fn what_a_changed_rule_would_change_is_shown_with_both_reasons() {
        let yaml = "types:\n  - { type: phishing_attempt, severity: SEV2, respond_within_minutes: 30 }\n";
        let text = Text { file: "site/taxonomy.yaml".to_owned(), yaml: yaml.to_owned() };
        let rules = Rules::with_site(&[SiteFile { name: "taxonomy.yaml".to_owned(), text }]).unwrap();
        let (before, after) = (Context::shipped().unwrap(), Context::with(&rules));
        let phishing = r#"{"event_type":"phishing","host":"pc-1"}"#;
        let groups = [
            vec![past(phishing)],
            vec![past(r#"{"event_type":"malware","host":"pc-1"}"#)],
            vec![past(phishing), past(phishing)],
        ];
        let answer = replay(&before, &after, &groups).unwrap();
        assert_eq!((answer.alerts, answer.differences.len()), (4, 4), "one, none, two and both together");
        let first = &answer.differences[0];
        assert_eq!((first.before.severity, first.after.severity), (Severity::Sev4, Severity::Sev2));
        assert_eq!(first.changed, ["escalation_path", "severity"]);
        assert_ne!(first.before.severity_explanation, first.after.severity_explanation);
        assert_eq!(answer.differences[3].alerts.len(), 2);
        assert_ne!(answer.before, answer.after);
        assert_eq!(replay(&before, &before, &groups).unwrap().differences, []);
    }
}
