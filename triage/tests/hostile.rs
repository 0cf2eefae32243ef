//! Records as no product writes them: every fixture cut off, with wrong bytes, wrong types, too long and too deep.
//! Nothing panics, nothing is lost, and what comes out keeps its bounds. The fuzz targets look further.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers as well")]

use std::path::Path;

use serde_json::{Value, json};
use triage::{Alert, Context, NotTaken, Rules, assess, normalise};
use wire::{Instant, Sha256};

/// Of each kind of mutation for each fixture.
const ROUNDS: usize = 4;

/// The same numbers in each run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }
}

fn fixtures() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut fixtures: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    fixtures.extend([
        b"<134>Nov 21 17:45:48 fw-1 CEF:0|Acme|Gate|1.0|100|Worm\\| seen|8|src=10.0.0.7 msg=a\\=b cs1Label=L cs1=x"
            .to_vec(),
        b"<14>1 2026-11-21T17:45:48Z fw app 7 - [a b=\"c\"] LEEF:2.0|Acme|Gate|2.1|login|x5E|src=192.0.2.1^sev=5"
            .to_vec(),
        b"time=17:45 src=192.0.2.1 msg=\"two \\\" words\"\ntime=17:46 src=192.0.2.2 msg=x\n".to_vec(),
        json!({ "message": { "data": "eyJldmVudF90eXBlIjoibWFsd2FyZSJ9", "messageId": "7" } }).to_string().into_bytes(),
    ]);
    fixtures
}

/// Takes the bytes in, and says how many alerts they were.
fn hold(raw: &[u8], context: &Context) -> usize {
    let taken = match normalise(raw, Instant(0), context.rules) {
        Ok(taken) => taken,
        Err(NotTaken::Empty | NotTaken::TooLong(_) | NotTaken::TooMany) => return 0,
    };
    for one in &taken {
        assert!(one.alert.is_bounded(), "{:?}", one.alert);
        assert_eq!(one.alert.raw_sha256, Sha256::of(&one.raw));
    }
    let alerts: Vec<&Alert> = taken.iter().map(|one| &one.alert).take(16).collect();
    let assessment = assess(&alerts, context);
    assert!((0.0..=1.0).contains(&assessment.classification_confidence));
    taken.len()
}

#[test]
fn cut_off_and_with_wrong_bytes() {
    let context = Context::shipped().unwrap();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let words: [&[u8]; 8] = [b"null", b"[]", b"{}", b"-1e308", b"\"\\u0000\\u202e\"", b"=", b"|", b"\xff\xfe\\"];
    for fixture in fixtures() {
        for _ in 0..ROUNDS {
            assert!(hold(&fixture[..=random.below(fixture.len() - 1)], &context) > 0);
            let mut raw = fixture.clone();
            for _ in 0..=random.below(6) {
                let (at, word) = (random.below(raw.len()), words[random.below(words.len())]);
                let end = (at + random.below(12)).min(raw.len());
                raw.splice(at..end, word.iter().copied());
                let flipped = random.below(raw.len());
                raw[flipped] ^= 1 << random.below(8);
            }
            hold(&raw, &context);
        }
    }
}

#[test]
fn with_wrong_types_everywhere() {
    let context = Context::shipped().unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for fixture in fixtures() {
        let Ok(record) = serde_json::from_slice::<Value>(&fixture) else { continue };
        for rarely in [1, 2, 4, 16, 64] {
            for _ in 0..ROUNDS / 2 {
                let mut record = record.clone();
                mutate(&mut record, rarely, &mut random);
                assert!(hold(record.to_string().as_bytes(), &context) > 0 || record == json!([]));
            }
        }
    }
}

/// Replaces about one of so many values by one of another type or size.
fn mutate(value: &mut Value, rarely: usize, random: &mut Random) {
    match value {
        Value::Object(map) => map.values_mut().for_each(|below| mutate(below, rarely, random)),
        Value::Array(list) => list.iter_mut().for_each(|below| mutate(below, rarely, random)),
        _ => {}
    }
    if random.below(rarely) > 0 {
        return;
    }
    let old = value.take();
    *value = match random.below(10) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(u64::MAX),
        4 => json!(1e300),
        5 => json!("é".repeat(5_000)),
        6 => json!({ "a": old }),
        7 => json!([old, [], null]),
        8 => Value::Array((0..100).map(|n| json!(format!("198.51.100.{n}"))).collect()),
        _ => (0..40).fold(old, |below, n| if n % 2 == 0 { json!([below]) } else { json!({ "name": below }) }),
    };
}

#[test]
fn too_wide_and_too_deep() {
    let context = Context::shipped().unwrap();
    for fixture in fixtures() {
        let Ok(Value::Object(record)) = serde_json::from_slice::<Value>(&fixture) else { continue };
        let widened: serde_json::Map<String, Value> =
            record.iter().map(|(key, value)| (key.clone(), json!(vec![value; 80]))).collect();
        hold(json!(widened).to_string().as_bytes(), &context);
        let keys: serde_json::Map<String, Value> =
            (0..5_000).map(|n| (format!("key{n}"), json!(n))).chain(record).collect();
        assert_eq!(hold(json!(keys).to_string().as_bytes(), &context), hold(&fixture, &context));
    }
    let line = |field: &str| format!("CEF:0|a|b|c|d|e|5|{}", vec![field; 20_000].join(" "));
    for raw in [
        line("src=1.2.3.4"),
        line("a\\=b"),
        line("="),
        line("cs1Label=x"),
        "<1>".repeat(100_000),
        "LEEF:".repeat(50_000),
    ] {
        assert_eq!(hold(raw.as_bytes(), &context), 1);
    }
}

/// A mapping that a site wrote, whatever it says, is read or told about.
#[test]
fn mappings_with_wrong_bytes() {
    use triage::SiteFile;
    use wire::profile::Text;
    let mut random = Random(0x1234_5678_9abc_def1);
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sources/cef.yaml")).unwrap();
    let source = source.replace("source: cef", "source: site");
    let words = ["[", "]", "{", "}", "..", "[=", "'", "\"", ": ", "- ", "&a ", "*", "~", "0x", "\u{202e}", "\n"];
    for _ in 0..ROUNDS {
        let mut yaml = source.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(yaml.len());
            let at = (0..=at).rev().find(|at| yaml.is_char_boundary(*at)).unwrap_or(0);
            yaml.insert_str(at, words[random.below(words.len())]);
        }
        let text = Text { file: "site.yaml".to_owned(), yaml };
        match Rules::with_site(&[SiteFile { name: "sources/site.yaml".to_owned(), text }]) {
            Ok(rules) => {
                let context = Context::with(&rules);
                assert!(fixtures().iter().all(|raw| hold(raw, &context) > 0));
            }
            Err(mistakes) => assert!(mistakes.0.iter().all(|one| one.file == "site.yaml"), "{mistakes}"),
        }
    }
}
