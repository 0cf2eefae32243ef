//! Definitions of ForensicArtifacts (artifacts.readthedocs.io, "Artifact definition format"), named in a step by
//! `artifact:`. Sources of the types FILE, PATH, DIRECTORY and ARTIFACT_GROUP that hold for Linux become paths of the
//! collector `files`; commands are never run, so sources of other types bring nothing.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Library, Mistake, Text, mistake, yaml};

/// Where Debian and Fedora install the public definitions, and where a site keeps its own; the first that has a name
/// has it.
pub const FOLDERS: [&str; 2] = ["/etc/holdfast/artifacts", "/usr/share/artifacts"];
/// The longest file of definitions.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Files of definitions in one folder.
pub const FILES_MAX: usize = 256;
/// How deep groups may hold groups.
const DEPTH_MAX: usize = 8;
/// Paths that one step may have.
const PATHS_MAX: usize = 2000;

/// The part of a definition that is read here; the rest is for people.
#[derive(Deserialize)]
struct Definition {
    #[serde(default)]
    sources: Vec<Source>,
    #[serde(default)]
    supported_os: Vec<String>,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    supported_os: Vec<String>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    paths: Vec<Value>,
}

/// The definition of that name among the documents of a file.
pub fn in_file(file: &Text, name: &str) -> Option<Text> {
    let wanted = format!("name: {name}");
    documents(&file.yaml)
        .find(|(_, document)| document.lines().any(|line| line.trim_end() == wanted))
        // The empty lines keep the numbers of the file's lines.
        .map(|(line, document)| Text { file: file.file.clone(), yaml: format!("{}{document}", "\n".repeat(line)) })
}

/// The names of all definitions in a file.
pub fn names(file: &Text) -> Vec<String> {
    file.yaml.lines().filter_map(|line| line.strip_prefix("name: ")).map(|name| name.trim().to_owned()).collect()
}

/// The documents of a YAML stream, each with the number of lines before it.
fn documents(stream: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut line = 0;
    let mut rest = Some(stream);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = line;
        let end = text.match_indices("---\n").map(|(at, _)| at).find(|at| *at == 0 || text[..*at].ends_with('\n'));
        let document = match end {
            Some(end) => {
                rest = text.get(end + 4..);
                &text[..end]
            }
            None => {
                rest = None;
                text
            }
        };
        line += document.lines().count() + 1;
        Some((at, document))
    })
}

/// The paths that the definition `name` stands for, in its order.
///
/// # Errors
/// What is wrong with the definition, or that there is none of that name.
pub(super) fn paths(library: &dyn Library, name: &str) -> Result<Vec<String>, Mistake> {
    let mut paths = Vec::new();
    let mut seen = BTreeSet::new();
    gather(library, name, 0, &mut seen, &mut paths)?;
    if paths.is_empty() {
        let text = Text { file: format!("artifact {name}"), yaml: String::new() };
        return Err(mistake(&text, 0, "it names no file of Linux".to_owned(), None));
    }
    Ok(paths)
}

fn gather(
    library: &dyn Library,
    name: &str,
    depth: usize,
    seen: &mut BTreeSet<String>,
    paths: &mut Vec<String>,
) -> Result<(), Mistake> {
    // A group that holds itself is read once.
    if depth > DEPTH_MAX || !seen.insert(name.to_owned()) {
        return Ok(());
    }
    let text = library.artifact(name).map_err(|known| {
        let hint = crate::suggest::nearest(name, known.iter().map(String::as_str)).map_or_else(
            || format!("definitions are looked for in {}", FOLDERS.join(" and ")),
            |near| format!("did you mean `{near}`?"),
        );
        let nowhere = Text { file: format!("artifact {name}"), yaml: String::new() };
        mistake(&nowhere, 0, format!("there is no definition `{name}`"), Some(hint))
    })?;
    let (value, lines) = yaml::parse(&text.yaml).map_err(|(line, message)| mistake(&text, line, message, None))?;
    let definition: Definition = super::arguments(value)
        .map_err(|error| mistake(&text, super::line_of(&lines, &error.path), error.message, error.hint))?;
    for source in definition.sources {
        let own = [&source.supported_os, &definition.supported_os];
        if own.iter().any(|of| !of.is_empty() && !of.iter().any(|os| os == "Linux")) {
            continue;
        }
        match source.kind.as_str() {
            "ARTIFACT_GROUP" => {
                for name in &source.attributes.names {
                    gather(library, name, depth + 1, seen, paths)?;
                }
            }
            "FILE" | "PATH" => add(&source.attributes.paths, &[""], paths),
            "DIRECTORY" => add(&source.attributes.paths, &["", "/*"], paths),
            _ => {}
        }
    }
    Ok(())
}

fn add(given: &[Value], ends: &[&str], paths: &mut Vec<String>) {
    for path in given.iter().filter_map(Value::as_str).filter_map(translated) {
        for end in ends {
            let path = format!("{path}{end}");
            if paths.len() < PATHS_MAX && !paths.contains(&path) {
                paths.push(path);
            }
        }
    }
}

/// A path of a definition as a glob of ours: the home is `~`, and `**3` (three levels) is `**`.
fn translated(path: &str) -> Option<String> {
    let path = path.replace("%%users.homedir%%", "~");
    if path.contains("%%") || !(path.starts_with('/') || path.starts_with("~/")) {
        return None;
    }
    let component = |part: &str| match part.strip_prefix("**") {
        Some(depth) if depth.bytes().all(|byte| byte.is_ascii_digit()) => "**".to_owned(),
        _ => part.to_owned(),
    };
    Some(path.split('/').map(component).collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# Definitions.\n---\nname: Own\ndoc: |\n  Two\n  lines.\nsources:\n- type: FILE\n  attributes:\n    paths:\n    - '/etc/own.conf'\n    - '%%users.homedir%%/.own/**3/*.log'\n    - '%%environ_systemroot%%\\x'\n- type: COMMAND\n  attributes:\n    args: []\n    cmd: /bin/true\n- type: DIRECTORY\n  attributes: {paths: ['/var/own']}\n  supported_os: [Linux]\nsupported_os: [Linux, Darwin]\n---\nname: All\ndoc: A group.\nsources:\n- type: ARTIFACT_GROUP\n  attributes:\n    names: [Own, All, Windows]\n---\nname: Windows\ndoc: Not here.\nsources:\n- type: FILE\n  attributes: {paths: ['/never']}\nsupported_os: [Windows]\n";

    struct One;
    impl Library for One {
        fn part(&self, _name: &str) -> Result<Text, Vec<String>> {
            Err(Vec::new())
        }

        fn artifact(&self, name: &str) -> Result<Text, Vec<String>> {
            let file = Text { file: "own.yaml".into(), yaml: FILE.into() };
            in_file(&file, name).ok_or_else(|| names(&file))
        }
    }

    #[test]
    fn files_of_linux_become_globs() {
        let wanted = ["/etc/own.conf", "~/.own/**/*.log", "/var/own", "/var/own/*"];
        assert_eq!(paths(&One, "Own").unwrap(), wanted);
        assert_eq!(paths(&One, "All").unwrap(), wanted, "a group that holds itself ends");
    }

    #[test]
    fn what_brings_nothing_is_said() {
        assert_eq!(paths(&One, "Windows").unwrap_err().to_string(), "artifact Windows: it names no file of Linux");
        let unknown = paths(&One, "Ow").unwrap_err().to_string();
        assert_eq!(unknown, "artifact Ow: there is no definition `Ow`\n  hint: did you mean `Own`?");
    }

    #[test]
    fn a_mistake_names_the_line_of_the_file() {
        struct Broken;
        impl Library for Broken {
            fn part(&self, _name: &str) -> Result<Text, Vec<String>> {
                Err(Vec::new())
            }
            fn artifact(&self, name: &str) -> Result<Text, Vec<String>> {
                let yaml = "name: A\n---\nname: B\nsources:\n- type: FILE\n  attributes: 5\n".to_owned();
                in_file(&Text { file: "b.yaml".into(), yaml }, name).ok_or_else(Vec::new)
            }
        }
        let said = paths(&Broken, "B").unwrap_err().to_string();
        assert!(said.starts_with("b.yaml:6: "), "{said}");
    }
}
