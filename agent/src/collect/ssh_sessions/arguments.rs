//! What the arguments of ssh(1) ask for.

use bundle::item::shown;

/// Options of ssh(1) that take a value.
const WITH_VALUE: &[u8] = b"BbcDEeFIiJLlmOoPpQRSWw";
/// Entries of one list.
const ENTRIES_MAX: usize = 64;

/// A client's arguments, read as ssh reads them (getopt(3)). Words of ssh_config(5) that `-o` gives are treated like
/// their letters. The fields are documented in the row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags of a command line")]
pub struct Client {
    pub cmdline: String,
    pub command: Option<String>,
    pub control_path: Option<String>,
    pub destination: Option<String>,
    pub dynamic_forwards: Vec<String>,
    pub forwards_agent: bool,
    pub identity_files: Vec<String>,
    pub in_background: bool,
    pub is_master: bool,
    pub jump_hosts: Option<String>,
    pub local_forwards: Vec<String>,
    pub login_name: Option<String>,
    pub options: Vec<String>,
    pub port: Option<String>,
    pub proxy_command: Option<String>,
    pub remote_forwards: Vec<String>,
    pub runs_no_command: bool,
    pub stdio_forward: Option<String>,
    pub tunnel: Option<String>,
}

impl Client {
    /// Reads the arguments of a client.
    pub fn of(arguments: &[Vec<u8>]) -> Self {
        let words: Vec<String> = arguments.iter().map(|word| shown(word).0).collect();
        let mut client = Self { cmdline: words.join(" ").trim_end().to_owned(), ..Self::default() };
        let first = words.first().map_or("", String::as_str);
        // A master's title: `ssh: /run/cm [mux]`.
        if let Some(path) = first.strip_prefix("ssh: ").and_then(|rest| rest.trim_end().strip_suffix(" [mux]")) {
            client.is_master = true;
            client.control_path = Some(path.to_owned());
            return client;
        }
        let program = first.rsplit('/').next().unwrap_or_default();
        if matches!(program, "ssh" | "slogin" | "autossh") {
            client.read(words.get(1..).unwrap_or_default());
        }
        client
    }

    fn read(&mut self, words: &[String]) {
        let mut words = words.iter();
        let mut options_end = false;
        while let Some(word) = words.next() {
            if word == "--" && !options_end {
                options_end = true;
                continue;
            }
            let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty() && !options_end) else {
                if self.destination.is_none() {
                    if let Some((name, _)) = word.trim_start_matches("ssh://").rsplit_once('@') {
                        self.login_name.get_or_insert_with(|| name.to_owned());
                    }
                    self.destination = Some(word.clone());
                    // Options may follow the host; `--` before it only ends those in front.
                    options_end = false;
                    continue;
                }
                let rest: Vec<&str> = std::iter::once(word).chain(words.by_ref()).map(String::as_str).collect();
                self.command = Some(rest.join(" "));
                break;
            };
            for (place, letter) in letters.char_indices() {
                if !u8::try_from(letter).is_ok_and(|letter| WITH_VALUE.contains(&letter)) {
                    self.flag(letter);
                    continue;
                }
                let rest = letters.get(place + letter.len_utf8()..).unwrap_or_default();
                let value = if rest.is_empty() { words.next().map(String::as_str) } else { Some(rest) };
                self.value(letter, value.unwrap_or_default());
                break;
            }
        }
    }

    fn flag(&mut self, letter: char) {
        match letter {
            'A' => self.forwards_agent = true,
            'M' => self.is_master = true,
            'N' => self.runs_no_command = true,
            'f' => self.in_background = true,
            _ => {}
        }
    }

    fn value(&mut self, letter: char, value: &str) {
        let value = value.to_owned();
        let list = match letter {
            'D' => &mut self.dynamic_forwards,
            'L' => &mut self.local_forwards,
            'R' => &mut self.remote_forwards,
            'i' => &mut self.identity_files,
            'o' => {
                self.word(&value);
                &mut self.options
            }
            'J' => return self.jump_hosts = Some(value),
            'S' => return self.control_path = Some(value),
            'W' => return self.stdio_forward = Some(value),
            'l' => return self.login_name = Some(value),
            'p' => return self.port = Some(value),
            'w' => return self.tunnel = Some(value),
            _ => return,
        };
        if list.len() < ENTRIES_MAX {
            list.push(value);
        }
    }

    /// `Word=value` or `Word value` of ssh_config(5).
    fn word(&mut self, option: &str) {
        let Some((word, value)) = option.split_once(['=', ' ']) else { return };
        let value = value.trim_start_matches(['=', ' ']);
        match word.trim().to_ascii_lowercase().as_str() {
            "controlmaster" => self.is_master |= !value.eq_ignore_ascii_case("no"),
            "controlpath" => self.control_path = Some(value.to_owned()),
            "dynamicforward" => self.value('D', value),
            "forwardagent" => self.forwards_agent |= !value.eq_ignore_ascii_case("no"),
            "identityfile" => self.value('i', value),
            "localforward" => self.value('L', value),
            "port" => self.value('p', value),
            "proxycommand" => self.proxy_command = Some(value.to_owned()),
            "proxyjump" => self.value('J', value),
            "remoteforward" => self.value('R', value),
            "user" => self.value('l', value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(line: &str) -> Client {
        Client::of(&line.split('|').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn forwardings_and_flags() {
        let found =
            client("/usr/bin/ssh|-fNAM|-R|0.0.0.0:2222:localhost:22|-L8080:db:80|-D|1080|-S|/run/cm|-p2200|eve@h|-J|j");
        assert_eq!(found.remote_forwards, ["0.0.0.0:2222:localhost:22"]);
        assert_eq!(
            (found.local_forwards, found.dynamic_forwards),
            (vec!["8080:db:80".into()], vec!["1080".to_owned()])
        );
        assert!(found.in_background && found.runs_no_command && found.forwards_agent && found.is_master);
        assert_eq!((found.port.as_deref(), found.login_name.as_deref()), (Some("2200"), Some("eve")));
        assert_eq!((found.jump_hosts.as_deref(), found.destination.as_deref()), (Some("j"), Some("eve@h")));
        assert_eq!(found.command, None);
    }

    #[test]
    fn words_of_the_configuration_and_a_command() {
        let found = client("ssh|-o|ControlPath=/t/%h|-oRemoteForward 9 h:22|-o|ProxyCommand=nc %h %p|--|h|uname|-a");
        assert_eq!(found.control_path.as_deref(), Some("/t/%h"));
        assert_eq!(found.remote_forwards, ["9 h:22"]);
        assert_eq!(found.proxy_command.as_deref(), Some("nc %h %p"));
        assert_eq!((found.destination.as_deref(), found.command.as_deref()), (Some("h"), Some("uname -a")));
        assert_eq!(found.options.len(), 3);
    }

    #[test]
    fn titles_and_other_programs() {
        let found = client("ssh: /home/a/.ssh/cm-1 [mux]");
        assert!(found.is_master);
        assert_eq!(found.control_path.as_deref(), Some("/home/a/.ssh/cm-1"));
        let copy = client("scp|-R|x|h:/y");
        assert!(copy.remote_forwards.is_empty() && copy.cmdline == "scp -R x h:/y");
        for odd in ["ssh|-", "ssh|-L", "ssh|-ä|h", "", "ssh|--"] {
            let _ = client(odd);
        }
    }
}
