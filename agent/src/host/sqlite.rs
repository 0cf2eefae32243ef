//! A reader of SQLite databases: tables in full, nothing else (sqlite.org/fileformat2.html).
//!
//! Why not SQLite: it is C, larger than all collectors together, and wants to write (locks, the index of the
//! write-ahead log). Here pages are read as they lie in the file, with those of a `-wal` file over them up to its last
//! commit. No query, no index: a caller walks a table and takes the columns that it knows by name.
//!
//! Known limits: tables WITHOUT ROWID are refused, a hot rollback journal is not rolled back, and what SQLite writes
//! while we read may be torn: the page that is malformed for it is an error after the rows before it.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// The most bytes of one row.
const ROW_BYTES_MAX: u64 = 256 << 20;
/// The most levels of pages above a leaf: a tree of 2^31 pages has fewer.
const DEPTH_MAX: usize = 24;
/// The longest write-ahead log that is read.
const WAL_BYTES_MAX: u64 = 1 << 30;
/// The most columns of one row (SQLITE_MAX_COLUMN cannot be set higher).
const COLUMNS_MAX: usize = 32_767;

/// Something that can be read anywhere.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// As pread(2); `UnexpectedEof` when there is less.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
        let piece = start.checked_add(buffer.len()).and_then(|end| self.get(start..end));
        buffer.copy_from_slice(piece.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Why a database, or the rest of one, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// It is no database, or a kind that this reader does not know.
    #[error("{0}")]
    Unknown(&'static str),
    /// A page does not hold what it must.
    #[error("page {page}: {what}")]
    Malformed {
        /// Its number, from 1.
        page: u32,
        /// What is wrong with it.
        what: &'static str,
    },
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Real(f64),
    /// Text, as UTF-8 if the database keeps it as that or as UTF-16; whatever bytes are there otherwise.
    Text(Vec<u8>),
    /// Bytes.
    Blob(Vec<u8>),
}

impl Value {
    /// The integer, if it is one.
    pub fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    /// The bytes of a text or a blob.
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Text(bytes) | Self::Blob(bytes) = self { Some(bytes) } else { None }
    }

    /// A text or a blob as text, invalid UTF-8 replaced.
    pub fn text(&self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// The names of its columns, in their order.
    pub columns: Vec<String>,
    root: u32,
    rowid_column: Option<usize>,
}

impl Table {
    /// The value of the column with that name in a row of this table.
    pub fn get<'a>(&self, row: &'a [Value], column: &str) -> Option<&'a Value> {
        let at = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        row.get(at)
    }
}

/// An open database.
pub struct Database {
    file: Box<dyn ReadAt>,
    wal: Option<Box<dyn ReadAt>>,
    /// Where in the write-ahead log the newest committed content of a page lies.
    in_wal: HashMap<u32, u64>,
    page_bytes: usize,
    usable_bytes: usize,
    pages: u32,
    utf16: Option<Endian>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endian {
    Little,
    Big,
}

impl Database {
    /// Opens a database of `bytes` bytes, with its write-ahead log of so many bytes, if there is one.
    ///
    /// # Errors
    /// When it is none, or cannot be read.
    pub fn open(
        (file, bytes): (impl ReadAt + 'static, u64),
        wal: Option<(impl ReadAt + 'static, u64)>,
    ) -> Result<Self, Error> {
        let mut header = [0; 100];
        file.fill(&mut header, 0).map_err(|_| Error::Unknown("shorter than the header of an SQLite database"))?;
        if !header.starts_with(b"SQLite format 3\0") {
            return Err(Error::Unknown("not an SQLite database"));
        }
        let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
            1 => 65_536,
            size if size.is_power_of_two() && size >= 512 => usize::from(size),
            _ => return Err(Error::Unknown("an SQLite database with an impossible page size")),
        };
        let usable_bytes = page_bytes.saturating_sub(usize::from(header[20]));
        if usable_bytes < 480 {
            return Err(Error::Unknown("an SQLite database with an impossible number of reserved bytes"));
        }
        let pages = u32::try_from(bytes / page_bytes as u64).unwrap_or(u32::MAX);
        let utf16 = match header[59] {
            2 => Some(Endian::Little),
            3 => Some(Endian::Big),
            _ => None,
        };
        let mut database =
            Self { file: Box::new(file), wal: None, in_wal: HashMap::new(), page_bytes, usable_bytes, pages, utf16 };
        if let Some((wal, bytes)) = wal {
            database.read_wal(&wal, bytes.min(WAL_BYTES_MAX));
            database.wal = Some(Box::new(wal));
        }
        Ok(database)
    }

    /// Finds the pages of the write-ahead log that belong to a transaction that was committed. A log that is malformed
    /// ends where it is, as SQLite has it.
    fn read_wal(&mut self, wal: &impl ReadAt, bytes: u64) {
        let mut header = [0; 32];
        if wal.fill(&mut header, 0).is_err() {
            return;
        }
        let endian = match be32(&header, 0) {
            0x377f_0682 => Endian::Little,
            0x377f_0683 => Endian::Big,
            _ => return,
        };
        let mut sums = checksum((0, 0), &header[..24], endian);
        if sums != (be32(&header, 24), be32(&header, 28)) || be32(&header, 8) as usize != self.page_bytes {
            return;
        }
        let frame_bytes = self.page_bytes as u64 + 24;
        let mut frame = vec![0; self.page_bytes + 24];
        let mut waiting = Vec::new();
        let mut at = 32;
        while at + frame_bytes <= bytes && wal.fill(&mut frame, at).is_ok() {
            sums = checksum(checksum(sums, &frame[..8], endian), &frame[24..], endian);
            let is_of_this_log = frame[8..16] == header[16..24];
            if !is_of_this_log || sums != (be32(&frame, 16), be32(&frame, 20)) {
                break;
            }
            waiting.push((be32(&frame, 0), at + 24));
            let pages_after = be32(&frame, 4);
            if pages_after != 0 {
                self.in_wal.extend(waiting.drain(..));
                self.pages = pages_after;
            }
            at += frame_bytes;
        }
    }

    fn page(&self, number: u32) -> Result<Vec<u8>, Error> {
        if number == 0 || number > self.pages {
            return Err(Error::Malformed { page: number, what: "not a page of this database" });
        }
        let mut page = vec![0; self.page_bytes];
        match (&self.wal, self.in_wal.get(&number)) {
            (Some(wal), Some(offset)) => wal.fill(&mut page, *offset)?,
            _ => self.file.fill(&mut page, u64::from(number - 1) * self.page_bytes as u64)?,
        }
        Ok(page)
    }

    /// The tables, in the order in which they were made.
    ///
    /// # Errors
    /// When the schema cannot be read.
    pub fn tables(&self) -> Result<Vec<Table>, Error> {
        let schema = Table { name: String::new(), columns: Vec::new(), root: 1, rowid_column: None };
        let mut tables = Vec::new();
        // type, name, tbl_name, rootpage, sql
        self.rows(&schema, |_, row| {
            let [kind, name, _, root, sql, ..] = row.as_slice() else { return true };
            let root = root.integer().and_then(|root| u32::try_from(root).ok()).unwrap_or(0);
            if kind.bytes() == Some(b"table")
                && root != 0
                && let (Some(name), Some(sql)) = (name.text(), sql.text())
            {
                let (columns, rowid_column) = columns(&sql);
                tables.push(Table { name, columns, root, rowid_column });
            }
            true
        })?;
        Ok(tables)
    }

    /// The table with that name.
    ///
    /// # Errors
    /// When the schema cannot be read, or there is no such table.
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        let found = self.tables()?.into_iter().find(|table| table.name.eq_ignore_ascii_case(name));
        found.ok_or(Error::Unknown("there is no such table"))
    }

    /// Calls `each` with the id and the values of every row, in the order of ids, until it answers false.
    ///
    /// # Errors
    /// At the first page that is malformed or cannot be read.
    pub fn rows(&self, table: &Table, mut each: impl FnMut(i64, Vec<Value>) -> bool) -> Result<(), Error> {
        // The pages still to visit, the next one last. Each page of a tree has one parent, so that there are never more
        // visits than pages: a tree that is a loop ends by that.
        let mut waiting = vec![(table.root, 0)];
        let mut left = u64::from(self.pages);
        while let Some((number, depth)) = waiting.pop() {
            let malformed = |what| Error::Malformed { page: number, what };
            left = left.checked_sub(1).ok_or(malformed("the tree is a loop"))?;
            if depth > DEPTH_MAX {
                return Err(malformed("the tree is too deep"));
            }
            let page = self.page(number)?;
            let start = if number == 1 { 100 } else { 0 };
            let cells = usize::from(be16(&page, start + 3));
            let (is_leaf, pointers) = match page.get(start) {
                Some(13) => (true, start + 8),
                Some(5) => (false, start + 12),
                Some(2 | 10) => return Err(Error::Unknown("a table WITHOUT ROWID is not read")),
                _ => return Err(malformed("not a page of a table")),
            };
            let pointers = page.get(pointers..pointers + 2 * cells).ok_or(malformed("more cells than fit"))?;
            let cells = pointers.chunks_exact(2).map(|pointer| usize::from(be16(pointer, 0)));
            if is_leaf {
                for cell in cells {
                    let cell = page.get(cell..self.usable_bytes).ok_or(malformed("a cell outside the page"))?;
                    let (id, payload) = self.payload(number, cell)?;
                    let mut row = self.record(&payload).ok_or(malformed("a row that does not fit its header"))?;
                    if let Some(column) = table.rowid_column
                        && let Some(value) = row.get_mut(column)
                        && *value == Value::Null
                    {
                        *value = Value::Integer(id);
                    }
                    if !each(id, row) {
                        return Ok(());
                    }
                }
            } else {
                waiting.push((be32(&page, start + 8), depth + 1));
                for cell in cells.rev() {
                    let child = page.get(cell..cell + 4).ok_or(malformed("a cell outside the page"))?;
                    waiting.push((be32(child, 0), depth + 1));
                }
            }
        }
        Ok(())
    }

    /// The id and the whole payload of a cell of a leaf, what lies on overflow pages included.
    fn payload(&self, page: u32, cell: &[u8]) -> Result<(i64, Vec<u8>), Error> {
        let malformed = |what| Error::Malformed { page, what };
        let (length, first) = varint(cell).ok_or(malformed("a cell that is cut"))?;
        let (id, second) = varint(cell.get(first..).unwrap_or_default()).ok_or(malformed("a cell that is cut"))?;
        let content = cell.get(first + second..).unwrap_or_default();
        if length > ROW_BYTES_MAX || length > u64::from(self.pages) * self.page_bytes as u64 {
            return Err(malformed("a row that is longer than can be"));
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let usable = self.usable_bytes;
        let local_max = usable - 35;
        let id = id.cast_signed();
        if length <= local_max {
            return Ok((id, content.get(..length).ok_or(malformed("a row that is cut"))?.to_vec()));
        }
        let local_min = (usable - 12) * 32 / 255 - 23;
        let fitting = local_min + (length - local_min) % (usable - 4);
        let local = if fitting <= local_max { fitting } else { local_min };
        let mut payload = content.get(..local).ok_or(malformed("a row that is cut"))?.to_vec();
        let next = content.get(local..local + 4).ok_or(malformed("a row that is cut"))?;
        let mut next = be32(next, 0);
        // Each overflow page adds bytes, so that a chain that is a loop ends with the row.
        while payload.len() < length {
            let page = self.page(next)?;
            let piece = (length - payload.len()).min(usable - 4);
            payload.extend_from_slice(&page[4..4 + piece]);
            next = be32(&page, 0);
        }
        Ok((id, payload))
    }

    /// The values of a row ("Record Format").
    fn record(&self, payload: &[u8]) -> Option<Vec<Value>> {
        let (header_bytes, mut at) = varint(payload)?;
        let header = payload.get(..usize::try_from(header_bytes).ok()?)?;
        let mut content = payload.get(header.len()..)?;
        let mut values = Vec::new();
        while at < header.len() {
            let (kind, read) = varint(&header[at..])?;
            at += read;
            let bytes = match kind {
                0..=4 => usize::try_from(kind).ok()?,
                5 => 6,
                6 | 7 => 8,
                8 | 9 => 0,
                10 | 11 => return None,
                _ => usize::try_from((kind - 12) / 2).ok()?,
            };
            let (value, rest) = content.split_at_checked(bytes)?;
            content = rest;
            if values.len() >= COLUMNS_MAX {
                return None;
            }
            values.push(match kind {
                0 => Value::Null,
                8 => Value::Integer(0),
                9 => Value::Integer(1),
                7 => Value::Real(f64::from_be_bytes(value.try_into().ok()?)),
                1..=6 => Value::Integer(signed(value)),
                _ if kind % 2 == 0 => Value::Blob(value.to_vec()),
                _ => Value::Text(self.text(value)),
            });
        }
        Some(values)
    }

    fn text(&self, bytes: &[u8]) -> Vec<u8> {
        let Some(endian) = self.utf16 else { return bytes.to_vec() };
        let units = bytes.chunks_exact(2).map(|unit| match endian {
            Endian::Little => u16::from_le_bytes([unit[0], unit[1]]),
            Endian::Big => u16::from_be_bytes([unit[0], unit[1]]),
        });
        char::decode_utf16(units)
            .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect::<String>()
            .into_bytes()
    }
}

/// The names of the columns in a `CREATE TABLE`, and which of them is another name of the row's id.
fn columns(sql: &str) -> (Vec<String>, Option<usize>) {
    const CONSTRAINTS: [&str; 5] = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
    let mut names = Vec::new();
    let mut rowid_column = None;
    for definition in definitions(sql) {
        let (name, rest, is_quoted) = first_name(definition);
        if name.is_empty() || !is_quoted && CONSTRAINTS.iter().any(|word| name.eq_ignore_ascii_case(word)) {
            continue;
        }
        let words: Vec<String> = rest.split_ascii_whitespace().map(str::to_ascii_uppercase).collect();
        if words.first().is_some_and(|word| word == "INTEGER")
            && words.windows(2).any(|pair| pair == ["PRIMARY", "KEY"])
        {
            rowid_column = Some(names.len());
        }
        names.push(name);
    }
    (names, rowid_column)
}

/// What stands between the commas of the outermost brackets.
fn definitions(sql: &str) -> Vec<&str> {
    let Some(open) = sql.find('(') else { return Vec::new() };
    let body = &sql[open + 1..];
    let (mut depth, mut start, mut quote) = (0_usize, 0, None);
    let mut parts = Vec::new();
    for (at, character) in body.char_indices() {
        match (quote, character) {
            (Some(end), _) if end == character => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => {
                parts.push(&body[start..at]);
                return parts;
            }
            (None, ')') => depth -= 1,
            (None, ',') if depth == 0 => {
                parts.push(&body[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts
}

/// The first name of a definition, what follows it, and whether it was quoted.
fn first_name(definition: &str) -> (String, &str, bool) {
    let definition = definition.trim_start();
    let close = match definition.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => Some(quote),
        Some('[') => Some(']'),
        _ => None,
    };
    if let Some(close) = close
        && let Some((name, rest)) = definition[1..].split_once(close)
    {
        return (name.to_owned(), rest, true);
    }
    let end = definition.find(|character: char| character.is_ascii_whitespace()).unwrap_or(definition.len());
    (definition[..end].to_owned(), &definition[end..], false)
}

/// The checksum of the write-ahead log over pairs of 32-bit words.
fn checksum((mut a, mut b): (u32, u32), bytes: &[u8], endian: Endian) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let value = be32(bytes, 0);
        if endian == Endian::Big { value } else { value.swap_bytes() }
    };
    for pair in bytes.chunks_exact(8) {
        a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
        b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
    }
    (a, b)
}

/// A number of one to nine bytes, and how many they were.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        if at == 8 {
            return Some((value << 8 | u64::from(*byte), 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// A big-endian integer of one to eight bytes with a sign.
fn signed(bytes: &[u8]) -> i64 {
    let start = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}

/// Two bytes at `at`; zero where there are none.
fn be16(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Four bytes at `at`; zero where there are none.
fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by SQLite 3.40, page size 512:
    /// `CREATE TABLE t(id INTEGER PRIMARY KEY, "the name" TEXT, n, b BLOB, CHECK (n IS NOT 'a,(b'))`, then 200 rows
    /// `(i, 'name-i', i*i - 300, NULL)`, a row 1000 with 5000 bytes of `x` as `b`, and a value of each width as `n`; then,
    /// in a log that was not checkpointed, `UPDATE t SET "the name" = 'from the log' WHERE id = 7`.
    const MAIN: &[u8] = include_bytes!("sqlite/main.sqlite");
    const LOG: &[u8] = include_bytes!("sqlite/main.sqlite-wal");

    fn open(main: Vec<u8>, log: Option<Vec<u8>>) -> Result<Database, Error> {
        let bytes = main.len() as u64;
        Database::open(
            (main, bytes),
            log.map(|log| {
                let bytes = log.len() as u64;
                (log, bytes)
            }),
        )
    }

    fn all(database: &Database) -> Result<Vec<(i64, Vec<Value>)>, Error> {
        let mut rows = Vec::new();
        let table = database.table("t")?;
        database.rows(&table, |id, row| {
            rows.push((id, row));
            true
        })?;
        Ok(rows)
    }

    #[test]
    fn a_table_is_read_through_all_its_pages() {
        let database = open(MAIN.to_vec(), None).unwrap();
        let table = database.table("T").unwrap();
        assert_eq!(table.columns, ["id", "the name", "n", "b"]);
        let rows = all(&database).unwrap();
        assert_eq!(rows.len(), 207);
        let (id, row) = &rows[6];
        assert_eq!((*id, table.get(row, "id").unwrap()), (7, &Value::Integer(7)));
        assert_eq!(table.get(row, "The Name").unwrap().text().unwrap(), "name-7");
        assert_eq!(table.get(row, "n"), Some(&Value::Integer(-251)));
        let long = rows.iter().find(|(id, _)| *id == 1000).unwrap();
        assert_eq!(table.get(&long.1, "b"), Some(&Value::Blob(vec![b'x'; 5000])));
        let wide: Vec<_> = rows[201..].iter().map(|(_, row)| row[2].clone()).collect();
        let expected = [-1, 32_767, -8_388_608, 140_737_488_355_327, i64::MIN].map(Value::Integer);
        assert_eq!(wide[..5], expected);
        assert_eq!(wide[5], Value::Real(1.5));
    }

    #[test]
    fn what_was_committed_to_the_log_counts_and_nothing_after_it() {
        let name = |database: &Database| all(database).unwrap()[6].1[1].text().unwrap();
        assert_eq!(name(&open(MAIN.to_vec(), Some(LOG.to_vec())).unwrap()), "from the log");
        let mut torn = LOG.to_vec();
        let last = torn.len() - 1;
        torn[last] ^= 1;
        assert_eq!(name(&open(MAIN.to_vec(), Some(torn)).unwrap()), "name-7");
        assert_eq!(name(&open(MAIN.to_vec(), Some(LOG[..LOG.len() - 1].to_vec())).unwrap()), "name-7");
        assert_eq!(name(&open(MAIN.to_vec(), Some(vec![0; 40])).unwrap()), "name-7");
    }

    #[test]
    fn no_bytes_make_it_panic_or_run_for_ever() {
        for cut in (0..MAIN.len()).step_by(97) {
            if let Ok(database) = open(MAIN[..cut].to_vec(), None) {
                let _ = all(&database);
            }
        }
        let mut state = 1_u32;
        for _ in 0..400 {
            let mut bytes = MAIN.to_vec();
            for _ in 0..8 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            if let Ok(database) = open(bytes, Some(LOG.to_vec())) {
                let _ = all(&database);
            }
        }
        // A tree whose root is its own child.
        let mut looped = MAIN.to_vec();
        let root = 512;
        looped[root] = 5;
        looped[root + 3..root + 5].copy_from_slice(&[0, 0]);
        looped[root + 8..root + 12].copy_from_slice(&[0, 0, 0, 2]);
        assert!(matches!(all(&open(looped, None).unwrap()), Err(Error::Malformed { .. })));
        assert!(matches!(open(b"SQLite format 3\0".to_vec(), None), Err(Error::Unknown(_))));
    }

    #[test]
    fn columns_are_known_by_name() {
        let names = |sql| columns(sql).0.join("|");
        assert_eq!(
            names("CREATE TABLE a('x y' INT,[b] , `c`, \"d,e\" TEXT, f DECIMAL(1,2), PRIMARY KEY (f))"),
            "x y|b|c|d,e|f"
        );
        assert_eq!(columns("CREATE TABLE a(b, c integer primary key autoincrement)").1, Some(1));
        assert_eq!(columns("CREATE TABLE a").0, [""; 0]);
    }
}
