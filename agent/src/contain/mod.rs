//! Containment: what this agent does to its host so that an intruder gets no further, and takes back.
//!
//! The way: a [`journal::Wish`] (from an order or from the console) → [`Contain::plan`], which only reads → the
//! [`journal`] on the medium → [`Effect::apply`] → [`Effect::looks`], again and again while it holds → [`Effect::undo`]
//! on release or when the [`lease`] ends. [`engine`] drives it, whoever asks; `holdfast-agent keep` ([`keeper`]) goes on
//! with it when whoever asked is gone.
//!
//! An action is one file and one line of [`ACTIONS`]. Its step is data that lies in the journal: with what it takes to
//! undo it, before anything is done. Each of a step's calls may be cut off by a kill at any point and is then made again:
//! they are idempotent.

mod block_egress;
mod block_metadata_service;
pub mod engine;
mod isolate_network;
pub mod journal;
pub mod keeper;
pub mod lease;
mod nftables;
mod preview;
mod reach;
pub mod servers;

mod account;
mod process_tree;
mod replace;
#[cfg(test)]
pub(crate) mod testing;

mod end_sessions;
mod freeze_process;
mod kill_process;
mod lock_account;
mod quarantine_file;
mod revoke_ssh_keys;
mod stop_unit;

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::OrderId;
use wire::containment::{Action, Check, Side};

use crate::host::Host;
use journal::Wish;

/// Every action that this agent can do, in the order in which they are listed.
pub const ACTIONS: &[Kind] = &[
    Kind::of::<isolate_network::IsolateNetwork>(),
    Kind::of::<block_egress::BlockEgress>(),
    Kind::of::<block_metadata_service::BlockMetadataService>(),
    Kind::of::<freeze_process::FreezeProcess>(),
    Kind::of::<kill_process::KillProcess>(),
    Kind::of::<lock_account::LockAccount>(),
    Kind::of::<end_sessions::EndSessions>(),
    Kind::of::<revoke_ssh_keys::RevokeSshKeys>(),
    Kind::of::<stop_unit::StopUnit>(),
    Kind::of::<quarantine_file::QuarantineFile>(),
];

/// What an action must provide: `struct IsolateNetwork;` with this.
pub trait Contain {
    /// As in [`Action::name`].
    const NAME: &'static str;
    /// One line for people: what it does.
    const SUMMARY: &'static str;
    /// What it does, one by one. Several kinds of step are one enum.
    type Step: Effect;

    /// Reads the host and says what would be done, with all that is needed to undo it. Changes nothing.
    ///
    /// # Errors
    /// Why it cannot be done here.
    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Self::Step>, Unplanned>;
}

/// One effect on the host, as data: it is written into the journal before it happens and read back to undo it.
///
/// Architecture invariant: each of these is idempotent and may be repeated after a kill in the midst of it. What turns
/// out only in doing it (the children of a process, say) goes through `keep` into the journal before it is touched.
pub trait Effect: Serialize + DeserializeOwned {
    /// What it does, in a sentence: `table inet holdfast drops all but 2 addresses`.
    fn says(&self) -> String;

    /// Does it. Where the host is no longer as it was planned for, that is an error, and nothing is done.
    ///
    /// # Errors
    /// [`Failed`]: the engine then undoes this step too.
    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed>;

    /// What this kernel or host turned out to lack when it was applied, and what was done instead, a sentence each.
    fn fallbacks(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes it back, also when only half of it was done, or nothing. Answers what somebody changed meanwhile and what
    /// was therefore left, a sentence each.
    ///
    /// # Errors
    /// [`Failed`]: it is tried again.
    fn undo(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Left, Failed>;

    /// Looks whether it holds: at least one [`Look`]. Called after applying and then every few seconds.
    fn looks(&self, scene: &Scene<'_>) -> Vec<Look>;

    /// Called every second while it holds: notices what somebody else did to it, and puts it back where that overwrites
    /// nobody's work. Must be cheap.
    ///
    /// # Errors
    /// [`Failed`] when it could not look.
    fn tend(&mut self, _scene: &Scene<'_>, _keep: &mut Keep<'_, Self>) -> Result<Tended, Failed> {
        Ok(Tended::Intact)
    }
}

/// Writes the step as it is now into the journal, on the medium.
pub type Keep<'a, S> = dyn FnMut(&S) -> io::Result<()> + 'a;

/// What somebody changed meanwhile and was therefore left, a sentence each.
pub type Left = Vec<String>;

/// What [`Effect::tend`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tended {
    /// All is in place.
    Intact,
    /// The host changed, and the containment with it (a new interface): told in the log, not as a tamper.
    Adapted(String),
    /// Somebody else took it away or changed it.
    Tampered {
        /// What, in a sentence.
        message: String,
        /// It is in place again.
        restored: bool,
    },
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// It is as it should be.
    pub holds: bool,
    /// When it does not hold, this alone is no reason to take the containment back: the lease decides (a server that went
    /// away, say).
    pub can_wait: bool,
    /// What was looked at and what was found, in a sentence.
    pub what: String,
}

impl Look {
    /// A look that must hold.
    pub fn at(holds: bool, what: impl Into<String>) -> Self {
        Self { holds, can_wait: false, what: what.into() }
    }

    /// As it is told.
    pub fn check(&self) -> Check {
        Check { holds: self.holds, side: Side::Host, what: self.what.clone() }
    }
}

/// What an action's plan, its steps and their looks may know.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// The host, or in tests a folder that stands for its root: reach files through [`Host::path`] and [`Host::open`].
    pub host: &'a Host,
    /// The containment.
    pub id: OrderId,
    /// The agent's state folder.
    pub state: &'a Path,
    /// What was asked for, the servers' addresses with it.
    pub wish: &'a Wish,
}

impl Scene<'_> {
    /// A folder of this containment's own for what is too large for the journal (a quarantined file). The step makes it
    /// when it needs it, mode 0700, and it outlives the containment.
    pub fn kept(&self) -> PathBuf {
        self.state.join("contain/kept").join(self.id.to_string())
    }
}

/// What would be done.
#[derive(Clone, Debug)]
pub struct Plan<S> {
    /// What this kernel or host lacks, and what is done instead, a sentence each.
    pub fallbacks: Vec<String>,
    /// In the order in which it is applied; undone in reverse.
    pub steps: Vec<S>,
}

impl<S> Plan<S> {
    /// Steps without fallbacks.
    pub fn of(steps: Vec<S>) -> Self {
        Self { fallbacks: Vec::new(), steps }
    }
}

/// Why it cannot be done here: the subject and what is wrong with it. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unplanned(pub String);

/// Why a step could not be done or taken back.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Failed {
    /// The subject.
    pub what: String,
    /// Why.
    #[source]
    pub source: Option<io::Error>,
}

impl Failed {
    /// For what is wrong without a system call that says so.
    pub fn because(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }

    /// For `map_err`.
    pub fn at<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| Self { what, source: Some(source.into()) }
    }
}

/// One line of the list: an action with the type of its steps rubbed out.
#[derive(Clone, Copy)]
pub struct Kind {
    /// See [`Contain::NAME`].
    pub name: &'static str,
    /// See [`Contain::SUMMARY`].
    pub summary: &'static str,
    plan: fn(&Action, &Scene<'_>) -> Result<Plan<Value>, Unplanned>,
    says: fn(&Value) -> Result<String, Failed>,
    apply: fn(&Value, &Scene<'_>, &mut Keep<'_, Value>) -> Result<(), Failed>,
    fallbacks: fn(&Value) -> Result<Vec<String>, Failed>,
    undo: fn(&Value, &Scene<'_>, &mut Keep<'_, Value>) -> Result<Left, Failed>,
    looks: fn(&Value, &Scene<'_>) -> Result<Vec<Look>, Failed>,
    tend: fn(&Value, &Scene<'_>, &mut Keep<'_, Value>) -> Result<Tended, Failed>,
}

impl Kind {
    /// The line of an action.
    pub const fn of<C: Contain>() -> Self {
        Self {
            name: C::NAME,
            summary: C::SUMMARY,
            plan: |action, scene| {
                let Plan { fallbacks, steps } = C::plan(action, scene)?;
                let steps = steps.iter().map(serde_json::to_value).collect::<Result<_, _>>();
                Ok(Plan { fallbacks, steps: steps.map_err(|error| Unplanned(format!("its plan: {error}")))? })
            },
            says: |step| Ok(read::<C::Step>(step)?.says()),
            apply: |step, scene, keep| read::<C::Step>(step)?.apply(scene, &mut |step| keep(&write(step)?)),
            fallbacks: |step| Ok(read::<C::Step>(step)?.fallbacks()),
            undo: |step, scene, keep| read::<C::Step>(step)?.undo(scene, &mut |step| keep(&write(step)?)),
            looks: |step, scene| Ok(read::<C::Step>(step)?.looks(scene)),
            tend: |step, scene, keep| read::<C::Step>(step)?.tend(scene, &mut |step| keep(&write(step)?)),
        }
    }
}

fn read<S: Effect>(step: &Value) -> Result<S, Failed> {
    S::deserialize(step).map_err(|error| Failed::because(format!("a step in the journal is none: {error}")))
}

fn write<S: Effect>(step: &S) -> io::Result<Value> {
    serde_json::to_value(step).map_err(io::Error::other)
}
