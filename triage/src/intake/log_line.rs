//! Lines of logs that have fields: CEF, LEEF, `key=value`, and JSON behind a header of syslog.
//!
//! CEF and LEEF become `{cef: {…} or leef: {…}, ext: {…}, named: {…}, syslog: {…}}`, which mappings read. `named` has the
//! custom fields under their labels (`cs1Label=Rule cs1=x` is `named.Rule`). Of `key=value` the keys stand at the top.
//!
//! Sources: ArcSight Common Event Format, "Header" and "Extension Dictionary"; QRadar LEEF guide, "LEEF event
//! components"; RFC 3164, 4.1; RFC 5424, 6.

use serde_json::{Map, Value};

/// The most fields that are read from one line.
const FIELDS_MAX: usize = 512;
/// Fewer pairs than this are words with an equals sign in them.
const PAIRS_MIN: usize = 3;
const MONTHS: &[&str] = &["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// True when the line says itself that it is a record.
pub(super) fn is_marked(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| {
        let (_, message) = syslog(line);
        cef(message).or_else(|| leef(message)).or_else(|| json(message)).is_some()
    })
}

/// The record in the line; `None` when it has no form that is read here.
pub(super) fn read(line: &[u8]) -> Option<Value> {
    let line = String::from_utf8_lossy(line);
    let (header, message) = syslog(&line);
    let mut record = cef(message).or_else(|| leef(message)).or_else(|| json(message)).or_else(|| pairs(message))?;
    if !header.is_empty() && !record.contains_key("syslog") {
        record.insert("syslog".to_owned(), Value::Object(header));
    }
    Some(Value::Object(record))
}

/// What the header of syslog says, and what comes after it. Without a header, CEF and LEEF may still stand behind a
/// time and a host.
fn syslog(line: &str) -> (Map<String, Value>, &str) {
    let mut header = Map::new();
    let mut rest = line.trim();
    let priority = rest.strip_prefix('<').and_then(|after| after.split_once('>'));
    let priority =
        priority.and_then(|(number, after)| Some((number.parse::<u8>().ok().filter(|pri| *pri < 192)?, after)));
    if let Some((priority, after)) = priority {
        header.insert("facility".to_owned(), (priority / 8).into());
        header.insert("severity".to_owned(), (priority % 8).into());
        rest = after;
    }
    let words: Vec<&str> = rest.splitn(7, ' ').collect();
    let mut set = |key: &str, value: &str| {
        if value != "-" && !value.is_empty() {
            header.insert(key.to_owned(), value.into());
        }
    };
    if let ["1", time, host, app, process, id, message] = words[..]
        && priority.is_some()
    {
        set("time", time);
        set("host", host);
        set("app", app);
        set("process", process);
        set("message_id", id);
        return (header, after_structured_data(message));
    }
    // A day below 10 has a second space before it.
    let plain: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).take(4).collect();
    if let [month, day, time, host] = plain[..]
        && MONTHS.contains(&month)
    {
        set("time", &format!("{month} {day} {time}"));
        set("host", host);
        let after = plain.iter().try_fold(rest, |rest, word| rest.trim_start().strip_prefix(word));
        return (header, after.unwrap_or_default().trim_start());
    }
    // RFC 3339 and a host, as rsyslog writes it; `host CEF:`.
    if let Some((before, message)) = marker(rest) {
        let words: Vec<&str> = before.split_whitespace().collect();
        if let [.., host] = words[..] {
            set("host", host.trim_end_matches(':'));
        }
        if let [time, _] = words[..] {
            set("time", time);
        }
        return (header, message);
    }
    (header, rest)
}

/// What comes before and from the word that begins a CEF or LEEF record.
fn marker(text: &str) -> Option<(&str, &str)> {
    ["CEF:", "LEEF:"].into_iter().find_map(|word| {
        let at = text.find(word).filter(|at| *at <= 256 && (*at == 0 || text[..*at].ends_with([' ', ':'])))?;
        Some((&text[..at], &text[at..]))
    })
}

/// Past `-` or `[id name="value"]…`, in which `\]` and `\"` are escaped.
fn after_structured_data(text: &str) -> &str {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    while let Some(inside) = rest.strip_prefix('[') {
        let mut escaped = false;
        let end = inside.char_indices().find(|(_, c)| {
            let ends = *c == ']' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((end, _)) = end else { return text };
        rest = &inside[end + 1..];
    }
    rest.trim_start().trim_start_matches('\u{feff}')
}

fn json(message: &str) -> Option<Map<String, Value>> {
    // `app[pid]: {…}`; the cookie of lumberjack.
    let at = message.find('{').filter(|at| *at <= 128)?;
    let before = message[..at].trim_end();
    let is_header = before.is_empty() || before.ends_with(':') || before.ends_with("@cee");
    serde_json::from_str(&message[at..]).ok().filter(|_| is_header)
}

fn cef(message: &str) -> Option<Map<String, Value>> {
    let (_, message) = marker(message)?;
    let (parts, extension) = header(message.strip_prefix("CEF:")?, 7)?;
    parts[0].trim().parse::<u32>().ok()?;
    let names = ["version", "vendor", "product", "device_version", "event_class_id", "name", "severity"];
    let mut record = Map::new();
    record.insert("cef".to_owned(), named(&names, parts));
    let ext = extension_of(extension);
    record.insert("named".to_owned(), Value::Object(labelled(&ext)));
    record.insert("ext".to_owned(), Value::Object(ext));
    Some(record)
}

fn leef(message: &str) -> Option<Map<String, Value>> {
    let (_, message) = marker(message)?;
    let message = message.strip_prefix("LEEF:")?;
    let (parts, mut attributes) = header(message, 5)?;
    let mut delimiter = '\t';
    if parts[0].trim().starts_with('2')
        && let Some((field, after)) = attributes.split_once('|')
        && let Some(given) = delimiter_of(field)
    {
        (delimiter, attributes) = (given, after);
    }
    let names = ["version", "vendor", "product", "device_version", "event_id"];
    let mut record = Map::new();
    record.insert("leef".to_owned(), named(&names, parts));
    let pairs = attributes.split(delimiter).filter_map(|pair| pair.split_once('=')).take(FIELDS_MAX);
    let ext = pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().into())).collect();
    record.insert("ext".to_owned(), Value::Object(ext));
    Some(record)
}

/// One character, or its number: `x09`, `0x5E`. Nothing is a tab.
fn delimiter_of(field: &str) -> Option<char> {
    let mut characters = field.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Some('\t'),
        (Some(one), None) => Some(one),
        _ => {
            let hex = field.strip_prefix("0x").or_else(|| field.strip_prefix(['x', 'X']))?;
            u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)
        }
    }
}

/// The first `count` fields, which end with a pipe, and the rest. `\|` and `\\` stand for the character.
fn header(text: &str, count: usize) -> Option<(Vec<String>, &str)> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '|' if !escaped && parts.len() == count => return Some((parts, &text[at + 1..])),
            '|' if !escaped => parts.push(String::new()),
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => {
                let part = parts.last_mut()?;
                if escaped && !matches!(character, '|' | '\\') {
                    part.push('\\');
                }
                part.push(character);
            }
        }
        escaped = false;
    }
    None
}

fn named(names: &[&str], values: Vec<String>) -> Value {
    let pairs = names.iter().zip(values).map(|(name, value)| ((*name).to_owned(), value.trim().into()));
    Value::Object(pairs.collect())
}

/// `key=value key=value`: a value goes on until the word before the next `=` that is not escaped.
fn extension_of(text: &str) -> Map<String, Value> {
    let mut map = Map::new();
    let mut equals = unescaped_equals(text).take(FIELDS_MAX).peekable();
    while let Some(at) = equals.next() {
        let Some(key) = text[..at].rsplit(char::is_whitespace).next().filter(|key| is_key(key)) else { continue };
        let end = equals.peek().map_or(text.len(), |next| {
            let next_key = text[..*next].rsplit(char::is_whitespace).next().unwrap_or_default();
            (*next - next_key.len()).max(at + 1)
        });
        map.insert(key.to_owned(), unescaped(text[at + 1..end].trim()).into());
    }
    map
}

/// Where a pair's `=` stands: not escaped, behind a key. A `=` in a value that its sender forgot to escape is not one.
fn unescaped_equals(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices('=').map(|(at, _)| at).filter(|at| {
        let before = &text[..*at];
        !before.ends_with('\\') && before.rsplit(char::is_whitespace).next().is_some_and(is_key)
    })
}

fn is_key(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '[' | ']'))
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, characters.clone().next()) {
            ('\\', Some('n' | 'r')) => out.push('\n'),
            ('\\', Some(next @ ('=' | '\\' | '|'))) => out.push(next),
            _ => {
                out.push(character);
                continue;
            }
        }
        characters.next();
    }
    out
}

/// The custom fields by their labels.
fn labelled(ext: &Map<String, Value>) -> Map<String, Value> {
    let labels = ext.iter().filter_map(|(key, label)| Some((key.strip_suffix("Label")?, label.as_str()?)));
    labels.filter_map(|(key, label)| Some((label.to_owned(), ext.get(key)?.clone()))).collect()
}

/// A line that is nothing but pairs, values with spaces in quotes.
fn pairs(message: &str) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    let mut rest = message.trim();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').filter(|(key, _)| is_key(key))?;
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => {
                let mut escaped = false;
                let (end, _) = quoted.char_indices().find(|(_, c)| {
                    let ends = *c == '"' && !escaped;
                    escaped = *c == '\\' && !escaped;
                    ends
                })?;
                (quoted[..end].replace("\\\"", "\""), &quoted[end + 1..])
            }
            None => {
                let end = after.find(char::is_whitespace).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
        };
        if map.len() < FIELDS_MAX {
            map.insert(key.to_owned(), value.into());
        }
        rest = after.trim_start_matches([' ', '\t', ',', ';']);
    }
    (map.len() >= PAIRS_MIN).then_some(map)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn cef_with_its_headers_and_escapes() {
        let record = json!({
            "cef": {
                "version": "0", "vendor": "Acme|Corp", "product": "Wall \\ Gate", "device_version": "1.0",
                "event_class_id": "100", "name": "worm stopped", "severity": "10",
            },
            "ext": {
                "src": "203.0.113.9", "msg": "a=b \\ two\nlines", "cs1Label": "Rule Name", "cs1": "block all", "act": "blocked",
                "request": "https://x.example/?q=1",
            },
            "named": { "Rule Name": "block all" },
        });
        let body = r"CEF:0|Acme\|Corp|Wall \\ Gate|1.0|100|worm stopped|10|src=203.0.113.9 msg=a\=b \\ two\nlines cs1Label=Rule Name cs1=block all request=https://x.example/?q=1 act=blocked";
        assert_eq!(read(body.as_bytes()), Some(record.clone()));
        for (header, syslog) in [
            (
                "<134>Nov  1 17:45:48 fw-1 ",
                json!({ "facility": 16, "severity": 6, "time": "Nov 1 17:45:48", "host": "fw-1" }),
            ),
            (
                "<14>1 2026-11-21T17:45:48Z fw-1 gate 7 - [a b=\"c\\]\"][d] \u{feff}",
                json!({ "facility": 1, "severity": 6, "time": "2026-11-21T17:45:48Z", "host": "fw-1", "app": "gate", "process": "7" }),
            ),
            ("2026-11-21T17:45:48Z fw-1 ", json!({ "time": "2026-11-21T17:45:48Z", "host": "fw-1" })),
            ("Nov 21 17:45:48 fw-1 gate[7]: ", json!({ "time": "Nov 21 17:45:48", "host": "fw-1" })),
        ] {
            let mut wanted = record.clone();
            wanted["syslog"] = syslog;
            assert_eq!(read(format!("{header}{body}").as_bytes()), Some(wanted), "{header}");
        }
    }

    #[test]
    fn leef_with_its_delimiters() {
        for (line, version) in [
            ("LEEF:1.0|Acme|Gate|2.1|login|src=192.0.2.1\tusrName=eve m\tsev=8", "1.0"),
            ("LEEF:2.0|Acme|Gate|2.1|login|^|src=192.0.2.1^usrName=eve m^sev=8", "2.0"),
            ("LEEF:2.0|Acme|Gate|2.1|login|x5E|src=192.0.2.1^usrName=eve m^sev=8", "2.0"),
            ("LEEF:2.0|Acme|Gate|2.1|login||src=192.0.2.1\tusrName=eve m\tsev=8", "2.0"),
            ("LEEF:2.0|Acme|Gate|2.1|login|src=192.0.2.1\tusrName=eve m\tsev=8", "2.0"),
        ] {
            let wanted = json!({
                "leef": {
                    "version": version, "vendor": "Acme", "product": "Gate", "device_version": "2.1", "event_id": "login",
                },
                "ext": { "src": "192.0.2.1", "usrName": "eve m", "sev": "8" },
            });
            assert_eq!(read(line.as_bytes()), Some(wanted), "{line}");
        }
    }

    #[test]
    fn pairs_and_json_behind_a_header() {
        let pairs = read(br#"<13>Nov 21 17:45:48 fw date=2026-11-21 msg="two \"words\"" srcip=192.0.2.1"#).unwrap();
        assert_eq!((&pairs["msg"], &pairs["srcip"]), (&json!("two \"words\""), &json!("192.0.2.1")));
        assert_eq!(pairs["syslog"]["host"], "fw");
        let json = read(b"<13>Nov 21 17:45:48 ids suricata[9]: {\"event_type\":\"alert\"}").unwrap();
        assert_eq!(json["event_type"], "alert");
    }

    #[test]
    fn words_are_no_record() {
        for line in [
            "",
            "plain words",
            "a=1 b=2",
            "a=1 b=2 and c=3",
            "CEF:0|too|few|fields",
            "CEF:x|a|b|c|d|e|f|",
            "<999>",
            "[",
            "LEEF:1.0|a",
            "the CEF: format",
            "a=\"open b=1 c=2",
            "<14>1 - - - - - [open",
        ] {
            assert_eq!(read(line.as_bytes()), None, "{line}");
        }
    }
}
