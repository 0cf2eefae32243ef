//! Histories of shells and of programs that keep theirs in the same manner: one command after the other, some with times.
//!
//! bash writes `#1764500000` before a command when HISTTIMEFORMAT is set (bash(1)); zsh `: 1764500000:0;command` with
//! EXTENDED_HISTORY, a backslash at the end of a line that goes on, and bytes above 0x82 behind 0x83 with bit 5 flipped
//! (zshoptions(1), `metafy` in its source); fish a list of `- cmd:` and `when:`; editline's `_HiStOrY_V2_` encodes blanks
//! as `\040` (vis(3)), as mysql and others that are linked with it.

use super::text::decimal;

/// How a history is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A command a line, with bash's or zsh's times where they are there.
    Lines,
    /// fish's `fish_history`.
    Fish,
    /// vim's `viminfo`: the lines of its command line.
    Vim,
    /// less's `.lesshst`: what was searched for, and shell commands.
    Less,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Seconds since the epoch.
    pub time_secs: Option<u64>,
    /// What was typed.
    pub text: Vec<u8>,
}

/// The commands in a history, at most `commands_max` of the last.
pub fn parse(content: &[u8], format: Format, commands_max: usize) -> Vec<Command> {
    let lines = (1_u64..).zip(content.split(|byte| *byte == b'\n'));
    let mut commands = match format {
        Format::Lines => of_lines(lines),
        Format::Fish => of_fish(lines),
        Format::Vim => marked(lines, b":"),
        Format::Less => marked(lines, b"\""),
    };
    if commands.len() > commands_max {
        commands.drain(..commands.len() - commands_max);
    }
    commands
}

fn of_lines<'a>(lines: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut time = None;
    let mut is_vis = false;
    let mut goes_on = false;
    for (number, line) in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if number == 1 && line == b"_HiStOrY_V2_" {
            is_vis = true;
            continue;
        }
        if goes_on && let Some(last) = commands.last_mut() {
            let (text, more) = continued(line);
            last.text.push(b'\n');
            last.text.extend(unmetafied(text));
            goes_on = more;
            continue;
        }
        if let Some(stamp) = line.strip_prefix(b"#").and_then(decimal) {
            time = Some(stamp);
            continue;
        }
        if line.is_empty() {
            continue;
        }
        if let Some((stamp, text)) = extended(line) {
            let (text, more) = continued(text);
            goes_on = more;
            commands.push(Command { line: number, time_secs: Some(stamp), text: unmetafied(text) });
            continue;
        }
        let text = if is_vis { unvis(line) } else { line.to_vec() };
        commands.push(Command { line: number, time_secs: time.take(), text });
    }
    commands
}

/// zsh's `: TIME:DURATION;COMMAND`.
fn extended(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = line.strip_prefix(b": ")?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    let semicolon = rest.iter().position(|byte| *byte == b';')?;
    let duration = rest.get(colon + 1..semicolon)?;
    decimal(duration)?;
    Some((decimal(rest.get(..colon)?.trim_ascii())?, rest.get(semicolon + 1..)?))
}

fn continued(text: &[u8]) -> (&[u8], bool) {
    match text.strip_suffix(b"\\") {
        Some(rest) => (rest, true),
        None => (text, false),
    }
}

fn unmetafied(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            0x83 => plain.extend(bytes.next().map(|byte| byte ^ 32)),
            _ => plain.push(*byte),
        }
    }
    plain
}

/// `\ooo` and `\\` of vis(3).
fn unvis(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let octal =
            rest.get(..3).and_then(|digits| super::text::in_base(digits, 8)).and_then(|byte| u8::try_from(byte).ok());
        match octal {
            Some(byte) => {
                plain.push(byte);
                rest = rest.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(rest.first().copied().unwrap_or(b'\\'));
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    plain
}

fn of_fish<'a>(lines: impl Iterator<Item = (u64, &'a [u8])>) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for (number, line) in lines {
        if let Some(text) = line.strip_prefix(b"- cmd: ") {
            commands.push(Command { line: number, time_secs: None, text: unescaped(text) });
        } else if let Some(time) = line.trim_ascii().strip_prefix(b"when: ")
            && let Some(last) = commands.last_mut()
        {
            last.time_secs = decimal(time);
        }
    }
    commands
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            }),
            _ => plain.push(*byte),
        }
    }
    plain
}

fn marked<'a>(lines: impl Iterator<Item = (u64, &'a [u8])>, mark: &[u8]) -> Vec<Command> {
    let text = |(number, line): (u64, &'a [u8])| {
        let text = line.strip_prefix(mark).filter(|text| !text.is_empty())?;
        Some(Command { line: number, time_secs: None, text: text.to_vec() })
    };
    lines.filter_map(text).collect()
}

/// A setting of a shell's history in a script that a shell reads when it starts: name and value as they stand.
pub fn setting(line: &[u8]) -> Option<(&'static str, String)> {
    const NAMES: [&str; 7] =
        ["HISTFILE", "HISTFILESIZE", "HISTSIZE", "SAVEHIST", "HISTCONTROL", "HISTIGNORE", "HISTTIMEFORMAT"];
    let line = line.trim_ascii();
    if line.starts_with(b"#") {
        return None;
    }
    let text = String::from_utf8_lossy(line);
    if text.contains("set +o history") || text.contains("history -c") || text.contains("unset HISTFILE") {
        return Some(("history", text.chars().take(1024).collect()));
    }
    let name = NAMES.iter().find(|name| assigned(&text, name).is_some())?;
    Some((name, assigned(&text, name)?))
}

/// The value that a line gives a variable: `NAME=value`, `export NAME="value"`, `set -gx NAME value` of fish is not read.
fn assigned(text: &str, name: &str) -> Option<String> {
    let mut from = 0;
    loop {
        let at = from + text.get(from..)?.find(name)?;
        let before = text.get(..at)?.chars().next_back();
        let rest = text.get(at + name.len()..)?;
        if before
            .is_none_or(|before| !before.is_ascii_alphanumeric() && before != '_' && before != '$' && before != '{')
            && let Some(value) = rest.strip_prefix('=')
        {
            let value = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value.get(1..)?.split(quote).next()?,
                _ => value.split([' ', ';', '\t', '&']).next()?,
            };
            return Some(value.chars().take(1024).collect());
        }
        from = at + name.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(content: &[u8], format: Format) -> Vec<(u64, Option<u64>, String)> {
        let text =
            |command: Command| (command.line, command.time_secs, String::from_utf8_lossy(&command.text).into_owned());
        parse(content, format, 100).into_iter().map(text).collect()
    }

    #[test]
    fn times_are_decoded_in_each_shells_way() {
        let bash = texts(b"ls\n#1764500000\nid; x\n\n#no time\nend", Format::Lines);
        let expect = [(1, None, "ls"), (3, Some(1_764_500_000), "id; x"), (5, None, "#no time"), (6, None, "end")];
        assert_eq!(bash, expect.map(|(line, time, text)| (line, time, text.to_owned())));
        let zsh = texts(b": 1764500000:0;a \\\nb\n: 1764500001:12;\xc3\x83\x84\n", Format::Lines);
        assert_eq!(zsh[0], (1, Some(1_764_500_000), "a \nb".to_owned()));
        assert_eq!(zsh[1], (3, Some(1_764_500_001), "ä".to_owned()));
        let fish = texts(b"- cmd: echo a\\nb\n  when: 1764500000\n  paths:\n    - x\n- cmd: last\n", Format::Fish);
        assert_eq!(fish[0], (1, Some(1_764_500_000), "echo a\nb".to_owned()));
        assert_eq!(fish[1].2, "last");
        assert_eq!(texts(b"_HiStOrY_V2_\nselect\\0401\\\\;\n", Format::Lines)[0].2, "select 1\\;");
        assert_eq!(texts(b"# x\n:wq\n:\n?/find\n|2,0\n", Format::Vim), [(2, None, "wq".to_owned())]);
    }

    #[test]
    fn the_last_commands_are_kept() {
        let commands = parse(b"a\nb\nc\n", Format::Lines, 2);
        assert_eq!(commands.iter().map(|command| command.line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn settings_are_found_where_they_are_set() {
        let found = |line: &str| setting(line.as_bytes());
        assert_eq!(found("export HISTFILE=/dev/null; x"), Some(("HISTFILE", "/dev/null".to_owned())));
        assert_eq!(found("  HISTFILE=\"$HOME/.h 1\""), Some(("HISTFILE", "$HOME/.h 1".to_owned())));
        assert_eq!(found("HISTSIZE=0"), Some(("HISTSIZE", "0".to_owned())));
        assert_eq!(found("unset HISTFILE"), Some(("history", "unset HISTFILE".to_owned())));
        assert_eq!((found("# HISTFILE=x"), found("echo $HISTFILE"), found("MYHISTFILE=x")), (None, None, None));
    }
}
