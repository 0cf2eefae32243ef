//! Which program a command line starts: the shell's quoting and separators, not its language.
//!
//! Known limits: no variable is expanded, no substitution is run, and of a pipe the first program counts that does more
//! than test or prepare.

use crate::files::inspect::last_name;

/// How often a command may hold another one (`sh -c "sh -c …"`).
const DEPTH_MAX: u8 = 4;
/// The longest command that is looked at.
const COMMAND_BYTES_MAX: usize = 64 << 10;
/// Words that only prepare: the next command is the one that counts.
const PREPARING: [&[u8]; 17] = [
    b"[", b"[[", b"cd", b"command", b"elif", b"else", b"export", b"fi", b"if", b"set", b"test", b"then", b"ulimit",
    b"umask", b"unset", b"while", b":",
];
/// Programs that start the one that their arguments name.
const STARTING: [&[u8]; 15] = [
    b"chroot", b"chrt", b"doas", b"env", b"exec", b"ionice", b"nice", b"nohup", b"runuser", b"setpriv", b"setsid",
    b"stdbuf", b"sudo", b"time", b"timeout",
];
/// Options of the above that take a word of their own.
const WITH_VALUE: [&[u8]; 9] = [b"-C", b"-c", b"-g", b"-h", b"-k", b"-n", b"-p", b"-s", b"-u"];
/// Programs that run the file that their first argument names.
const INTERPRETERS: [&[u8]; 15] = [
    b"ash", b"bash", b"busybox", b"csh", b"dash", b"ksh", b"lua", b"mksh", b"node", b"perl", b"php", b"python",
    b"ruby", b"sh", b"zsh",
];

/// The program that `command` starts: an absolute path, or a bare name that is looked for in PATH. For an interpreter
/// with a script, the script.
pub fn program(command: &[u8]) -> Option<Vec<u8>> {
    let command = command.get(..COMMAND_BYTES_MAX).unwrap_or(command);
    let segments = segments(command);
    let found = segments.iter().find_map(|words| of_words(words, 0));
    found.or_else(|| segments.into_iter().flatten().find(|word| is_path(word)))
}

fn is_path(word: &[u8]) -> bool {
    word.len() > 1 && word.starts_with(b"/") && !word.contains(&b'$') && !word.contains(&b'*')
}

fn of_words(words: &[Vec<u8>], depth: u8) -> Option<Vec<u8>> {
    let mut rest = words;
    loop {
        let (first, after) = rest.split_first()?;
        if is_assignment(first) || matches!(first.as_slice(), b"!" | b"{" | b"do") {
            rest = after;
            continue;
        }
        let name = last_name(first);
        if PREPARING.contains(&name) || first.starts_with(b"$") || first.starts_with(b"-") {
            return None;
        }
        if matches!(name, b"." | b"source") {
            return after.first().filter(|path| is_path(path)).cloned();
        }
        if STARTING.contains(&name) {
            rest = after_options(after);
            // The number of seconds of timeout(1).
            if name == b"timeout" {
                rest = rest.get(1..).unwrap_or_default();
            }
            continue;
        }
        if is_interpreter(name)
            && let Some(script) = script(after, depth)
        {
            return Some(script);
        }
        return Some(first.clone()).filter(|first| !first.is_empty());
    }
}

fn after_options(mut words: &[Vec<u8>]) -> &[Vec<u8>] {
    while let Some((first, after)) = words.split_first() {
        if is_assignment(first) {
            words = after;
        } else if first.starts_with(b"-") {
            let skipped = usize::from(WITH_VALUE.contains(&first.as_slice()));
            words = after.get(skipped..).unwrap_or_default();
        } else {
            break;
        }
    }
    words
}

fn is_interpreter(name: &[u8]) -> bool {
    let stem = name.iter().position(u8::is_ascii_digit).map_or(name, |at| &name[..at]);
    INTERPRETERS.contains(&stem) || INTERPRETERS.contains(&name)
}

/// The script of an interpreter's arguments, or the program in its `-c`.
fn script(arguments: &[Vec<u8>], depth: u8) -> Option<Vec<u8>> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let is_option = argument.starts_with(b"-") && argument.len() > 1;
        if !is_option {
            return Some(argument.clone()).filter(|path| is_path(path));
        }
        if !argument.starts_with(b"--") && argument.ends_with(b"c") {
            let inner = arguments.next().filter(|_| depth < DEPTH_MAX)?;
            return segments(inner).iter().find_map(|words| of_words(words, depth + 1));
        }
    }
    None
}

/// True for `NAME=value`.
pub fn is_assignment(word: &[u8]) -> bool {
    let Some(equals) = word.iter().position(|byte| *byte == b'=') else { return false };
    let name = &word[..equals];
    name.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_')
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The simple commands of a line, each as its words without quotes.
fn segments(line: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut segments = Vec::new();
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = 0;
    let mut bytes = line.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if quote != b'\'' => word.get_or_insert_default().extend(bytes.next()),
            b'\'' | b'"' if quote == 0 => {
                quote = byte;
                word.get_or_insert_default();
            }
            _ if quote != 0 && byte == quote => quote = 0,
            _ if quote != 0 => word.get_or_insert_default().push(byte),
            b'#' if word.is_none() => break,
            b' ' | b'\t' => words.extend(word.take()),
            b';' | b'|' | b'&' | b'(' | b')' | b'\n' | b'`' => {
                words.extend(word.take());
                if !words.is_empty() {
                    segments.push(std::mem::take(&mut words));
                }
            }
            _ => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    if !words.is_empty() {
        segments.push(words);
    }
    segments
}

/// The words of a line without their quotes.
pub fn words(line: &[u8]) -> Vec<Vec<u8>> {
    segments(line.get(..COMMAND_BYTES_MAX).unwrap_or(line)).into_iter().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_that_counts() {
        for (command, expected) in [
            ("/bin/true # fx", Some("/bin/true")),
            ("test -x /usr/sbin/anacron || ( cd / && run-parts --report /etc/cron.daily )", Some("run-parts")),
            ("[ -d \"/run/systemd/system\" ] && exit", Some("exit")),
            ("/bin/sh -c '/tmp/x -a; true'", Some("/tmp/x")),
            ("bash -lc \"nohup /dev/shm/.k &\"", Some("/dev/shm/.k")),
            ("/usr/bin/python3 -u /opt/x.py --y", Some("/opt/x.py")),
            ("/usr/bin/python3.11 -m http.server", Some("/usr/bin/python3.11")),
            ("sudo -u nobody env A=1 nice -n 5 /opt/run", Some("/opt/run")),
            ("timeout 10 /opt/run", Some("/opt/run")),
            ("LD_PRELOAD=/x.so exec /opt/a\\ b", Some("/opt/a b")),
            (". /etc/x.sh", Some("/etc/x.sh")),
            ("curl -s http://x | bash", Some("curl")),
            ("[ -x /a ]", Some("/a")),
            ("sh -c \"sh -c 'sh -c \\\"x\\\"'\"", Some("x")),
            ("$HOME/run", None),
            ("", None),
            ("'", None),
        ] {
            let found = program(command.as_bytes()).map(|path| String::from_utf8(path).unwrap());
            assert_eq!(found.as_deref(), expected, "{command}");
        }
    }

    #[test]
    fn a_hostile_line_is_only_a_line() {
        let deep = b"sh -c 'sh -c ".repeat(10_000);
        let _ = program(&deep);
        let _ = program(&b"((((".repeat(100_000));
        let _ = program(&[0xff; 1000]);
    }
}
