//! What an environment says that matters: how the loader is bent, and which telling variables there are.

use bundle::item::shown;

use crate::host::text::List;

/// Variables whose presence tells something of where a process comes from, or that bend what it runs: interpreters,
/// loaders, histories, proxies, sessions, clouds. Their values stand in the rows of `processes`.
const TELLING: [&str; 47] = [
    "ALL_PROXY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "BASH_ENV",
    "BROWSER",
    "CLASSPATH",
    "DISPLAY",
    "ENV",
    "GCONV_PATH",
    "GIT_EXTERNAL_DIFF",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GLIBC_TUNABLES",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HISTCONTROL",
    "HISTFILE",
    "HISTFILESIZE",
    "HISTIGNORE",
    "HISTSIZE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "JAVA_TOOL_OPTIONS",
    "KUBECONFIG",
    "KUBERNETES_SERVICE_HOST",
    "LOCPATH",
    "MAIL",
    "NODE_OPTIONS",
    "PERL5DB",
    "PERL5LIB",
    "PERL5OPT",
    "PROMPT_COMMAND",
    "PYTHONHOME",
    "PYTHONINSPECT",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "RUBYLIB",
    "RUBYOPT",
    "SSH_ASKPASS",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SSH_TTY",
    "SUDO_COMMAND",
    "SUDO_USER",
    "XAUTHORITY",
    "XDG_SESSION_ID",
];

/// A value as a row shows it.
pub type Value = (String, Option<String>);

/// The telling part of an environment.
#[derive(Debug, Default)]
pub struct Environment {
    /// LD_AUDIT.
    pub audit: Option<Value>,
    /// HISTFILE.
    pub histfile: Option<Value>,
    /// LD_LIBRARY_PATH.
    pub library_path: Option<Value>,
    /// Names of telling variables, sorted: those of the list, and all that begin with `LD_`.
    pub names: Vec<String>,
    /// LD_PRELOAD.
    pub preload: Option<Value>,
    /// How many variables there are.
    pub count: usize,
}

impl Environment {
    /// Reads `NAME=value` after `NAME=value`, each ended by a zero byte. Of a name that comes twice the first counts,
    /// as it does for getenv(3).
    pub fn of(environ: &[u8]) -> Self {
        let mut found = Self::default();
        for part in List::zero_ended(environ).parts() {
            let Some(equals) = part.iter().position(|byte| *byte == b'=') else { continue };
            let (name, value) = part.split_at(equals);
            let value = value.get(1..).unwrap_or_default();
            found.count += 1;
            let kept = match name {
                b"LD_AUDIT" => Some(&mut found.audit),
                b"LD_LIBRARY_PATH" => Some(&mut found.library_path),
                b"LD_PRELOAD" => Some(&mut found.preload),
                b"HISTFILE" => Some(&mut found.histfile),
                _ => None,
            };
            if let Some(kept) = kept {
                kept.get_or_insert_with(|| shown(value));
            }
            let Ok(name) = str::from_utf8(name) else { continue };
            let is_telling = name.starts_with("LD_")
                || TELLING.binary_search(&name).is_ok()
                || TELLING.binary_search(&name.to_ascii_uppercase().as_str()).is_ok();
            if is_telling && let Err(place) = found.names.binary_search_by(|known| known.as_str().cmp(name)) {
                found.names.insert(place, name.to_owned());
            }
        }
        found
    }

    /// Forgets the values of those that are not `shown`; their names stay.
    pub fn withhold(&mut self, shown: impl Fn(&[u8]) -> bool) {
        let values: [(&[u8], &mut Option<Value>); 4] = [
            (b"LD_AUDIT", &mut self.audit),
            (b"HISTFILE", &mut self.histfile),
            (b"LD_LIBRARY_PATH", &mut self.library_path),
            (b"LD_PRELOAD", &mut self.preload),
        ];
        for (_, value) in values.into_iter().filter(|(name, _)| !shown(name)) {
            *value = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_name_counts_and_names_are_sorted() {
        let environ =
            b"PATH=/bin\0LD_PRELOAD=/tmp/a.so\0LD_PRELOAD=/lib/b.so\0http_proxy=x\0LD_BIND_NOW=\0odd\0HISTFILE=\xff\0";
        let found = Environment::of(environ);
        assert_eq!(found.preload.unwrap().0, "/tmp/a.so");
        assert_eq!(found.names, ["HISTFILE", "LD_BIND_NOW", "LD_PRELOAD", "http_proxy"]);
        assert_eq!(found.histfile.unwrap().1.as_deref(), Some("/w=="));
        assert_eq!(found.count, 6);
        assert_eq!(Environment::of(b"").count, 0);
        assert!(TELLING.is_sorted());
    }
}
