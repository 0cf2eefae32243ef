//! Nothing out to the named destinations: from the host, its containers, and what it forwards; established connections
//! included.

use wire::containment::{Action, ENDPOINTS_MAX};

use super::nftables::{Rules, Tables};
use super::{Contain, Plan, Scene, Unplanned};

/// See the module.
pub struct BlockEgress;

impl Contain for BlockEgress {
    const NAME: &'static str = "block_egress";
    const SUMMARY: &'static str = "Cuts the host and its containers off from named destinations";
    type Step = Tables;

    fn plan(action: &Action, scene: &Scene<'_>) -> Result<Plan<Tables>, Unplanned> {
        let Action::BlockEgress { to } = action else {
            return Err(Unplanned("this blocks no destination".to_owned()));
        };
        if to.is_empty() || to.len() > ENDPOINTS_MAX {
            return Err(Unplanned(format!("it names {} destinations, of which 1 to {ENDPOINTS_MAX} can be", to.len())));
        }
        if let Some(server) = scene.wish.servers.iter().find(|server| to.iter().any(|to| to.covers(server))) {
            return Err(Unplanned(format!("it would cut this host off from its server {server}")));
        }
        Ok(Plan::of(vec![Tables::plan(scene, Rules::Block { to: to.clone() })]))
    }
}
