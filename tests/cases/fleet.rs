//! Fifty agents at once lose no order and run none twice, also when the server is killed among them.

use harness::Site;

use crate::simulated::Fleet;

const AGENTS: usize = 50;

#[test]
fn a_fleet_loses_no_order_and_runs_none_twice_though_the_server_is_killed() {
    let mut site = Site::new();
    let fleet = Fleet::enrol(&site, AGENTS);
    let told = fleet.run(&mut site, |site| {
        site.kill_server();
        site.start_server();
    });
    assert_eq!((told.agents, told.completed.len()), (AGENTS, AGENTS));
}
