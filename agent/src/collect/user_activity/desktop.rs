//! What desktops keep: the list of recent documents (recently-used.xbel, freedesktop.org's desktop bookmark
//! specification) and the notes beside trashed files (`.trashinfo`, its trash specification).

use bundle::time::Instant;

/// A document that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it lies: a path, or a URL that is no file's.
    pub target: Vec<u8>,
    /// The last program that opened it.
    pub application: Option<String>,
    /// When it was listed first.
    pub added: Option<Instant>,
    /// When it was last changed.
    pub modified: Option<Instant>,
    /// When it was last opened.
    pub visited: Option<Instant>,
}

/// The documents in a list, at most `max`. The file is read as text, mark by mark: it needs no more of XML.
pub fn documents(content: &[u8], max: usize) -> Vec<Document> {
    let text = String::from_utf8_lossy(content);
    let mut documents: Vec<Document> = Vec::new();
    for mark in text.split('<').skip(1) {
        if let Some(mark) = mark.strip_prefix("bookmark ") {
            if documents.len() >= max {
                break;
            }
            let time =
                |name| attribute(mark, name)?.parse::<jiff::Timestamp>().ok().map(|at| Instant(at.as_nanosecond()));
            let href = attribute(mark, "href").unwrap_or_default();
            documents.push(Document {
                target: percent_decoded(href.strip_prefix("file://").unwrap_or(&href).as_bytes()),
                application: None,
                added: time("added"),
                modified: time("modified"),
                visited: time("visited"),
            });
        } else if let Some(mark) = mark.strip_prefix("bookmark:application ")
            && let Some(last) = documents.last_mut()
        {
            last.application = attribute(mark, "name");
        }
    }
    documents
}

fn attribute(mark: &str, name: &str) -> Option<String> {
    let at = mark.find(&format!("{name}=\""))? + name.len() + 2;
    let value = mark.get(at..)?.split('"').next()?;
    let plain = value.replace("&quot;", "\"").replace("&apos;", "'").replace("&lt;", "<").replace("&gt;", ">");
    Some(plain.replace("&amp;", "&").chars().take(4096).collect())
}

/// `%41` and the like (RFC 3986); what is malformed stays as it is.
pub fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let digits = (*byte == b'%').then(|| rest.get(..2)).flatten();
        match digits.and_then(|digits| crate::host::text::in_base(digits, 16)).and_then(|byte| u8::try_from(byte).ok())
        {
            Some(decoded) => {
                plain.push(decoded);
                rest = rest.get(2..).unwrap_or_default();
            }
            None => plain.push(*byte),
        }
    }
    plain
}

/// A trashed file: where it was, and when it was trashed, in local time.
pub fn trashed(content: &[u8]) -> Option<(Vec<u8>, Option<jiff::civil::DateTime>)> {
    let line = |key: &[u8]| {
        content.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(key)).map(<[u8]>::trim_ascii)
    };
    let path = percent_decoded(line(b"Path=")?);
    let date = line(b"DeletionDate=").and_then(|date| str::from_utf8(date).ok()?.parse().ok());
    Some((path, date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recent_documents_and_trash_are_read() {
        let list = br#"<?xml version="1.0"?><xbel><bookmark href="file:///home/a/se%20cret&amp;.pdf" added="2025-11-30T10:00:00Z" modified="2025-11-30T10:00:01.5Z" visited="bad"><info><bookmark:application name="evince" exec="&apos;evince %u&apos;"/></info></bookmark><bookmark "#;
        let found = documents(list, 10);
        assert_eq!(found[0].target, b"/home/a/se cret&.pdf");
        assert_eq!((found[0].application.as_deref(), found[0].visited), (Some("evince"), None));
        assert_eq!(found[0].added, Some(Instant(1_764_496_800_000_000_000)));
        assert_eq!((found.len(), documents(list, 1).len()), (2, 1));
        let (path, date) = trashed(b"[Trash Info]\nPath=/home/a/x%0Ay%zz\nDeletionDate=2025-11-30T11:00:00\n").unwrap();
        assert_eq!(path, b"/home/a/x\ny%zz");
        assert_eq!(date.unwrap().to_string(), "2025-11-30T11:00:00");
        assert_eq!(trashed(b"\xff"), None);
    }
}
