//! How facts look to people: times, sizes, ages, severities, and tables of them.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};

use wire::assessment::Severity;
use wire::{ByteSize, Instant};

use crate::commands::{Failure, IO};
use crate::escape::shown;

/// Columns when nobody says how wide the terminal is, and for running text.
const WIDTH: usize = 100;

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(IO, error)),
        _ => Ok(()),
    }
}

/// A word to the person at the terminal, beside the data.
pub fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Where output goes, and so how it may look.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Whether colours are understood and wanted.
    pub colour: bool,
    /// Columns of the terminal; `None` when it is none, and nothing is cut.
    pub width: Option<usize>,
}

impl Look {
    /// Neither colours nor cuts.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false, width: None };

    /// Of standard output. `NO_COLOR` (no-color.org) is heard.
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let width = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
        Self {
            colour: is_terminal && !is_set("NO_COLOR") && !is_dumb,
            width: width.filter(|width| is_terminal && *width >= 40),
        }
    }

    /// The text in a colour (SGR parameters), where there are colours.
    pub fn paint(self, sgr: &str, text: &str) -> String {
        if self.colour && !sgr.is_empty() { format!("\u{1b}[{sgr}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A severity; the worst stand out.
    pub fn severity(self, severity: Severity) -> String {
        self.paint(severity_sgr(severity), severity.name())
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        self.paint("1", text)
    }
}

const fn severity_sgr(severity: Severity) -> &'static str {
    match severity {
        Severity::Sev1 => "1;97;41",
        Severity::Sev2 => "1;31",
        Severity::Sev3 => "33",
        Severity::Sev4 => "2",
    }
}

/// One cell: its text, and its colour.
pub struct Cell(String, &'static str);

impl Cell {
    /// A severity in its colour.
    pub fn severity(severity: Severity) -> Self {
        Self(severity.name().to_owned(), severity_sgr(severity))
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    /// Text from anywhere: it is escaped.
    fn from(text: T) -> Self {
        Self(shown(text.as_ref()), "")
    }
}

/// Rows under headings, each column as wide as its widest cell.
pub struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table.
    pub fn new(headings: &[&'static str]) -> Self {
        Self { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row: one cell for each heading.
    pub fn row<const N: usize>(&mut self, cells: [Cell; N]) {
        debug_assert_eq!(N, self.headings.len());
        self.rows.push(cells.into());
    }

    /// True without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, each after `indent`. The last column is cut where the terminal ends.
    pub fn text(&self, look: Look, indent: &str) -> String {
        let columns = self.headings.len();
        let length = |text: &str| text.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|n| self.rows.iter().map(|row| length(&row[n].0)).chain([length(self.headings[n])]).max().unwrap_or(0))
            .collect();
        let before_last: usize = length(indent) + widths[..columns - 1].iter().map(|width| width + 2).sum::<usize>();
        let room = look.width.map(|width| width.saturating_sub(before_last).max(12));
        let mut out = String::new();
        let headings = self.headings.iter().map(|heading| Cell((*heading).to_owned(), "2")).collect();
        for row in std::iter::once(&headings).chain(&self.rows) {
            out.push_str(indent);
            for (n, Cell(text, sgr)) in row.iter().enumerate() {
                if n + 1 == columns {
                    out.push_str(&look.paint(sgr, &cut(text, room)));
                } else {
                    let padding = " ".repeat(widths[n] - length(text) + 2);
                    let _ = write!(out, "{}{padding}", look.paint(sgr, text));
                }
            }
            out.truncate(out.trim_end_matches(' ').len());
            out.push('\n');
        }
        out
    }
}

fn cut(text: &str, room: Option<usize>) -> String {
    match room {
        Some(room) if text.chars().count() > room => text.chars().take(room - 1).chain(['…']).collect(),
        _ => text.to_owned(),
    }
}

/// Running text in lines no wider than a page, each after `indent`. It is escaped.
pub fn wrapped(text: &str, indent: &str) -> String {
    let mut out = String::new();
    let mut line = 0;
    for word in text.split_whitespace() {
        let word = shown(word);
        let length = word.chars().count();
        if line > 0 && line + 1 + length > WIDTH - indent.len() {
            out.push('\n');
            line = 0;
        }
        if line == 0 {
            out.push_str(indent);
        } else {
            out.push(' ');
            line += 1;
        }
        out.push_str(&word);
        line += length;
    }
    out.push('\n');
    out
}

/// `2026-11-21 17:45:48Z`.
pub fn time(time: Instant) -> String {
    time.calendar().strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// `17:45:48`: for lines of today.
pub fn clock(time: Instant) -> String {
    time.calendar().strftime("%H:%M:%S").to_string()
}

/// `45 s ago`, `3 min ago`, `2 h ago`, `5 days ago`; `in 3 min` for what is to come.
pub fn ago(time: Instant, now: Instant) -> String {
    let seconds = now.unix_seconds() - time.unix_seconds();
    let span = match seconds.unsigned_abs() {
        0..2 => return "now".to_owned(),
        span @ 2..90 => format!("{span} s"),
        span @ 90..5_400 => format!("{} min", span / 60),
        span @ 5_400..172_800 => format!("{} h", span / 3_600),
        span => format!("{} days", span / 86_400),
    };
    if seconds < 0 { format!("in {span}") } else { format!("{span} ago") }
}

/// `1.5 MiB`.
pub fn bytes(count: u64) -> String {
    ByteSize(count).to_string()
}

/// The clock of this machine.
pub fn now() -> Instant {
    Instant(jiff::Timestamp::now().as_nanosecond())
}

/// `1 alert`, `2 alerts`.
pub fn counted(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["INCIDENT", "SEVERITY", "TITLE"]);
        table.row(["INC-2026-0001".into(), Cell::severity(Severity::Sev1), "web-1:\u{1b}[2J\ngone, ü".into()]);
        table.row(["INC-2".into(), Cell::severity(Severity::Sev4), "".into()]);
        table
    }

    #[test]
    fn columns_align_and_nothing_of_a_cell_reaches_the_terminal() {
        assert_eq!(
            table().text(Look::PLAIN, "  "),
            "  INCIDENT       SEVERITY  TITLE\n  INC-2026-0001  SEV1      web-1:\\u{1b}[2J\\ngone, ü\n  INC-2          SEV4\n"
        );
    }

    #[test]
    fn colours_do_not_shift_columns_and_a_terminal_s_end_cuts_the_last() {
        let text = table().text(Look { colour: true, width: Some(40) }, "");
        let line = text.lines().nth(1).unwrap();
        assert_eq!(line, "INC-2026-0001  \u{1b}[1;97;41mSEV1\u{1b}[0m      web-1:\\u{1b}[2…");
    }

    #[test]
    fn text_wraps_between_words() {
        let text = wrapped(&"word\u{7} ".repeat(40), "    ");
        assert!(text.lines().count() > 2 && text.lines().all(|line| line.len() <= WIDTH && line.starts_with("    w")));
        assert!(!text.contains('\u{7}'));
    }

    #[test]
    fn ages_are_short() {
        let at = |seconds: i128| Instant(seconds * 1_000_000_000);
        let shown: Vec<String> = [100, 55, 0, -7_200, -400_000].map(|then| ago(at(then), at(100))).into();
        assert_eq!(
            shown,
            ["now", "45 s ago", "100 s ago", "2 h ago", "4 days ago"].map(|text| text.replace("100 s", "1 min"))
        );
        assert_eq!(ago(at(400), at(100)), "in 5 min");
        assert_eq!((counted(1, "host"), counted(0, "host")), ("1 host".into(), "0 hosts".into()));
    }
}
