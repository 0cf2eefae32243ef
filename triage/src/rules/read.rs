//! The texts of rules into values of their types, each mistake with the file and line that it was made in.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use wire::Sha256;
use wire::profile::{Mistake, Text, arguments, did_you_mean};

use super::layers::{Place, Places, parse};

/// A file of a site: its name within the rules (`taxonomy.yaml`, `sources/acme.yaml`), and its text under the name by
/// which people know the file.
#[derive(Clone, Debug)]
pub struct SiteFile {
    /// Within the rules.
    pub name: String,
    /// Of the whole file.
    pub text: Text,
}

pub(crate) struct Reader<'a> {
    shipped: Vec<(&'static str, &'a str)>,
    site: &'a [SiteFile],
    places: BTreeMap<String, Places>,
    pub(super) mistakes: Vec<Mistake>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(shipped: Vec<(&'static str, &'a str)>, site: &'a [SiteFile]) -> Self {
        let mut reader = Self { shipped, site, places: BTreeMap::new(), mistakes: Vec::new() };
        for (n, file) in site.iter().enumerate() {
            let is_known = reader.is_shipped(&file.name) || is_in_list(&file.name);
            if !is_known {
                let known = reader.shipped.iter().map(|(name, _)| *name);
                let hint = did_you_mean(&file.name, known);
                let message = "no rules are read from a file of this name".to_owned();
                reader.mistakes.push(Mistake { file: file.text.file.clone(), line: 0, message, hint: Some(hint) });
            } else if site.iter().take(n).any(|other| other.name == file.name) {
                let message = format!("`{}` is there twice", file.name);
                reader.mistakes.push(Mistake { file: file.text.file.clone(), line: 0, message, hint: None });
            }
        }
        reader
    }

    fn is_shipped(&self, name: &str) -> bool {
        self.shipped.iter().any(|(shipped, _)| *shipped == name)
    }

    /// All files below `folder`: those that only the site has, then the shipped ones.
    pub(super) fn all<T: DeserializeOwned>(&mut self, folder: &str) -> Vec<(String, T)> {
        let site = self.site.iter().map(|file| file.name.clone()).filter(|name| !self.is_shipped(name));
        let shipped = self.shipped.iter().map(|(name, _)| (*name).to_owned());
        let names: Vec<String> = site.chain(shipped).filter(|name| name.starts_with(folder)).collect();
        names.into_iter().filter_map(|name| self.file(&name).map(|read| (name, read))).collect()
    }

    /// The file of this name: the shipped one with what the site's says over it.
    pub(super) fn file<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let shipped = self.shipped.iter().find(|(shipped, _)| *shipped == name);
        let shipped = shipped.map(|(_, yaml)| Text { file: name.to_owned(), yaml: (*yaml).to_owned() });
        let site = self.site.iter().find(|file| file.name == name).map(|file| file.text.clone());
        let mut node = |text: Option<Text>| {
            text.and_then(|text| parse(&text).map_err(|mistake| self.mistakes.push(told(mistake))).ok())
        };
        let merged = match (node(shipped), node(site)) {
            (Some(shipped), Some(site)) => {
                let version = shipped.scalar("version").cloned().unwrap_or_default();
                let mut merged = shipped.under(site, &mut self.mistakes);
                merged.mark_changed(&version);
                merged
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return None,
        };
        let mut places = Places::new();
        let value = merged.flat("", &mut places);
        let read = arguments(value).map_err(|error| {
            let Place { file, line } = place_of(&places, &error.path);
            self.mistakes.push(Mistake { file, line, message: error.message, hint: error.hint });
        });
        self.places.insert(name.to_owned(), places);
        read.ok()
    }

    pub(crate) fn known(&mut self, what: &str, name: &str, is_known: bool, file: &str, path: &str) {
        if !is_known {
            self.mistake(file, path, format!("unknown or missing {what} `{name}`"));
        }
    }

    pub(crate) fn mistake(&mut self, file: &str, path: &str, message: String) {
        let place = self.places.get(file).map(|places| place_of(places, path));
        let Place { file, line } = place.unwrap_or_else(|| Place { file: file.to_owned(), line: 0 });
        self.mistakes.push(Mistake { file, line, message, hint: None });
    }

    /// Of everything that was read.
    pub(super) fn digest(&self) -> Sha256 {
        let shipped = self.shipped.iter().map(|(name, yaml)| ("shipped", *name, *yaml));
        let site = self.site.iter().map(|file| ("site", file.name.as_str(), file.text.yaml.as_str()));
        let lines: Vec<String> = shipped
            .chain(site)
            .map(|(layer, name, yaml)| format!("{layer} {name:?} {}\n", Sha256::of(yaml.as_bytes())))
            .collect();
        Sha256::of(lines.concat().as_bytes())
    }
}

/// True when it is one of the files of which there may be any number.
fn is_in_list(name: &str) -> bool {
    ["recognise/", "sources/"].iter().any(|folder| {
        let file = name.strip_prefix(folder).and_then(|rest| rest.strip_suffix(".yaml"));
        file.is_some_and(|stem| !stem.is_empty() && !stem.starts_with('.') && !stem.contains('/'))
    })
}

/// YAML's own words for a bracket within a list's brackets help nobody.
fn told(mut mistake: Mistake) -> Mistake {
    if mistake.message.contains("flow sequence") || mistake.message.contains("flow mapping") {
        mistake.hint = Some("within [ ] and { }, what has brackets or braces itself stands in quotes".to_owned());
    }
    mistake
}

/// The place of `path`, or of the nearest thing above it that has one.
fn place_of(places: &Places, path: &str) -> Place {
    let mut path = path;
    loop {
        if let Some(place) = places.get(path) {
            return place.clone();
        }
        path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        if path.is_empty() {
            return places.get("").cloned().unwrap_or_default();
        }
    }
}
