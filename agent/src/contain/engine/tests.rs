//! The engine with an action of its own: three files in a scratch folder, each with a line before and one after.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bundle::time::Clock;
use serde::{Deserialize, Serialize};
use wire::containment::Action;

use super::super::journal::By;
use super::super::{Contain, Effect, Keep, Plan};
use super::*;

/// Writes three files; "block_metadata_service" is the action without arguments.
struct ThreeFiles;

/// A file holds `after` instead of `before`.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    after: String,
    before: String,
    path: String,
}

impl Contain for ThreeFiles {
    const NAME: &'static str = "block_metadata_service";
    const SUMMARY: &'static str = "Writes three files";
    type Step = Line;

    fn plan(_: &Action, scene: &Scene<'_>) -> Result<Plan<Line>, Unplanned> {
        let line = |path: &str| {
            let before = std::fs::read_to_string(scene.host.path(path));
            let before = before.map_err(|_| Unplanned(format!("{path} is not there")))?;
            Ok(Line { after: format!("{before} changed"), before, path: path.to_owned() })
        };
        Ok(Plan::of(vec![line("/a")?, line("/b")?, line("/c")?]))
    }
}

impl Line {
    fn put(&self, scene: &Scene<'_>, text: &str) -> Result<(), Failed> {
        std::fs::write(scene.host.path(&self.path), text).map_err(Failed::at::<io::Error>(self.path.clone()))
    }

    fn now(&self, scene: &Scene<'_>) -> Result<String, Failed> {
        std::fs::read_to_string(scene.host.path(&self.path)).map_err(Failed::at::<io::Error>(self.path.clone()))
    }
}

impl Effect for Line {
    fn says(&self) -> String {
        format!("{} is changed", self.path)
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        if scene.host.path(format!("{}.refuses", self.path)).exists() {
            return Err(Failed::because(format!("{} refuses", self.path)));
        }
        keep(self).map_err(Failed::at::<io::Error>("the journal"))?;
        self.put(scene, &self.after)
    }

    fn undo(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        if scene.host.path(format!("{}.sticks", self.path)).exists() {
            return Err(Failed::because(format!("{} sticks", self.path)));
        }
        keep(self).map_err(Failed::at::<io::Error>("the journal"))?;
        let now = self.now(scene)?;
        if now != self.after && now != self.before {
            return Ok(vec![format!("{} was changed", self.path)]);
        }
        self.put(scene, &self.before)?;
        Ok(Vec::new())
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        vec![Look::at(
            self.now(scene).is_ok_and(|now| now == self.after),
            format!("{} holds what it should", self.path),
        )]
    }

    fn tend(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Tended, Failed> {
        let now = self.now(scene)?;
        if now == self.after {
            return Ok(Tended::Intact);
        }
        self.put(scene, &self.after)?;
        Ok(Tended::Tampered { message: format!("{} held {now:?}", self.path), restored: true })
    }
}

const KINDS: &[Kind] = &[Kind::of::<ThreeFiles>()];

#[derive(Clone)]
struct Moved(Arc<AtomicUsize>);

impl Clock for Moved {
    fn realtime(&self) -> Instant {
        Instant(1_800_000_000_000_000_000 + i128::try_from(self.0.load(Ordering::SeqCst)).unwrap() * 1_000_000_000)
    }

    fn boottime_ns(&self) -> u64 {
        (100 + self.0.load(Ordering::SeqCst) as u64) * 1_000_000_000
    }
}

/// A host of three files, and a clock that the test moves.
struct Scratch {
    folder: tempfile::TempDir,
    secs: Arc<AtomicUsize>,
}

impl Scratch {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        Self { folder, secs: Arc::default() }
    }

    fn engine(&self) -> Engine {
        let host = Host::at(self.folder.path(), Moved(self.secs.clone()));
        let state = self.folder.path().join("state");
        Engine { actions: KINDS, ..Engine::open(&state, host).unwrap() }
    }

    /// An engine whose process dies at the given point: everything unwinds there, and nothing more is written.
    fn dying(&self, at: usize) -> Engine {
        let mut engine = self.engine();
        let points = AtomicUsize::new(0);
        engine.journal.seam = Box::new(move || {
            assert!(points.fetch_add(1, Ordering::SeqCst) != at, "killed");
        });
        engine
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn files(&self) -> [String; 3] {
        ["a", "b", "c"].map(|name| std::fs::read_to_string(self.folder.path().join(name)).unwrap())
    }
}

const ID: u64 = 7;

fn id() -> OrderId {
    OrderId::new(ID, [0; 10])
}

fn wish() -> Wish {
    Wish {
        action: Action::BlockMetadataService {},
        by: By::Console,
        lease_secs: 60,
        on_invalid: Otherwise::Restore,
        on_lease_end: Otherwise::Restore,
        roles: Vec::new(),
        servers: Vec::new(),
    }
}

const BEFORE: [&str; 3] = ["a", "b", "c"];
const CONTAINED: [&str; 3] = ["a changed", "b changed", "c changed"];

fn events(entry: &Entry) -> Vec<&'static str> {
    entry.untold.iter().map(|untold| untold.event.name()).collect()
}

#[test]
fn it_is_applied_held_renewed_and_taken_back() {
    let scratch = Scratch::new();
    let engine = scratch.engine();
    engine.ask(id(), wish()).unwrap();
    assert!(matches!(engine.ask(id(), wish()), Err(EngineError::Journal(JournalError::Double(_)))));
    let entry = engine.advance(id()).unwrap();
    assert_eq!((entry.phase, entry.holds, scratch.files()), (Phase::Applied, Some(true), CONTAINED.map(String::from)));
    scratch.secs.store(50, Ordering::SeqCst);
    engine.renew(id(), 60).unwrap();
    scratch.secs.store(109, Ordering::SeqCst);
    assert_eq!(engine.tend(Care::Thorough).unwrap(), 1);
    scratch.secs.store(110, Ordering::SeqCst);
    assert_eq!(engine.tend(Care::Quick).unwrap(), 0);
    assert_eq!(scratch.files(), BEFORE);
    let entry = engine.journal().find(id()).unwrap().unwrap();
    assert_eq!(events(&entry), ["planned", "applied", "validated", "renewed", "released"]);
    engine.told(id(), 4).unwrap();
    let over = engine.journal().over().unwrap();
    assert!(over.len() == 1 && events(&over[0]) == ["released"] && engine.journal().under_way().unwrap().is_empty());
    assert!(matches!(engine.renew(id(), 60), Err(EngineError::NotInForce { .. })));
    assert!(matches!(engine.ask(id(), Wish { lease_secs: 0, ..wish() }), Err(EngineError::Lease(0))));
}

#[test]
fn killed_at_every_point_twice_it_ends_contained_or_as_before() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let result = catch_unwind(kill_everywhere);
    std::panic::set_hook(quiet);
    result.unwrap();
}

fn kill_everywhere() {
    let mut points = 0;
    for first in 0..100 {
        let scratch = Scratch::new();
        scratch.engine().ask(id(), wish()).unwrap();
        let killed = catch_unwind(AssertUnwindSafe(|| scratch.dying(first).advance(id()))).is_err();
        let killed_again = catch_unwind(AssertUnwindSafe(|| scratch.dying(first / 2).tend(Care::Quick))).is_ok();
        let _ = killed_again;
        // Who comes next finishes it.
        assert_eq!(scratch.engine().tend(Care::Quick).unwrap(), 1, "apply, killed at {first}");
        assert_eq!(scratch.files(), CONTAINED, "apply, killed at {first}");

        scratch.engine().release(id(), ReleaseCause::Console).unwrap();
        for at in [first, first / 2] {
            let _ = catch_unwind(AssertUnwindSafe(|| scratch.dying(at).tend(Care::Quick)));
        }
        assert_eq!(scratch.engine().tend(Care::Quick).unwrap(), 0, "undo, killed at {first}");
        assert_eq!(scratch.files(), BEFORE, "undo, killed at {first}");
        assert!(scratch.engine().journal().under_way().unwrap().is_empty(), "undo, killed at {first}");
        points += usize::from(killed);
        if !killed {
            break;
        }
    }
    assert!(points > 20, "only {points} points were met");
}

#[test]
fn killed_while_applying_and_found_after_the_lease_it_is_taken_back() {
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let results: Vec<_> = (0..20)
        .map(|at| {
            let scratch = Scratch::new();
            scratch.engine().ask(id(), wish()).unwrap();
            let _ = catch_unwind(AssertUnwindSafe(|| scratch.dying(at).advance(id())));
            let was_planned = scratch.engine().journal().find(id()).unwrap().unwrap().lease.is_some();
            scratch.secs.store(60, Ordering::SeqCst);
            let left = scratch.engine().tend(Care::Quick).unwrap();
            (at, was_planned, left, scratch.files())
        })
        .collect();
    std::panic::set_hook(quiet);
    assert!(results.iter().any(|(_, was_planned, ..)| *was_planned));
    for (at, was_planned, left, files) in results {
        // What was never planned begins with a whole lease.
        let wanted = if was_planned { (0, BEFORE) } else { (1, CONTAINED) };
        assert_eq!((left, files.each_ref().map(String::as_str)), wanted, "killed at {at}");
    }
}

#[test]
fn a_step_that_fails_takes_the_others_back() {
    for refuses in ["a", "b", "c"] {
        let scratch = Scratch::new();
        scratch.write(&format!("{refuses}.refuses"), "");
        let engine = scratch.engine();
        engine.ask(id(), wish()).unwrap();
        let entry = engine.advance(id()).unwrap();
        assert_eq!((entry.phase, scratch.files()), (Phase::Failed, BEFORE.map(String::from)));
        let event = ContainmentEvent::Failed { message: format!("/{refuses} refuses"), restored: true };
        assert_eq!(entry.untold.last().unwrap().event, event);
        assert_eq!(engine.tend(Care::Quick).unwrap(), 0);
    }
}

#[test]
fn an_undo_that_fails_is_tried_again_and_told_once() {
    for sticks in ["a", "b", "c"] {
        let scratch = Scratch::new();
        let engine = scratch.engine();
        engine.ask(id(), wish()).unwrap();
        engine.advance(id()).unwrap();
        scratch.write(&format!("{sticks}.sticks"), "");
        engine.release(id(), ReleaseCause::Order).unwrap();
        for _ in 0..3 {
            assert_eq!(engine.tend(Care::Quick).unwrap(), 1);
        }
        std::fs::remove_file(scratch.folder.path().join(format!("{sticks}.sticks"))).unwrap();
        assert_eq!((engine.tend(Care::Quick).unwrap(), scratch.files()), (0, BEFORE.map(String::from)));
        let entry = engine.journal().find(id()).unwrap().unwrap();
        assert_eq!(events(&entry), ["planned", "applied", "validated", "failed", "released"]);
    }
}

#[test]
fn what_somebody_changed_is_put_back_while_it_holds_and_left_on_release() {
    let scratch = Scratch::new();
    let engine = scratch.engine();
    engine.ask(id(), wish()).unwrap();
    engine.advance(id()).unwrap();
    scratch.write("b", "b");
    assert_eq!(engine.tend(Care::Quick).unwrap(), 1);
    assert_eq!(scratch.files(), CONTAINED);
    scratch.write("b", "an administrator's");
    engine.release(id(), ReleaseCause::Console).unwrap();
    let entry = engine.advance(id()).unwrap();
    assert_eq!(scratch.files(), ["a", "an administrator's", "c"]);
    let left = vec!["/b was changed".to_owned()];
    assert_eq!(entry.untold.last().unwrap().event, ContainmentEvent::Released { cause: ReleaseCause::Console, left });
    assert!(events(&entry).contains(&"tampered"));
}

#[test]
fn what_does_not_hold_is_taken_back_or_stays_closed_as_policy_says() {
    for (on_invalid, wanted) in [(Otherwise::Restore, Phase::Released), (Otherwise::StayClosed, Phase::Applied)] {
        let scratch = Scratch::new();
        let engine = scratch.engine();
        engine.ask(id(), Wish { on_invalid, ..wish() }).unwrap();
        engine.advance(id()).unwrap();
        // A step that does not look after itself would leave this to the looks.
        let held = engine.journal.hold().unwrap();
        let mut entry = engine.journal.find(id()).unwrap().unwrap();
        scratch.write("c", "not so");
        engine.validate(&mut entry, &held).unwrap();
        engine.drive(&mut entry, &held).unwrap();
        assert_eq!((entry.phase, entry.holds), (wanted, Some(false)));
    }
}

#[test]
fn a_lease_that_ends_leaves_the_host_closed_where_policy_says_so_until_it_is_released() {
    let scratch = Scratch::new();
    let engine = scratch.engine();
    engine.ask(id(), Wish { on_lease_end: Otherwise::StayClosed, ..wish() }).unwrap();
    engine.advance(id()).unwrap();
    scratch.secs.store(1000, Ordering::SeqCst);
    assert_eq!((engine.tend(Care::Quick).unwrap(), engine.tend(Care::Quick).unwrap()), (1, 1));
    assert_eq!(scratch.files(), CONTAINED);
    let entry = engine.journal().find(id()).unwrap().unwrap();
    assert_eq!(events(&entry), ["planned", "applied", "validated", "validated"]);
    engine.release(id(), ReleaseCause::Order).unwrap();
    assert_eq!((engine.tend(Care::Quick).unwrap(), scratch.files()), (0, BEFORE.map(String::from)));
}

#[test]
fn what_cannot_be_planned_changes_nothing() {
    let scratch = Scratch::new();
    std::fs::remove_file(scratch.folder.path().join("c")).unwrap();
    let engine = scratch.engine();
    assert_eq!(engine.rehearse(id(), &wish()).unwrap_err().to_string(), "/c is not there");
    engine.ask(id(), wish()).unwrap();
    let entry = engine.advance(id()).unwrap();
    assert_eq!((entry.phase, events(&entry)), (Phase::Failed, vec!["failed"]));
    let other = Wish { action: Action::StopUnit { unit: "x.service".into() }, ..wish() };
    assert_eq!(engine.rehearse(id(), &other).unwrap_err().to_string(), "this agent cannot do `stop_unit`");
}

#[test]
fn a_journal_that_others_may_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    drop(scratch.engine());
    let state = scratch.folder.path().join("state");
    std::fs::set_permissions(state.join("contain/journal"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let refused = Engine::open(&state, Host::at(scratch.folder.path(), Moved(Arc::default())));
    assert!(matches!(refused, Err(JournalError::Io { .. })));
}
