//! Nothing out to the cloud's metadata service, from which an intruder takes the host's credentials; containers
//! included.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::containment::{Action, Endpoint};

use super::nftables::{Rules, Tables};
use super::{Contain, Plan, Scene, Unplanned};

/// AWS, Azure, Google and most others; AWS by IPv6; Alibaba.
const SERVICES: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// See the module.
pub struct BlockMetadataService;

impl Contain for BlockMetadataService {
    const NAME: &'static str = "block_metadata_service";
    const SUMMARY: &'static str = "Cuts the host and its containers off from the cloud's metadata service";
    type Step = Tables;

    fn plan(_: &Action, scene: &Scene<'_>) -> Result<Plan<Tables>, Unplanned> {
        let to = SERVICES.map(Endpoint::of).to_vec();
        Ok(Plan::of(vec![Tables::plan(scene, Rules::Block { to })]))
    }
}
