//! udev rules that run something: RUN, PROGRAM, IMPORT{program}, SYSTEMD_WANTS (udev(7)).

use super::formats::{content, joined_lines};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "udev_rule",
        globs: &["{/etc,/run,/usr/lib,/lib,/usr/local/lib}/udev/rules.d/*", "/etc/udev/*.{rules,conf}"],
        read: rules,
    },
    Mechanism {
        name: "udev_program",
        globs: &["/{etc,usr/local/lib}/udev/*"],
        read: |found, drafts| {
            if !found.path.ends_with(b".conf") && !found.path.ends_with(b".rules") && found.stat.stx_mode & 0o111 != 0 {
                super::formats::executable(found, drafts);
            }
        },
    },
    Mechanism {
        name: "hotplug_script",
        globs: &["/etc/hotplug.d/**", "/etc/hotplug/**", "/etc/usb_modeswitch.d/**"],
        read: super::formats::present,
    },
]);

fn rules(found: &Found, drafts: &mut Drafts) {
    if found.content.is_none() {
        return drafts.push(Draft::of(drafts.mechanism));
    }
    for (n, line) in joined_lines(content(found)) {
        let mut draft = Draft::at("udev_rule", n, &line);
        let mut matches = Vec::new();
        for token in tokens(&line) {
            let key = token.key;
            let is_program = matches!(key, b"RUN" | b"RUN{program}" | b"PROGRAM" | b"IMPORT{program}");
            if is_program && !token.operator.starts_with(b"!") {
                draft.kind.get_or_insert_with(|| key.to_vec());
                let command = token.value;
                // A name without a slash is one of udev's own programs.
                let (program, _) = super::formats::first_word(command);
                if !program.starts_with(b"/") && !program.is_empty() && !program.starts_with(b"$") {
                    draft.targets.push([b"/usr/lib/udev/", program].concat());
                    draft.targets.push([b"/lib/udev/", program].concat());
                }
                draft.run(command);
            } else if matches!(key, b"ENV{SYSTEMD_WANTS}" | b"ENV{SYSTEMD_USER_WANTS}") && token.operator != b"==" {
                draft.unit = Some(token.value.to_vec());
            } else if token.operator == b"==" || token.operator == b"!=" {
                matches.push([key, token.operator, token.value].concat());
            }
        }
        if !draft.runs.is_empty() || draft.unit.is_some() {
            draft.schedule = Some(matches.join(&b", "[..]));
            drafts.push(draft);
        }
    }
}

struct Token<'a> {
    key: &'a [u8],
    operator: &'a [u8],
    value: &'a [u8],
}

/// `KEY{attribute}OP"value"`, parted by commas.
fn tokens(line: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(open) = rest.iter().position(|byte| *byte == b'"') {
        let before = &rest[..open];
        // A backslash keeps a quote from ending the value.
        let mut end = open + 1;
        while end < rest.len() && rest[end] != b'"' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        let end = end.min(rest.len());
        let value = &rest[open + 1..end];
        let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || b"_{}".contains(byte);
        let start = before.iter().position(is_key).unwrap_or(before.len());
        let before = before[start..].strip_suffix(b"e").unwrap_or(&before[start..]);
        let name = before.iter().position(|byte| *byte == b'}').map_or(0, |at| at + 1);
        let operator =
            before[name..].iter().position(|byte| b"=!+-:".contains(byte)).map_or(before.len(), |at| name + at);
        tokens.push(Token { key: before[..operator].trim_ascii(), operator: before[operator..].trim_ascii(), value });
        rest = rest.get(end + 1..).unwrap_or_default();
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_operators_and_values() {
        let line = br#"ACTION=="never", ENV{a-b}=="x\"y", RUN+="/bin/true -a", IMPORT{program}="ata_id $devnode", X="#;
        let tokens: Vec<_> =
            tokens(line).iter().map(|t| [t.key, t.operator, t.value].map(String::from_utf8_lossy).join("|")).collect();
        assert_eq!(tokens[0], "ACTION|==|never");
        assert_eq!(tokens[2], "RUN|+=|/bin/true -a");
        assert_eq!(tokens[3], "IMPORT{program}|=|ata_id $devnode");
        assert_eq!(tokens.len(), 4);
        assert_eq!(super::tokens(b"RUN+=\"unclosed\\").len(), 1);
    }
}
