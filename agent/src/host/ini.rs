//! `Key=value` in `[sections]`: the format of units, desktop entries, credentials of clouds and many others.

/// A setting.
pub struct Setting<'a> {
    /// The section that it is in; empty before the first.
    pub section: &'a [u8],
    /// The key, trimmed.
    pub key: &'a [u8],
    /// The value, trimmed.
    pub value: Vec<u8>,
    /// Number of the (first) line, from 1.
    pub line: usize,
}

/// The lines, numbered from 1, without what ends them.
pub fn lines(content: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let numbered = (1..).zip(content.split(|byte| *byte == b'\n'));
    numbered.map(|(n, line)| (n, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// The settings, in order; `#` and `;` begin comments, a backslash at the end joins lines.
pub fn settings(content: &[u8]) -> Vec<Setting<'_>> {
    let mut settings: Vec<Setting<'_>> = Vec::new();
    let mut section: &[u8] = b"";
    let mut goes_on = false;
    for (n, line) in lines(content) {
        let line = line.trim_ascii();
        let is_comment = line.starts_with(b"#") || line.starts_with(b";");
        if is_comment || (line.is_empty() && !goes_on) {
            continue;
        }
        let (text, more) = match line.strip_suffix(b"\\") {
            Some(text) => (text.trim_ascii_end(), true),
            None => (line, false),
        };
        if goes_on {
            if let Some(last) = settings.last_mut() {
                last.value.push(b' ');
                last.value.extend_from_slice(text);
            }
        } else if let Some(name) = text.strip_prefix(b"[") {
            section = name.strip_suffix(b"]").unwrap_or(name);
        } else if let Some(equals) = text.iter().position(|byte| *byte == b'=') {
            let (key, value) = (text[..equals].trim_ascii(), text[equals + 1..].trim_ascii().to_vec());
            settings.push(Setting { section, key, value, line: n });
        } else {
            continue;
        }
        goes_on = more;
    }
    settings
}
