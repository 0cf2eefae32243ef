use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::rules::{Case, shipped_cases};

/// 2026-11-30, when the collections of all cases began.
const STARTED: Instant = Instant(1_796_000_000_000_000_000);

/// Findings of rows, as a bundle would hold them.
fn findings(rules: &Rules, rows: &BTreeMap<String, Vec<Value>>) -> (Vec<Finding>, Vec<String>, u64) {
    let mut context = Context::new(rules);
    let lines = |service: &str, rows: &[Value]| -> Vec<(String, u64, String)> {
        let file = format!("data/volatile/{service}.jsonl");
        rows.iter().zip(1..).map(|(row, line)| (file.clone(), line, row.to_string())).collect()
    };
    for (service, rows) in rows {
        for (file, line, row) in lines(service, rows) {
            context.row(&Place { service, file: &file, line }, Some(row.as_bytes()));
        }
    }
    let mut evaluation = Evaluation::new(rules, context, STARTED);
    for (service, rows) in rows {
        for (file, line, row) in lines(service, rows) {
            evaluation.row(&Place { service, file: &file, line }, Some(row.as_bytes()));
        }
    }
    evaluation.findings()
}

#[test]
fn every_rule_has_rows_on_which_it_fires_and_rows_on_which_it_does_not() {
    let rules = Rules::shipped().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let cases = shipped_cases().unwrap_or_else(|mistake| panic!("{mistake}"));
    let mut wrong = Vec::new();
    for Case { rule, fires, note, rows } in &cases {
        if !rules.names().any(|name| name == rule) {
            wrong.push(format!("{rule}: there is no such rule"));
        }
        let (found, ..) = findings(&rules, rows);
        if found.iter().any(|finding| finding.rule == *rule) != *fires {
            wrong.push(format!("{rule} must {}fire ({note}): {}", if *fires { "" } else { "not " }, json!(rows)));
        }
    }
    for rule in rules.names() {
        for wanted in [true, false] {
            if !cases.iter().any(|case| case.rule == rule && case.fires == wanted) {
                wrong.push(format!("{rule} has no case with \"fires\": {wanted}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_says_what_it_means_and_what_else_it_may_be() {
    let rules = Rules::shipped().unwrap_or_else(|mistakes| panic!("{mistakes}"));
    for rule in &rules.list {
        assert!(!rule.description.is_empty(), "{}: no description", rule.name);
        assert!(!rule.false_positives.is_empty(), "{}: no falsepositives", rule.name);
        assert!(!rule.fields.is_empty(), "{}: no fields", rule.name);
        assert!(!rule.techniques.is_empty(), "{}: no technique", rule.name);
    }
}

#[test]
fn rows_of_an_attacker_are_counted_and_bounded() {
    let rules = Rules::shipped().unwrap();
    let mut evaluation = Evaluation::new(&rules, Context::new(&rules), STARTED);
    let place = Place { service: "processes", file: "data/volatile/processes.jsonl", line: 1 };
    evaluation.row(&place, Some(b"{"));
    evaluation.row(&place, Some(b"\xff"));
    evaluation.row(&place, Some(format!("{}1{}", "[".repeat(1000), "]".repeat(1000)).as_bytes()));
    evaluation.row(&place, Some(b"[]"));
    evaluation.row(&place, None);
    let (found, left_out, rows) = evaluation.findings();
    assert!(found.is_empty());
    assert_eq!(rows, 5);
    assert_eq!(left_out, ["3 rows that are no JSON".to_owned(), format!("1 rows of more than {ROW_BYTES_MAX} bytes")]);
}

#[test]
fn an_entry_is_of_a_collector() {
    let service = |file| Place::of_entry(file).map(|place| place.service);
    assert_eq!(service("data/volatile/processes.jsonl"), Some("processes"));
    assert_eq!(service("data/files/packages.12.jsonl"), Some("packages"));
    assert_eq!(service("data/items/000001.jsonl"), Some("items"));
    for other in
        ["data/custody/000001.jsonl", "data/timeline/000001.jsonl", "data/coverage.json", "[root]/data/x.jsonl"]
    {
        assert_eq!(service(other), None, "{other}");
    }
    assert_eq!(service("data/raw/processes/x.jsonl"), None);
}

#[test]
fn shown_columns_are_short() {
    let long = "x".repeat(10_000);
    let value = cut(&json!(long));
    assert_eq!(value.as_str().unwrap().chars().count(), SHOWN_CHARACTERS_MAX + 1);
}

#[test]
fn ages_are_told_where_they_can_be() {
    let mut row = json!({"mtime_ns": (STARTED.0 - 3 * 86_400_000_000_000).to_string(), "ctime_ns": i64::MAX,
        "btime_ns": i128::MIN.to_string()});
    tell_ages(&mut row, STARTED);
    assert_eq!((&row["mtime_age_days"], &row["btime_age_days"]), (&json!(3), &Value::Null));
    assert!(row["ctime_age_days"].as_i64().unwrap() < 0, "in the future");
}
