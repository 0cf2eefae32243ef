//! `end_sessions`: everything that came of a login of the account ends. It cannot be taken back.
//!
//! Whose a process is, is said by the kernel's `loginuid`, which a session keeps through su(1) and sudo(8) and which only
//! root may set, and by the control group that logind puts sessions into (`user-UID.slice`), where the kernel has no
//! audit. All of them stand still first, so that none logs in anew from within.
//!
//! Known limits: a process that an intruder with root has taken out of both is found by its parent or not at all; jobs of
//! cron(8) have the account's `loginuid` where pam_loginuid(8) sets it, and end too.

use wire::containment::Action;

use super::account::{Account, account};
use super::kill_process::Kill;
use super::process_tree::{Whose, spare};
use super::{Contain, Plan, Scene, Unplanned};

/// See the module.
pub struct EndSessions;

impl Contain for EndSessions {
    const NAME: &'static str = "end_sessions";
    const SUMMARY: &'static str = "All sessions of the account end, with all that runs in them. Cannot be taken back.";
    type Step = Kill;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Kill>, Unplanned> {
        let Action::EndSessions { account: name } = action else {
            return Err(Unplanned(format!("`{}` is no {}", action.name(), Self::NAME)));
        };
        let Account { uid, .. } = account(scene.host, name)?;
        let whose = Whose::Sessions { uid };
        let members = spare(scene.host, &whose)?;
        if members.is_empty() {
            return Err(Unplanned(format!("`{name}` has no session on this host")));
        }
        let mut names: Vec<&str> = members.values().map(|known| known.comm.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let names = names.into_iter().take(20).collect::<Vec<_>>().join(", ");
        let who = format!("{} processes of the sessions of {name} ({names})", members.len());
        Ok(Plan::of(vec![Kill::new(whose, who)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contain::testing::{Children, Stage};
    use crate::host::{Host, SystemClock};

    fn refused(root: &std::path::Path, account: &str) -> String {
        Stage::refused::<EndSessions>(Host::at(root, SystemClock), Action::EndSessions { account: account.to_owned() })
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::create_dir_all(root.path().join("proc")).unwrap();
        std::fs::write(root.path().join("etc/passwd"), "ada:x:1000:1000::/home/ada:/bin/sh\n").unwrap();
        assert!(refused(root.path(), "bob").contains("no account `bob`"));
        assert!(refused(root.path(), "a:b").contains("no name of an account"));
        assert!(refused(root.path(), "ada").contains("`ada` has no session"));
    }

    #[test]
    fn what_came_of_a_login_ends_and_nothing_else() {
        const UID: u32 = 3_999_999_001;
        let Some(children) = Children::of_login(UID) else { return };
        let others = Children::tree();
        let host = Host::live();
        let members = Whose::Sessions { uid: UID }.now(&host, &[]).unwrap();
        assert_eq!(members.len(), 3, "{members:?}");
        let mut stage = Stage::of_step::<EndSessions>(host, &Kill::new(Whose::Sessions { uid: UID }, String::new()));
        stage.apply().unwrap();
        assert!(children.are_gone() && others.go_on());
    }
}
