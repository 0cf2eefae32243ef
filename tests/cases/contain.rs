//! "Isolation cuts all but what is named, comes back as it was, and is never left between."

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{At, Ended, Running, Segment, agent, is_root_or_skipped, keeper_ends, until};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_mins(1);
/// An established connection comes back with its next retransmission.
const OPEN_AGAIN: Duration = Duration::from_secs(40);

struct Contained {
    segment: Segment,
    state: tempfile::TempDir,
}

impl Contained {
    fn new(what: &str) -> Option<Self> {
        if !is_root_or_skipped(what) {
            return None;
        }
        let contained = Self { segment: Segment::make()?, state: tempfile::tempdir().unwrap() };
        if contained.segment.nft("list tables").code() != Some(0) {
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "skipped: {what}: this kernel has no nf_tables");
            return None;
        }
        Some(contained)
    }

    fn command(&self, words: &str) -> Command {
        let mut command = self.segment.command(agent());
        command.args(words.split_whitespace()).env("HOLDFAST_STATE_DIR", self.state.path());
        command
    }

    fn run(&self, words: &str) -> Ended {
        Running::start(&mut self.command(words)).wait(DEADLINE)
    }

    fn isolate(&self, lease: &str) -> Value {
        let words = format!("{} --lease {lease} --json", Self::isolation());
        serde_json::from_str(&self.run(&words).expect_code(0).stdout).unwrap()
    }

    fn isolation() -> String {
        let [four, six] = At::Collector.addresses();
        format!("contain isolate_network --allow {four} --allow {six}")
    }

    /// The containments that are under way, by the journal.
    fn under_way(&self) -> Vec<Value> {
        read_all(&self.state.path().join("contain/journal"))
    }

    fn is_open_again(&self) {
        until("all ways are open again", OPEN_AGAIN, || self.segment.wrong(false).is_empty().then_some(()));
        assert_eq!(self.segment.nft("list ruleset").stdout.trim(), "", "nothing is left in nf_tables");
        assert!(self.under_way().is_empty());
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        // A test that failed leaves no keeper behind.
        let _ = Running::start(&mut self.command("release --all")).wait(DEADLINE);
        keeper_ends(self.state.path(), DEADLINE);
    }
}

fn read_all(folder: &Path) -> Vec<Value> {
    let Ok(found) = std::fs::read_dir(folder) else { return Vec::new() };
    let files =
        found.flatten().map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
    files.filter_map(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()).collect()
}

fn events(entry: &Value) -> Vec<&str> {
    entry["untold"].as_array().unwrap().iter().map(|untold| untold["event"]["containment"].as_str().unwrap()).collect()
}

#[test]
fn only_the_exceptions_stay_open_through_a_flush_by_others_and_release_brings_all_back() {
    let Some(contained) = Contained::new("isolation") else { return };
    assert_eq!(contained.segment.wrong(false), []);
    contained.run(&format!("{} --rehearse", Contained::isolation())).expect_code(0);
    assert_eq!(contained.segment.nft("list ruleset").stdout, "", "a rehearsal changes nothing");

    let told = contained.isolate("1h");
    assert_eq!((&told["phase"], &told["holds"]), (&"applied".into(), &true.into()));
    let ruleset = || contained.segment.nft("list ruleset").stdout;
    let whole = ruleset();
    assert_eq!(contained.segment.wrong(true), []);
    assert!(contained.run("status").expect_code(0).stdout.contains("in force until"));

    contained.segment.nft("flush ruleset").expect_code(0);
    until("it is in place again", Duration::from_secs(2), || (ruleset() == whole).then_some(()));
    assert_eq!(contained.segment.wrong(true), []);
    let table = whole.lines().find_map(|line| line.strip_prefix("table inet ")?.strip_suffix(" {")).unwrap();
    contained.segment.nft(&format!("insert rule inet {table} output accept")).expect_code(0);
    until("a rule that was slipped in is gone", Duration::from_secs(2), || (ruleset() == whole).then_some(()));
    let entry = until("both were told", DEADLINE, || {
        contained
            .under_way()
            .pop()
            .filter(|entry| events(entry).iter().filter(|told| **told == "tampered").count() >= 2)
    });
    assert_eq!(events(&entry)[..3], ["planned", "applied", "validated"]);

    contained.run("release").expect_code(0);
    contained.is_open_again();
    let over = read_all(&contained.state.path().join("contain/done"));
    assert_eq!(events(&over[0]).last(), Some(&"released"));
}

#[test]
fn a_host_whose_collector_went_away_restores_itself_when_the_lease_ends() {
    let Some(contained) = Contained::new("the end of a lease") else { return };
    contained.isolate("5s");
    contained.segment.plug(false);
    assert!(contained.segment.nft("list ruleset").stdout.contains("holdfast containment"));
    until("the lease has ended", DEADLINE, || contained.under_way().is_empty().then_some(()));
    contained.segment.plug(true);
    contained.is_open_again();
}

#[test]
fn a_keeper_that_was_killed_is_followed_by_the_next_and_the_lease_ends_all_the_same() {
    let Some(contained) = Contained::new("a killed keeper") else { return };
    let first = Running::start(&mut contained.command("keep"));
    contained.isolate("10s");
    // Another waits to take its place: this is what the unit's restart does.
    let _second = Running::start(&mut contained.command("keep"));
    if !first.is_over() {
        first.signal(rustix::process::Signal::KILL);
    }
    until("the lease has ended", DEADLINE, || contained.under_way().is_empty().then_some(()));
    contained.is_open_again();
}

#[test]
fn killed_at_every_write_of_the_journal_it_is_isolated_or_as_before_and_never_between() {
    let Some(contained) = Contained::new("kills at every write") else { return };
    let dying = |words: &str, at: u32| {
        let mut command = contained.command(words);
        Running::start(command.env("HOLDFAST_TEST_DIE_AT", at.to_string()))
    };
    let (mut killed, mut killed_in_undo) = (0, 0);
    for at in 1..100 {
        // The wish is on the medium, and who wished is dead: all else is the keeper's.
        let _ = dying(&format!("{} --lease 1h", Contained::isolation()), 2).wait(DEADLINE);
        let keeper = dying("keep", at);
        let is_isolated = || contained.under_way().iter().all(|entry| entry["holds"] == true);
        until("the keeper is dead or done", DEADLINE, || (keeper.is_over() || is_isolated()).then_some(()));
        let was_killed = !is_isolated();
        killed += u32::from(was_killed);
        // Twice in the same one, and then who comes next goes on with it.
        drop(keeper);
        let second = dying("keep", at / 2 + 1);
        until("the second is dead or done", DEADLINE, || (second.is_over() || is_isolated()).then_some(()));
        drop(second);
        let keeper = Running::start(&mut contained.command("keep"));
        until("it is isolated", DEADLINE, || is_isolated().then_some(()));
        drop(keeper);
        let tables = contained.segment.nft("list tables").stdout;
        assert_eq!(tables.lines().count(), contained.under_way().len() * 2, "killed at {at}: {tables}");

        for at in [at, at / 2 + 1] {
            killed_in_undo += u32::from(dying("release --all", at).wait(DEADLINE).code().is_none());
        }
        contained.run("release --all").expect_code(0);
        assert_eq!(contained.segment.nft("list ruleset").stdout, "", "killed at {at}");
        if !was_killed {
            break;
        }
    }
    if killed == 0 {
        use std::io::Write as _;
        let _ =
            writeln!(std::io::stderr(), "skipped: kills at every write: only a debug build of the agent dies there");
        return;
    }
    assert!(killed > 8 && killed_in_undo > 8, "only {killed} and {killed_in_undo} writes were met");
    contained.is_open_again();
}

#[test]
fn wrong_input_is_refused_by_name() {
    if !is_root_or_skipped("refusals of containment") {
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let run = |words: &str| {
        let mut command = Command::new(agent());
        let ended = Running::start(command.args(words.split_whitespace()).env("HOLDFAST_STATE_DIR", state.path()));
        ended.wait(DEADLINE)
    };
    for (words, code, wanted) in [
        ("contain isolate_network --lease 1h --rehearse", 65, "no exception is named"),
        ("contain isolate_network --allow web-1", 64, "neither IPv4 nor IPv6"),
        ("contain isolate_network --allow 10.0.0.1 --lease 5h", 64, "a lease is from 1 to 14400 seconds"),
        ("contain isolate_network --allow 10.0.0.1 --lease 1d", 64, "is no time"),
        ("contain freeze_process 4194305", 65, "there is no process 4194305"),
        ("contain reboot", 64, "unrecognized subcommand"),
        ("release 01a22e30-316c-7419-88ae-153773c19bc2", 65, "there is no containment"),
    ] {
        let ended = run(words).expect_code(code);
        assert!(ended.said().contains(wanted), "{words}: {}", ended.said());
    }
    assert!(run("release").expect_code(0).stdout.contains("nothing is contained"));
}
