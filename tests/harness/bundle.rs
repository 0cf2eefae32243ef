//! What is in a bundle, read by the `zip` crate: not by the code that wrote it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use zip::ZipArchive;

/// An opened bundle.
pub struct Opened {
    archive: ZipArchive<File>,
    names: Vec<String>,
}

impl Opened {
    /// Opens it.
    pub fn at(path: &Path) -> Self {
        let archive = ZipArchive::new(File::open(path).unwrap()).unwrap();
        let names = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        Self { archive, names }
    }

    /// The names of all entries, in the order of the stream.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The content of an entry.
    #[track_caller]
    pub fn read(&mut self, name: &str) -> Vec<u8> {
        let mut content = Vec::new();
        let mut entry = self.archive.by_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        entry.read_to_end(&mut content).unwrap();
        content
    }

    /// A JSON entry.
    #[track_caller]
    pub fn json(&mut self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// All lines of the JSONL entries whose names begin so.
    pub fn lines(&mut self, prefix: &str) -> Vec<Value> {
        let names: Vec<String> = self.names.iter().filter(|name| name.starts_with(prefix)).cloned().collect();
        let names =
            names.iter().filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "jsonl"));
        names.flat_map(|name| jsonl(&self.read(name))).collect()
    }

    /// All item records.
    pub fn items(&mut self) -> Vec<Value> {
        self.lines("data/items/")
    }
}

/// One JSON value a line.
pub fn jsonl(bytes: &[u8]) -> Vec<Value> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}
