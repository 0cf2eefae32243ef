//! Whom a containment would touch, in the host's own words: the same list wherever somebody has to decide.

use wire::containment::Preview;

use crate::show::counted;

/// Items of each list that are shown.
const ITEMS_MAX: usize = 20;

/// How many of each kind.
pub fn counts(preview: &Preview) -> String {
    let of = |items: &[String], noun| counted(items.len() as u64, noun);
    let (peers, services) = (of(&preview.peers, "peer"), of(&preview.listening, "service"));
    let more = if preview.more == 0 { String::new() } else { format!("; {} more did not fit", preview.more) };
    format!("{peers}, {services}, {}{more}", of(&preview.sessions, "session"))
}

/// Each of them after its kind, what weighs most first. Text of the host: escape it before a screen.
pub fn items(preview: &Preview) -> Vec<(&'static str, String)> {
    let lists = [
        ("role", &preview.protected_roles),
        ("session", &preview.sessions),
        ("service", &preview.listening),
        ("peer", &preview.peers),
    ];
    let mut lines = Vec::new();
    for (kind, items) in lists {
        lines.extend(items.iter().take(ITEMS_MAX).map(|item| (kind, item.clone())));
        if items.len() > ITEMS_MAX {
            lines.push((kind, format!("and {} more", items.len() - ITEMS_MAX)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_counted() {
        let peers = (0..=ITEMS_MAX).map(|at| format!("out tcp 10.0.0.{at}:443 curl")).collect();
        let preview = Preview { peers, protected_roles: vec!["database".to_owned()], ..Preview::default() };
        assert_eq!(counts(&preview), "21 peers, 0 services, 0 sessions");
        let items = items(&preview);
        assert_eq!(items.first(), Some(&("role", "database".to_owned())));
        assert_eq!(items.last(), Some(&("peer", "and 1 more".to_owned())));
        assert_eq!(
            counts(&Preview { more: 3, ..Preview::default() }),
            "0 peers, 0 services, 0 sessions; 3 more did not fit"
        );
    }
}
