//! A site moves from a file and a folder to PostgreSQL and S3, and back, and nobody can tell.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Ended, Postgres, Running, S3, Site, server, until};

use super::holdings::{SOON, a_bundle, an_alert, download, files, text};

/// PostgreSQL and S3, and what processes need to use them.
struct Elsewhere {
    database: String,
    objects: String,
    variables: Vec<(String, String)>,
}

impl Elsewhere {
    fn new(postgres: &Postgres, s3: &S3, prefix: &str) -> Self {
        let address = postgres.database();
        // postgres://USER:PASSWORD@…: nothing secret is ever on a command line.
        let (scheme, rest) = address.split_once("://").unwrap();
        let (user, rest) = rest.split_once(':').unwrap();
        let (password, rest) = rest.split_once('@').unwrap();
        let mut variables = s3.variables();
        variables.push(("PGPASSWORD".to_owned(), password.replace("%20", " ")));
        Self { database: format!("{scheme}://{user}@{rest}"), objects: s3.url(prefix), variables }
    }

    fn start(&self, site: &Site, words: &[&str]) -> Running {
        let mut command = Command::new(server());
        command.args(words).arg("--data").arg(site.data()).envs(self.variables.iter().cloned());
        Running::start(&mut command)
    }

    fn run(&self, site: &Site, words: &[&str]) -> Ended {
        self.start(site, words).wait(SOON)
    }

    /// A command that works on what lies there.
    fn run_there(&self, site: &Site, words: &[&str]) -> Ended {
        self.run(site, &[words, &["--database", &self.database, "--objects", &self.objects]].concat())
    }

    fn migrate_there(&self, site: &Site) -> Ended {
        self.run(site, &["migrate", "--to", &self.database, "--to-objects", &self.objects])
    }

    fn migrate_back(&self, site: &Site) -> Ended {
        fs::rename(site.data().join("objects"), site.path("objects-before")).unwrap();
        self.run_there(site, &["migrate", "--to", "embedded", "--to-objects", "embedded"])
    }
}

/// Rows and digests of all tables.
fn copied(ended: &Ended) -> Vec<&str> {
    ended.stdout.lines().filter(|line| line.starts_with("copied ")).collect()
}

/// The names and contents of all objects in a folder.
fn objects(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(folder)
        .into_iter()
        .map(|file| (file.strip_prefix(folder).unwrap().to_owned(), fs::read(file).unwrap()))
        .collect()
}

#[test]
fn to_postgresql_and_s3_and_back() {
    let (Some(postgres), Some(s3)) = (Postgres::shared(), S3::start()) else { return };
    let mut site = Site::new();
    let incident = an_alert(&site, "one");
    let bundle = a_bundle(&site, &incident);
    let before = download(&site, &bundle, "before");
    let first = Elsewhere::new(postgres, &s3, "first");
    let refused = first.migrate_there(&site);
    assert!(refused.code() == Some(69) && refused.stderr.contains("in use"), "the server runs: {}", refused.said());
    site.stop_server().expect_code(0);

    // There and back at once: every row and every byte is the same.
    let there = first.migrate_there(&site).expect_code(0);
    assert!(
        copied(&there).len() >= 19 && there.stdout.contains("start      holdfast-server serve "),
        "{}",
        there.stdout
    );
    first.run_there(&site, &["scrub"]).expect_code(0);
    let in_folder = objects(&site.data().join("objects"));
    let back = first.migrate_back(&site).expect_code(0);
    assert_eq!(copied(&back), copied(&there));
    assert_eq!(objects(&site.data().join("objects")), in_folder);
    site.server(&["scrub"]).expect_code(0);
    // A place with something in it is not written to.
    let refused = first.migrate_there(&site);
    assert!(refused.code() == Some(69) && refused.stderr.contains("is not empty"), "{}", refused.said());

    // There again, in a fresh place, and this time it serves.
    let second = Elsewhere::new(postgres, &s3, "second");
    second.migrate_there(&site).expect_code(0);
    let address = site.address().to_string();
    let words = ["serve", "--listen", &address, "--database", &second.database, "--objects", &second.objects];
    let serving = second.start(&site, &words);
    let client = site.client();
    until("the server is ready", SOON, || {
        client.get(format!("{}/readyz", site.url())).send().ok().filter(|answer| answer.status().is_success())
    });
    assert_eq!(download(&site, &bundle, "elsewhere"), before);
    an_alert(&site, "two");
    let more = a_bundle(&site, &incident);
    let more_bytes = download(&site, &more, "more");
    site.holdfast(&["custody", "verify"]).expect_code(0);
    let backups = site.path("backups");
    let backup = second.run_there(&site, &["backup", "--output", text(&backups)]).expect_code(0);
    assert!(backup.stdout.contains("custody "), "{}", backup.stdout);
    second.run_there(&site, &["scrub"]).expect_code(0);
    let segment = s3.paths("second/evidence").remove(0);
    let mut changed = s3.object(&segment).unwrap();
    let good = changed.clone();
    changed[0] ^= 1;
    s3.change(&segment, changed);
    let said = second.run_there(&site, &["scrub"]).expect_code(1).stdout;
    let name = segment.strip_prefix("second/").unwrap();
    assert!(said.contains(&format!("WRONG    {name}: its digest is another")), "{said}");
    s3.change(&segment, good);
    serving.signal(rustix::process::Signal::TERM);
    serving.wait(SOON).expect_code(0);

    // What was backed up there comes back here.
    let here = site.path("here");
    let mut restore = Command::new(server());
    restore.args(["restore", "--from", text(&backups), "--data", text(&here)]);
    Running::start(&mut restore).wait(SOON).expect_code(0);
    fs::rename(site.data(), site.path("old")).unwrap();
    fs::rename(&here, site.data()).unwrap();
    site.start_server();
    assert_eq!(download(&site, &bundle, "at-last"), before);
    assert_eq!(download(&site, &more, "at-last-more"), more_bytes);
    site.holdfast(&["custody", "verify"]).expect_code(0);
}
