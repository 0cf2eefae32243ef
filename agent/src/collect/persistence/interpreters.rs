//! What interpreters load by themselves: Python's `.pth` files and customisation modules, Perl's and PHP's likes
//! (site(3py), perlrun(1), php.ini).

use super::formats::{content, lines_that_begin_with, present, script_draft};
use super::row::Draft;
use super::{Drafts, Family, Mechanism};
use crate::files::inspect::Found;

pub(super) static FAMILY: Family = Family::of(&[
    Mechanism {
        name: "python_pth",
        globs: &[
            "{/usr/lib,/usr/lib64,/usr/local/lib,/usr/local/lib64}/python*/{site-packages,dist-packages}/*.pth",
            "~/.local/lib/python*/site-packages/*.pth",
            "/opt/{*,*/*}/lib/python*/site-packages/*.pth",
        ],
        read: pth,
    },
    Mechanism {
        name: "python_customize",
        globs: &[
            "{/usr/lib,/usr/lib64,/usr/local/lib,/usr/local/lib64}/python*/{,site-packages/,dist-packages/}{site,user}customize.py",
            "/etc/python*/sitecustomize.py",
            "~/.local/lib/python*/site-packages/{site,user}customize.py",
            "/opt/{*,*/*}/lib/python*/site-packages/{site,user}customize.py",
            "~/.{pythonrc,pythonrc.py,pythonstartup,ipython/profile_default/startup/*}",
        ],
        read: python,
    },
    Mechanism {
        name: "perl_customize",
        globs: &[
            "/etc/perl/sitecustomize.pl",
            "/usr/{local/,}{lib,lib64,share}/perl{,5}/{*,*/*}/sitecustomize.pl",
            "~/.perldb",
        ],
        read: python,
    },
    Mechanism {
        name: "php_setting",
        globs: &["/etc/php*/**/*.ini", "/etc/{php.ini,php.d/*}", "/usr/local/etc/php/{php.ini,conf.d/*}"],
        read: |found, drafts| {
            lines_that_begin_with(
                found,
                drafts,
                &["auto_prepend_file", "auto_append_file", "extension", "zend_extension", "sendmail_path"],
            );
        },
    },
    Mechanism { name: "ruby_startup", globs: &["~/.{irbrc,pryrc,gemrc,rdebugrc}", "/etc/irbrc"], read: python },
    Mechanism { name: "node_startup", globs: &["~/.node_repl.js", "~/.npmrc", "/etc/npmrc"], read: present },
    Mechanism { name: "r_startup", globs: &["~/.Rprofile", "/etc/R/{Rprofile.site,Renviron}"], read: python },
]);

/// A line that begins with `import` is run at every start of the interpreter (site(3py)); others are folders.
fn pth(found: &Found, drafts: &mut Drafts) {
    for (n, line) in super::formats::code_lines(content(found)) {
        if line.starts_with(b"import ") || line.starts_with(b"import\t") {
            drafts.push(Draft {
                form: Some("import"),
                runs: vec![line.to_vec()],
                ..Draft::at(drafts.mechanism, n, line)
            });
        } else {
            let targets = if line.starts_with(b"/") { vec![line.to_vec()] } else { Vec::new() };
            drafts.push(Draft { form: Some("path"), targets, ..Draft::at(drafts.mechanism, n, line) });
        }
    }
}

fn python(found: &Found, drafts: &mut Drafts) {
    drafts.push(script_draft(found, drafts.mechanism));
}
