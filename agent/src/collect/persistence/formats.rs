//! Formats that several mechanisms share: lines, scripts, sections of `Key=value`.

use super::Drafts;
use super::row::Draft;
use crate::files::inspect::Found;
pub(super) use crate::host::ini::{lines, settings};

/// How much of a file is looked at to tell text from a binary.
const HEAD_BYTES: usize = 1024;

/// The content of a file, empty when there is none.
pub(super) fn content(found: &Found) -> &[u8] {
    found.content.as_deref().unwrap_or_default()
}

/// The lines that are neither blank nor comments (`#`), trimmed.
pub(super) fn code_lines(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let trimmed = lines(content).map(|(n, line)| (n, line.trim_ascii()));
    trimmed.filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"))
}

/// The same, where a backslash at the end joins a line with the next one; numbered by the first.
pub(super) fn joined_lines(content: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut joined = Vec::new();
    let mut open: Option<(usize, Vec<u8>)> = None;
    for (n, line) in lines(content) {
        let line = line.trim_ascii();
        if open.is_none() && (line.is_empty() || line.starts_with(b"#")) {
            continue;
        }
        let (start, mut text) = open.take().unwrap_or((n, Vec::new()));
        if let Some(begun) = line.strip_suffix(b"\\") {
            text.extend_from_slice(begun);
            open = Some((start, text));
        } else {
            text.extend_from_slice(line);
            joined.push((start, text));
        }
    }
    joined.extend(open);
    joined
}

/// True for text: no zero byte in its beginning.
pub(super) fn is_text(content: &[u8]) -> bool {
    !content.get(..HEAD_BYTES).unwrap_or(content).contains(&0)
}

/// A row for a program or a script that is run as it is: its lines when it is a text, its path otherwise.
pub(super) fn script_draft(found: &Found, mechanism: &'static str) -> Draft {
    let mut draft = Draft { targets: vec![found.path.clone()], ..Draft::of(mechanism) };
    let content = content(found);
    if is_text(content) {
        draft.runs = code_lines(content).map(|(_, line)| line.to_vec()).collect();
    }
    if draft.runs.is_empty() {
        draft.runs.push(found.path.clone());
    }
    draft
}

/// True when the file, or the file that a link leads to as far as this one tells, may be executed.
pub(super) fn is_executable(found: &Found) -> bool {
    found.link_target.is_some() || found.stat.stx_mode & 0o111 != 0
}

/// Reads a file that is run as a program when it has an execute bit.
pub(super) fn executable(found: &Found, drafts: &mut Drafts) {
    let draft = script_draft(found, drafts.mechanism);
    drafts.push(Draft { enabled: Some(is_executable(found)), ..draft });
}

/// Reads a file that is sourced or interpreted whatever its mode is.
pub(super) fn sourced(found: &Found, drafts: &mut Drafts) {
    drafts.push(script_draft(found, drafts.mechanism));
}

/// A file of which it only counts that it is there.
pub(super) fn present(_: &Found, drafts: &mut Drafts) {
    drafts.push(Draft::of(drafts.mechanism));
}

/// The two sides of the first `mark`, trimmed.
pub(super) fn sides(line: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let at = line.iter().position(|byte| *byte == mark)?;
    Some((line[..at].trim_ascii(), line[at + 1..].trim_ascii()))
}

/// The first word of a line and the rest, trimmed.
pub(super) fn first_word(line: &[u8]) -> (&[u8], &[u8]) {
    let line = line.trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    (&line[..end], line[end..].trim_ascii())
}

/// Without one pair of quotes around it.
pub(super) fn unquoted(value: &[u8]) -> &[u8] {
    for quote in [b"\"", b"'"] {
        if let Some(inner) = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote)) {
            return inner;
        }
    }
    value
}

/// True when `part` occurs in `text`.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Rows for the lines whose first word is one of `words`: the rest of the line is the command.
pub(super) fn lines_that_begin_with(found: &Found, drafts: &mut Drafts, words: &[&str]) {
    for (n, line) in joined_lines(content(found)) {
        let (word, rest) = first_word(&line);
        let (word, rest) = match sides(word, b'=') {
            Some((word, _)) => (word, sides(&line, b'=').map_or(rest, |(_, rest)| rest)),
            None => (word, rest),
        };
        let rest = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii();
        if words.iter().any(|wanted| wanted.as_bytes().eq_ignore_ascii_case(word)) && !rest.is_empty() {
            let draft = Draft { kind: Some(word.to_vec()), ..Draft::at(drafts.mechanism, n, &line) };
            drafts.push(draft.running(unquoted(rest)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_joined_lines() {
        let text = b"# c\n[A]\nk = v\\\n  w\n;x=y\nodd\n[B]\r\nExecStart=/bin/x \\\n# in between\n  -a\nempty=\n\xff=1";
        let settings: Vec<_> = settings(text)
            .into_iter()
            .map(|s| {
                (
                    String::from_utf8_lossy(s.section).into_owned(),
                    s.line,
                    String::from_utf8_lossy(&s.value).into_owned(),
                )
            })
            .collect();
        assert_eq!(
            settings,
            [
                ("A".to_owned(), 3, "v w".to_owned()),
                ("B".to_owned(), 8, "/bin/x -a".to_owned()),
                ("B".to_owned(), 11, String::new()),
                ("B".to_owned(), 12, "1".to_owned()),
            ]
        );
        assert_eq!(joined_lines(b"a \\\nb\n#x\nc\\"), [(1, b"a b".to_vec()), (4, b"c".to_vec())]);
    }
}
