use super::*;
use crate::Rules;

fn at(text: &str) -> Instant {
    Instant(text.parse::<jiff::Timestamp>().unwrap().as_nanosecond())
}

fn draft(audience: Audience, facts: &DraftFacts, names: InternalNames) -> String {
    Rules::shipped().unwrap().drafts.write(audience, facts, names).unwrap()
}

fn facts() -> DraftFacts {
    let happening = |text: &str| Happening { at: at("2026-11-20T03:10:00Z"), by: None, text: text.to_owned() };
    DraftFacts {
        accounts: vec!["svc_backup".to_owned()],
        actions: vec![happening("Isolated PROD-DB-01 (10.1.2.3, fe80::1) and locked svc_backup.")],
        anchors: [(Anchor::DetectedAt, at("2026-11-20T03:00:00Z"))].into(),
        evidence: vec![EvidenceItem {
            at: None,
            bundle: "b-1".to_owned(),
            host: "prod-db-01.corp.example".to_owned(),
            sha256: Some(Sha256([7; 32])),
            state: "sealed".to_owned(),
        }],
        hosts: vec![Host { name: "prod-db-01".to_owned(), role: wire::assessment::HostRole::Victim }],
        incident: "INC-7".to_owned(),
        incident_type: "data_exfiltration".to_owned(),
        severity: Some(Severity::Sev1),
        summary: Some("Files on prod-db-01.corp.example were read; prod-db-012 was not.".to_owned()),
        title: "exfiltration from prod-db-01".to_owned(),
        ..DraftFacts::default()
    }
}

#[test]
fn what_is_not_known_is_said_for_every_audience() {
    for audience in Audience::ALL {
        let text = draft(audience, &DraftFacts::default(), InternalNames::Shown);
        assert!(text.contains("[not known yet: summary]"), "{audience}: {text}");
        assert!(text.contains("DRAFT"), "{audience}");
    }
    let legal = draft(Audience::Legal, &facts(), InternalNames::Shown);
    assert!(legal.contains("Aware: [not known yet: aware at]"), "{legal}");
    assert!(legal.contains("Detected: 2026-11-20 03:00:00 UTC"), "{legal}");
}

#[test]
fn the_technical_draft_has_the_facts() {
    let text = draft(Audience::Technical, &facts(), InternalNames::Hidden);
    let digest = Sha256([7; 32]).to_string();
    for wanted in ["prod-db-01 (victim)", "svc\\_backup", "data exfiltration", "sealed", &digest] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
}

#[test]
fn what_goes_outward_names_nobody_inside_unless_asked() {
    for audience in [Audience::Customers, Audience::Regulator] {
        let text = draft(audience, &facts(), InternalNames::Hidden).to_lowercase();
        for hidden in ["prod-db-01 ", "prod-db-01.", "corp.example", "backup", "10.1.2.3", "fe80"] {
            assert!(!text.contains(hidden), "{audience} shows {hidden}: {text}");
        }
        // A name is a whole word; another host's name that begins like it is no name of this incident.
        assert!(text.contains("\\[system\\]") && text.contains("prod-db-012"), "{text}");
        assert!(draft(audience, &facts(), InternalNames::Shown).contains("prod-db-01.corp.example"));
    }
}

#[test]
fn a_strangers_text_is_no_markup() {
    let hostile =
        "<script>x</script> [pay](https://evil.example) ![i](x) **b** `c` www.evil.example a@b\n# new\u{202e}";
    let known = DraftFacts { summary: Some(hostile.to_owned()), title: "- [ ] 1".to_owned(), ..facts() };
    let text = draft(Audience::Technical, &known, InternalNames::Shown);
    let wanted = "\\<script\\>x\\</script\\> \\[pay\\](https\\://evil.example) \\!\\[i\\](x) \\*\\*b\\*\\* \\`c\\` \
                  www\\.evil.example a\\@b \\# new ";
    assert!(text.contains(wanted), "{text}");
    assert!(text.contains("INC-7: \\- \\[ \\] 1"), "{text}");
    assert_eq!(markdown::escaped("12. x"), "12\\. x");
    assert_eq!(markdown::escaped("1.2"), "1\\.2");
    assert_eq!(markdown::escaped(&"x".repeat(5000)).chars().count(), 4001);
}

#[test]
fn a_template_of_a_site_is_bounded_and_cannot_leave_out_the_escaping() {
    let drafts = |template: &str| Drafts {
        version: "1".to_owned(),
        drafts: vec![Template { audience: Audience::Technical, outward: false, template: template.to_owned() }],
    };
    let write = |template: &str| drafts(template).write(Audience::Technical, &facts(), InternalNames::Shown);
    assert_eq!(write("{{ accounts[0] | safe }}").unwrap(), "svc\\_backup");
    assert_eq!(write("{{ nothing.such.thing }}").unwrap(), "[not known yet: nothing.such.thing]");
    assert_eq!(write("{% if nothing %}x{% else %}y{% endif %}").unwrap(), "y");
    assert!(write("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}").is_err());
    assert!(write(&"{% for a in range(9999) %}xxxxxxxxxx{% endfor %}".repeat(11)).is_err(), "1.1 MB");
    let error = write("a\n{{ incident | nosuch }}").unwrap_err().to_string();
    assert!(error.starts_with("the template for technical fails in line 2: "), "{error}");
    assert!(drafts("").write(Audience::Legal, &facts(), InternalNames::Shown).is_err());
}
