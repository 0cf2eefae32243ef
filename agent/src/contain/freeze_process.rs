//! `freeze_process`: the process and all that descend from it stand still, as evidence that changes no more.
//!
//! Nothing is lost by it: memory, connections and open files stay as they are, until peers give up. Who stood still
//! before (SIGSTOP, a debugger) stands still afterwards.

use serde::{Deserialize, Serialize};
use wire::containment::Action;

use super::process_tree::{Still, Whose, find, spare};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};

/// See the module.
pub struct FreezeProcess;

/// Processes that stand still.
#[derive(Debug, Serialize, Deserialize)]
pub struct Freeze {
    still: Still,
    who: String,
}

impl Contain for FreezeProcess {
    const NAME: &'static str = "freeze_process";
    const SUMMARY: &'static str =
        "The process and all that descend from it stand still, and go on when it is released.";
    type Step = Freeze;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Freeze>, Unplanned> {
        let Action::FreezeProcess { process } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        let whose = Whose::Tree(*process);
        let members = spare(scene.host, &whose)?;
        let name = members.get(&process.pid).map_or("", |known| &known.comm);
        let who = format!("{} ({name}) and {} that descend from it", process.pid, members.len().saturating_sub(1));
        Ok(Plan::of(vec![Freeze { still: Still::new(whose), who }]))
    }
}

impl Effect for Freeze {
    fn says(&self) -> String {
        format!("process {} stand still", self.who)
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        let Self { still, who } = self;
        if let Whose::Tree(root) = &still.whose
            && find(scene.host, *root).is_none()
        {
            return Err(Failed::because(format!("process {} has ended", root.pid)));
        }
        still.stop(scene.host, scene.id, &mut |now| keep(&Self { still: now.clone(), who: who.clone() }))
    }

    fn fallbacks(&self) -> Vec<String> {
        self.still.fallbacks.clone()
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        self.still.resume(scene.host)
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        let moving = self.still.moving(scene.host);
        let what = if moving.is_empty() {
            format!("{} processes stand still", self.still.alive(scene.host))
        } else {
            format!("processes {moving:?} do not stand still")
        };
        vec![Look { can_wait: true, ..Look::at(moving.is_empty(), what) }]
    }
}

#[cfg(test)]
mod tests {
    use wire::containment::ProcessRef;

    use super::*;
    use crate::contain::testing::{Children, Stage, process};
    use crate::host::Host;

    #[test]
    fn a_tree_stands_still_and_goes_on_where_it_was() {
        let children = Children::tree();
        let action = Action::FreezeProcess { process: children.process() };
        let mut stage = Stage::of::<FreezeProcess>(Host::live(), action);
        let before = children.states();
        assert!(before.iter().all(|(_, state, _)| !"T".contains(*state)), "{before:?}");
        stage.apply().unwrap();
        stage.apply().unwrap();
        assert!(stage.holds(), "{:?}", stage.looks());
        assert!(children.stand_still(), "{:?}", children.states());
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        assert_eq!(stage.undo().unwrap(), Vec::<String>::new());
        let groups = |states: Vec<(u32, char, String)>| {
            states.into_iter().map(|(pid, _, group)| (pid, group)).collect::<Vec<_>>()
        };
        assert_eq!(groups(children.states()), groups(before));
        assert!(children.go_on());
    }

    #[test]
    fn without_control_groups_signals_do_and_who_stood_still_before_still_does() {
        let children = Children::tree();
        let mut still = Still {
            means: Some(crate::contain::process_tree::Means::Signal),
            ..Still::new(Whose::Tree(children.process()))
        };
        let host = Host::live();
        let stopped = children.stop_last();
        let id = wire::OrderId::new(1, [7; 10]);
        still.stop(&host, id, &mut |_| Ok(())).unwrap();
        assert!(still.moving(&host).is_empty() && children.stand_still());
        still.resume(&host).unwrap();
        assert!(children.go_on_but(stopped));
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let refused =
            |process: ProcessRef| Stage::refused::<FreezeProcess>(Host::live(), Action::FreezeProcess { process });
        let own = process(std::process::id());
        assert!(refused(own).contains("this program"), "{}", refused(own));
        assert!(
            refused(ProcessRef { start_ticks: own.start_ticks + 1, ..own })
                .contains("the one that was meant has ended")
        );
        assert!(refused(process(1)).contains("process 1"));
        assert!(refused(ProcessRef { pid: 4_194_304, start_ticks: 0 }).contains("there is no process 4194304"));
        if std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n") {
            assert!(refused(process(2)).contains("a thread of the kernel"));
        }
    }
}
