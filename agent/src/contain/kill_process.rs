//! `kill_process`: the process and all that descend from it end. They are made to stand still first, so that none forks
//! away from it. It cannot be taken back.

use serde::{Deserialize, Serialize};
use wire::containment::Action;

use super::process_tree::{Still, Whose, find, spare};
use super::{Contain, Effect, Failed, Keep, Look, Plan, Scene, Unplanned};

/// See the module.
pub struct KillProcess;

/// Processes that end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kill {
    still: Still,
    who: String,
    /// All of them have ended.
    #[serde(default)]
    is_done: bool,
}

impl Contain for KillProcess {
    const NAME: &'static str = "kill_process";
    const SUMMARY: &'static str = "The process and all that descend from it end. Cannot be taken back.";
    type Step = Kill;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Kill>, Unplanned> {
        let Action::KillProcess { process } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        let whose = Whose::Tree(*process);
        let members = spare(scene.host, &whose)?;
        let name = members.get(&process.pid).map_or("", |known| &known.comm);
        let who =
            format!("process {} ({name}) and {} that descend from it", process.pid, members.len().saturating_sub(1));
        Ok(Plan::of(vec![Kill::new(whose, who)]))
    }
}

impl Kill {
    /// Nothing is done yet.
    pub const fn new(whose: Whose, who: String) -> Self {
        Self { still: Still::new(whose), who, is_done: false }
    }
}

impl Effect for Kill {
    fn says(&self) -> String {
        format!("{} end (SIGKILL), which cannot be taken back", self.who)
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        if self.is_done {
            return Ok(());
        }
        // A kill in between may have ended the first of them already.
        if let Whose::Tree(root) = &self.still.whose
            && self.still.members.is_empty()
            && find(scene.host, *root).is_none()
        {
            return Err(Failed::because(format!("process {} has ended", root.pid)));
        }
        let Self { still, who, .. } = self;
        still.stop(scene.host, scene.id, &mut |now| {
            keep(&Self { still: now.clone(), who: who.clone(), is_done: false })
        })?;
        still.kill(scene.host)?;
        self.is_done = true;
        keep(self).map_err(Failed::at("the journal"))
    }

    fn fallbacks(&self) -> Vec<String> {
        self.still.fallbacks.clone()
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        if self.is_done {
            return Ok(vec![format!("{} processes were ended, which cannot be taken back", self.still.members.len())]);
        }
        self.still.resume(scene.host)
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        let alive = self.still.alive(scene.host);
        let count = self.still.members.len();
        vec![Look {
            can_wait: true,
            ..Look::at(alive == 0, format!("{} of {count} processes have ended", count - alive))
        }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contain::testing::{Children, Stage, process};
    use crate::host::Host;

    #[test]
    fn a_tree_ends_whole() {
        let children = Children::tree();
        let mut stage = Stage::of::<KillProcess>(Host::live(), Action::KillProcess { process: children.process() });
        stage.apply().unwrap();
        stage.apply().unwrap();
        assert!(stage.holds() && children.are_gone());
        let left = stage.undo().unwrap();
        assert!(left.len() == 1 && left[0].contains("cannot be taken back"), "{left:?}");
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let own = Action::KillProcess { process: process(std::process::id()) };
        assert!(Stage::refused::<KillProcess>(Host::live(), own).contains("this program"));
    }
}
