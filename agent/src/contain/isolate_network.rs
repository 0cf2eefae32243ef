//! Nothing in, out or through but to the servers that this host is enrolled at, and the named exceptions.

use serde::{Deserialize, Serialize};
use wire::containment::{Action, ENDPOINTS_MAX};

use super::journal::By;
use super::nftables::{Rules, Tables};
use super::reach::Reach;
use super::{Contain, Effect, Failed, Keep, Left, Look, Plan, Scene, Tended, Unplanned};

/// See the module.
pub struct IsolateNetwork;

/// The tables, and then whether they let through what they should.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// See [`Tables`].
    Tables(Tables),
    /// See [`Reach`].
    Reach(Reach),
}

impl Contain for IsolateNetwork {
    const NAME: &'static str = "isolate_network";
    const SUMMARY: &'static str = "Cuts the host and its containers off, but for the servers and named exceptions";
    type Step = Step;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Step>, Unplanned> {
        let Action::IsolateNetwork { allow, resolvers } = action else {
            return Err(Unplanned("this is no isolation".to_owned()));
        };
        let servers = scene.wish.servers.clone();
        if servers.is_empty() && allow.is_empty() {
            let why = "this host is enrolled at no server and no exception is named: nobody could reach it any more";
            return Err(Unplanned(why.to_owned()));
        }
        if servers.is_empty() && scene.wish.by == By::Order {
            return Err(Unplanned("no address of this host's servers is known: it could not be released".to_owned()));
        }
        if allow.len() + resolvers.len() > ENDPOINTS_MAX {
            return Err(Unplanned(format!("it names more than {ENDPOINTS_MAX} exceptions")));
        }
        let reach = Reach::plan(scene, &servers, allow, resolvers);
        let rules = Rules::Isolate { allow: allow.clone(), resolvers: resolvers.clone(), servers };
        let mut plan = Plan::of(vec![Step::Tables(Tables::plan(scene, rules)), Step::Reach(reach)]);
        if scene.wish.servers.is_empty() {
            plan.fallbacks
                .push("no address of a server is known on this host: only the named exceptions stay open".to_owned());
        }
        Ok(plan)
    }
}

impl Effect for Step {
    fn says(&self) -> String {
        match self {
            Self::Tables(tables) => tables.says(),
            Self::Reach(reach) => reach.says(),
        }
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        match self {
            Self::Tables(tables) => tables.apply(scene, &mut |tables| keep(&Self::Tables(tables.clone()))),
            Self::Reach(_) => Ok(()),
        }
    }

    fn fallbacks(&self) -> Vec<String> {
        if let Self::Tables(tables) = self { tables.fallbacks() } else { Vec::new() }
    }

    fn undo(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Left, Failed> {
        match self {
            Self::Tables(tables) => tables.undo(scene, &mut |tables| keep(&Self::Tables(tables.clone()))),
            Self::Reach(_) => Ok(Left::new()),
        }
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        match self {
            Self::Tables(tables) => tables.looks(scene),
            Self::Reach(reach) => reach.looks(),
        }
    }

    fn tend(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Tended, Failed> {
        match self {
            Self::Tables(tables) => tables.tend(scene, &mut |tables| keep(&Self::Tables(tables.clone()))),
            Self::Reach(_) => Ok(Tended::Intact),
        }
    }
}
