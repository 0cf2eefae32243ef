//! Rules of sudo and doas (sudoers(5), doas.conf(5)).
//!
//! Known limits: aliases are rows of their own and are not put in the place of their names; of a line with several host
//! parts (`a = x : b = y`) the parts after the first stay among the commands.

use bundle::item::{Nanos, shown};
use rustix::fs::StatxFlags;
use schemars::JsonSchema;
use serde::Serialize;

use crate::files::inspect::Found;
use crate::host::glob::Glob;
use crate::host::meta::nanoseconds;
use crate::run::session::{Session, Stopped};

/// The most rows of one file.
const ROWS_MAX: usize = 10_000;

/// A line of the rules of sudo.
#[derive(Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one thing, not a state")]
pub struct SudoRow {
    /// The commands, as written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<String>,
    /// The hosts that it is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    /// True when `ALL` stands among the commands.
    is_all_commands: bool,
    /// True with the tag NOPASSWD, or `!authenticate` among defaults.
    is_nopasswd: bool,
    /// False for a file of a `sudoers.d` that sudo passes over, because its name has a dot or ends in `~`.
    is_read: bool,
    /// True with the tag SETENV, or `setenv` among defaults.
    is_setenv: bool,
    /// `rule`, `defaults`, `alias`, `include`, or `unparsed`.
    kind: &'static str,
    /// Number of the (first) line.
    line: u64,
    /// `st_mode` of the file as seven octal digits.
    mode: String,
    /// Last change of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_ns: Option<Nanos>,
    /// The name of an alias; what defaults are for (`@host`, `:user`, `!command`, `>runas`).
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The file.
    path: String,
    /// `sudo_rule`.
    record: &'static str,
    /// The groups that commands may be run with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runas_groups: Vec<String>,
    /// The users that commands may be run as; root when nothing is said.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    runas_users: Vec<String>,
    /// Tags: NOPASSWD, SETENV, NOEXEC …
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    /// The line.
    text: String,
    /// Its exact bytes when they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text_b64: Option<String>,
    /// Owner of the file.
    uid: u32,
    /// Who: users, `%groups`, `#uids`, aliases. Members of an alias, settings of defaults, the path of an include.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    who: Vec<String>,
}

/// A rule of doas.
#[derive(Serialize, JsonSchema)]
pub struct DoasRow {
    /// The command that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// True when no password is asked for.
    is_nopasswd: bool,
    /// Number of the line.
    line: u64,
    /// Options: nopass, persist, keepenv, setenv …
    options: Vec<String>,
    /// The file.
    path: String,
    /// `doas_rule`.
    record: &'static str,
    /// The user that commands may be run as.
    #[serde(skip_serializing_if = "Option::is_none")]
    runas_user: Option<String>,
    /// The line.
    text: String,
    /// `permit` or `deny`.
    verb: String,
    /// A user, or `:group`.
    who: String,
}

/// The rows of a file of sudo's; returns what it includes, as globs.
pub(super) fn sudo(session: &mut Session, found: &Found) -> Result<Vec<String>, Stopped> {
    let mut included = Vec::new();
    let content = found.content.as_deref().unwrap_or_default();
    for (line, text) in joined(content).into_iter().take(ROWS_MAX) {
        let mut row = parse(&text);
        if row.kind == "include" {
            included.extend(row.who.iter().map(|path| place(path, &found.path, row.name.as_deref())));
        }
        row.line = line;
        of_file(&mut row, found);
        (row.text, row.text_b64) = shown(text.get(..4096).unwrap_or(&text));
        session.row(&row)?;
    }
    Ok(included)
}

fn of_file(row: &mut SudoRow, found: &Found) {
    row.record = "sudo_rule";
    row.path = shown(&found.path).0;
    row.mode = format!("{:07o}", found.stat.stx_mode);
    row.uid = found.stat.stx_uid;
    row.mtime_ns =
        (found.stat.stx_mask & StatxFlags::MTIME.bits() != 0).then(|| Nanos(nanoseconds(found.stat.stx_mtime)));
    let in_folder = found.path.rsplit(|byte| *byte == b'/').nth(1).is_some_and(|folder| folder.ends_with(b".d"));
    row.is_read = !in_folder || !(found.name().contains(&b'.') || found.name().ends_with(b"~"));
}

/// What an include names, as a glob: relative paths lie beside the file.
fn place(path: &str, file: &[u8], directive: Option<&str>) -> String {
    let escaped = Glob::escape(path);
    let folder =
        String::from_utf8_lossy(&file[..file.iter().rposition(|byte| *byte == b'/').unwrap_or(0)]).into_owned();
    let absolute = if escaped.starts_with('/') { escaped } else { format!("{folder}/{escaped}") };
    if directive == Some("includedir") { format!("{}/*", absolute.trim_end_matches('/')) } else { absolute }
}

/// Lines without comments, joined where a backslash ends them. `#` before a digit is a uid, `#include` is none.
fn joined(content: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut joined = Vec::new();
    let mut open: Option<(u64, Vec<u8>)> = None;
    for (n, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (start, mut text) = open.take().unwrap_or((n, Vec::new()));
        if let Some(begun) = line.strip_suffix(b"\\") {
            text.extend_from_slice(begun);
            open = Some((start, text));
            continue;
        }
        text.extend_from_slice(line);
        let text = without_comment(&text).trim_ascii();
        if !text.is_empty() {
            joined.push((start, text.to_vec()));
        }
    }
    if let Some((start, text)) = open.filter(|(_, text)| !text.trim_ascii().is_empty()) {
        joined.push((start, text));
    }
    joined
}

fn without_comment(line: &[u8]) -> &[u8] {
    let trimmed = line.trim_ascii_start();
    if trimmed.starts_with(b"#include") {
        return line;
    }
    let mut is_quoted = false;
    for (at, byte) in line.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'#' if !is_quoted
                && !line.get(at + 1).is_some_and(u8::is_ascii_digit)
                && line.get(at.wrapping_sub(1)) != Some(&b'\\') =>
            {
                return &line[..at];
            }
            _ => {}
        }
    }
    line
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.trim_ascii()).into_owned()
}

fn parse(line: &[u8]) -> SudoRow {
    let mut row = SudoRow { kind: "unparsed", ..SudoRow::default() };
    let (word, rest) = split_word(line);
    if let Some(directive) = word.strip_prefix(b"#").or_else(|| word.strip_prefix(b"@"))
        && directive.starts_with(b"include")
    {
        row.kind = "include";
        row.name = Some(text(directive));
        row.who = vec![text(rest).trim_matches('"').to_owned()];
        return row;
    }
    if let Some(of) = word.strip_prefix(b"Defaults") {
        row.kind = "defaults";
        row.name = Some(text(of)).filter(|of| !of.is_empty());
        row.who = parts(rest, b',').iter().map(|part| text(part)).collect();
        row.is_nopasswd = row.who.iter().any(|setting| setting.replace(' ', "") == "!authenticate");
        row.is_setenv = row.who.iter().any(|setting| setting == "setenv");
        return row;
    }
    if matches!(word, b"User_Alias" | b"Runas_Alias" | b"Host_Alias" | b"Cmnd_Alias" | b"Cmd_Alias") {
        row.kind = "alias";
        let (name, members) = split_at(rest, b'=');
        row.name = Some(text(name));
        row.who = parts(members.unwrap_or_default(), b',').iter().map(|part| text(part)).collect();
        return row;
    }
    let (left, Some(right)) = split_at(line, b'=') else { return row };
    let (who, hosts) = lists(left);
    row.kind = "rule";
    (row.who, row.hosts) = (who, hosts);
    let mut runas = String::new();
    for part in parts(right, b',') {
        let mut command = part.trim_ascii();
        if let Some(inner) = command.strip_prefix(b"(")
            && let Some(end) = inner.iter().position(|byte| *byte == b')')
        {
            runas = text(&inner[..end]);
            command = inner[end + 1..].trim_ascii();
        }
        while let Some(colon) = command.iter().position(|byte| *byte == b':') {
            let tag = command[..colon].trim_ascii();
            if tag.is_empty() || !tag.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'_') {
                break;
            }
            if !row.tags.contains(&text(tag)) {
                row.tags.push(text(tag));
            }
            command = command[colon + 1..].trim_ascii();
        }
        row.commands.push(text(command));
        let (users, groups) = runas.split_once(':').unwrap_or((&runas, ""));
        for (list, names) in [(&mut row.runas_users, users), (&mut row.runas_groups, groups)] {
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if !list.iter().any(|known| known == name) {
                    list.push(name.to_owned());
                }
            }
        }
    }
    row.is_nopasswd = row.tags.iter().any(|tag| tag == "NOPASSWD");
    row.is_setenv = row.tags.iter().any(|tag| tag == "SETENV");
    row.is_all_commands = row.commands.iter().any(|command| command == "ALL");
    row
}

/// The users and the hosts before the `=`: two lists, in each of which a comma goes on.
fn lists(left: &[u8]) -> (Vec<String>, Vec<String>) {
    let mut lists = [Vec::new(), Vec::new()];
    let mut at = 0;
    let mut goes_on = true;
    for word in words(left) {
        if !goes_on && !word.starts_with(b",") {
            at = 1;
        }
        goes_on = word.ends_with(b",");
        let names = word.split(|byte| *byte == b',').filter(|name| !name.is_empty());
        lists[at].extend(names.map(|name| text(name).trim_matches('"').to_owned()));
    }
    let [who, hosts] = lists;
    (who, hosts)
}

/// Words between blanks; a backslash or quotes keep a blank in one.
fn words(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word = Vec::new();
    let mut is_quoted = false;
    let mut bytes = bytes.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.extend(bytes.next()),
            b'"' => is_quoted = !is_quoted,
            b' ' | b'\t' if !is_quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(byte),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Parts between `mark`s that are neither escaped nor quoted nor in parentheses.
fn parts(bytes: &[u8], mark: u8) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let (mut start, mut at) = (0, 0);
    let (mut is_quoted, mut depth) = (false, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted => depth = depth.saturating_sub(1),
            byte if byte == mark && !is_quoted && depth == 0 => {
                parts.push(&bytes[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(bytes.get(start..).unwrap_or_default());
    parts.retain(|part| !part.trim_ascii().is_empty());
    parts
}

/// Before and after the first `mark` that is neither escaped nor quoted.
fn split_at(bytes: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    let mut is_quoted = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 1,
            b'"' => is_quoted = !is_quoted,
            byte if byte == mark && !is_quoted => return (&bytes[..at], Some(&bytes[at + 1..])),
            _ => {}
        }
        at += 1;
    }
    (bytes, None)
}

fn split_word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

/// `permit|deny [options] identity [as target] [cmd command [args …]]`
pub(super) fn doas(session: &mut Session, found: &Found) -> Result<(), Stopped> {
    let content = found.content.as_deref().unwrap_or_default();
    for (line, whole) in joined(content).into_iter().take(ROWS_MAX) {
        let mut words = words(&whole).into_iter().map(|word| text(&word)).peekable();
        let Some(verb) = words.next() else { continue };
        let mut options = Vec::new();
        while let Some(option) =
            words.next_if(|word| matches!(word.as_str(), "nopass" | "nolog" | "persist" | "keepenv" | "setenv"))
        {
            if option == "setenv" {
                let mut setting = option;
                for word in words.by_ref() {
                    setting = format!("{setting} {word}");
                    if word.ends_with('}') {
                        break;
                    }
                }
                options.push(setting);
            } else {
                options.push(option);
            }
        }
        let who = words.next().unwrap_or_default();
        let runas_user = words.next_if(|word| word == "as").and_then(|_| words.next());
        let command = words.next_if(|word| word == "cmd").map(|_| words.collect::<Vec<_>>().join(" "));
        session.row(&DoasRow {
            is_nopasswd: options.iter().any(|option| option == "nopass"),
            command,
            options,
            line,
            path: shown(&found.path).0,
            record: "doas_rule",
            runas_user,
            text: text(&whole),
            verb,
            who,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn rules_in_their_parts() {
        let row = parse(b"nobody ALL=(ALL) NOPASSWD: /bin/true");
        assert_eq!((row.kind, &row.who, &row.hosts), ("rule", &list(&["nobody"]), &list(&["ALL"])));
        assert_eq!((&row.runas_users, &row.commands, row.is_nopasswd), (&list(&["ALL"]), &list(&["/bin/true"]), true));
        let row =
            parse(b"%wheel, ann , #1000  h1,h2 = (root, bob : adm) SETENV:NOEXEC: ALL, !/bin/su, sha224:abc /x a\\,b");
        assert_eq!((&row.who, &row.hosts), (&list(&["%wheel", "ann", "#1000"]), &list(&["h1", "h2"])));
        assert_eq!((&row.runas_users, &row.runas_groups), (&list(&["root", "bob"]), &list(&["adm"])));
        assert_eq!((&row.tags, row.is_all_commands, row.is_setenv), (&list(&["SETENV", "NOEXEC"]), true, true));
        assert_eq!(row.commands[2], "sha224:abc /x a\\,b");
        assert!(parse(b"Defaults:ann !authenticate, env_keep += \"A B\"").is_nopasswd);
        let alias = parse(b"Cmnd_Alias SHELLS = /bin/sh, /bin/bash");
        assert_eq!((alias.kind, alias.name.as_deref(), alias.who.len()), ("alias", Some("SHELLS"), 2));
        assert_eq!(parse(b"@includedir /etc/sudoers.d").who, ["/etc/sudoers.d"]);
        assert_eq!(parse(b"nonsense").kind, "unparsed");
        assert_eq!(parse(b"=").kind, "rule");
    }

    #[test]
    fn comments_and_continued_lines() {
        let lines = joined(b"# c\na ALL = \\\n  ALL # x\n#1000 ALL=ALL\n#includedir /x\nb \"#\" \\");
        let texts: Vec<_> = lines.iter().map(|(n, line)| (*n, text(line))).collect();
        let expected = [(2, "a ALL =   ALL"), (4, "#1000 ALL=ALL"), (5, "#includedir /x"), (6, "b \"#\"")];
        assert_eq!(texts, expected.map(|(n, text)| (n, text.to_owned())));
    }
}
