//! The item records: one line each, in order, without gaps, and true to the entries that they describe.

use std::collections::BTreeMap;

use super::finding::{Findings, code};
use super::table::{MODE_PLAIN, MODE_SYMLINK, Table};
use crate::item::{HardLink, Item, Meta, Status};
use crate::merkle::Tree;
use crate::zip::Method;

/// The items so far.
#[derive(Clone, Default)]
pub(super) struct Items {
    /// The tree over all lines.
    pub tree: Tree,
    /// Lines since the last checkpoint.
    pub in_set: u64,
    /// How many have which status.
    pub by_status: BTreeMap<Status, u64>,
    last_id: u64,
    /// The bundle's part number, from bundle.json.
    pub part: u32,
}

/// An item whose content an earlier part of the run holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The item.
    pub from: u64,
    /// The part that holds it.
    pub part: u32,
    /// The item there.
    pub item: u64,
}

impl Items {
    /// Takes one line of the set `set`; `None` stands for one that is too long. Returns what it says of an earlier part.
    pub fn line(
        &mut self,
        line: Option<&[u8]>,
        set: &str,
        offset: u64,
        table: &mut Table,
        findings: &mut Findings,
    ) -> Option<Link> {
        self.in_set += 1;
        let subject = format!("{set}, line {}", self.in_set);
        if line.is_none() {
            findings.add(code::LIMIT, &subject, offset, "it is longer than this version takes");
        }
        let line = line.unwrap_or_default();
        self.tree.push(line);
        let parsed = serde_json::from_slice::<serde_json::Value>(line).ok().filter(|value| {
            // Sorted keys, no spaces, no key twice: there is one way to write a record.
            value.to_string().as_bytes() == line
        });
        let item = match parsed.map(serde_json::from_value::<Item>) {
            Some(Ok(item)) => item,
            Some(Err(error)) => {
                findings.add(code::ITEM_MISMATCH, &subject, offset, format!("it is no item record: {error}"));
                return None;
            }
            None => {
                let message = "it is not one line of JSON with sorted keys and no spaces";
                findings.add(code::ITEM_MISMATCH, &subject, offset, message);
                return None;
            }
        };
        *self.by_status.entry(item.status).or_default() += 1;
        if item.id != self.last_id + 1 {
            let message = format!("item {} comes after item {}", item.id, self.last_id);
            findings.add(code::ITEM_GAP, &subject, offset, message);
        }
        self.last_id = item.id;
        if let Err(message) = describe(&item, self.part, table) {
            findings.add(code::ITEM_MISMATCH, &subject, offset, message);
        }
        match item.hardlink_of {
            Some(HardLink::Earlier { item: there, part }) => Some(Link { from: item.id, part, item: there }),
            _ => None,
        }
    }
}

/// Holds an item against the entry that it names, and notes in the entry what the item says of it.
fn describe(item: &Item, part: u32, table: &mut Table) -> Result<(), String> {
    let id = item.id;
    let message = match item.hardlink_of {
        Some(HardLink::Item(first)) if first == 0 || first >= id => {
            Some(format!("item {first}, which is no earlier one"))
        }
        Some(HardLink::Earlier { item: 0, .. }) => Some("item 0, which nothing is".to_owned()),
        Some(HardLink::Earlier { part: there, .. }) if there == 0 || there >= part => {
            Some(format!("part {there}, which is none before part {part}"))
        }
        _ => None,
    };
    if let Some(message) = message {
        return Err(format!("item {id} says that its content stands in {message}"));
    }
    let Some(stored) = &item.stored else { return Ok(()) };
    let Some(place) = table.find(stored) else {
        return Err(format!("item {id} says that its content is in {stored:?}, which is not there before it"));
    };
    let Some(entry) = table.get_mut(place).filter(|entry| !entry.is_folder()) else {
        return Err(format!("item {id} says that its content is in {stored:?}, which is a folder"));
    };
    if item.sha256 != Some(entry.sha256) || item.size != Some(entry.size) {
        return Err(format!(
            "item {id} says that {stored:?} has {} bytes with SHA-256 {}; it has {} with {}",
            item.size.unwrap_or_default(),
            item.sha256.map(|digest| digest.to_string()).unwrap_or_default(),
            entry.size,
            entry.sha256
        ));
    }
    if item.hardlink_of.is_some() {
        return Ok(());
    }
    if entry.item != 0 {
        return Err(format!("items {} and {id} both describe {stored:?}", entry.item));
    }
    entry.item = id;
    if !entry.is_root_file() {
        return Ok(());
    }
    let meta = item.meta.as_deref();
    let mode = meta.and_then(Meta::st_mode).filter(|mode| mode >> 16 == 0).unwrap_or(MODE_PLAIN);
    let is_symlink = meta.is_some_and(|meta| meta.file_type == "symlink");
    if is_symlink && entry.method != Method::Stored {
        return Err(format!("item {id} is a symbolic link, and {stored:?} is not stored"));
    }
    if !is_symlink && mode & 0o170_000 != 0o100_000 {
        return Err(format!("item {id} has content, and its mode is that of neither a file nor a link"));
    }
    entry.mode = if is_symlink { MODE_SYMLINK } else { mode };
    Ok(())
}
