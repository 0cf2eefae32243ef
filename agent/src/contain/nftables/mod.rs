//! Tables of nf_tables of our own, over netlink: the way of data is [`ruleset`] → [`rule`] → [`batch`] → the kernel →
//! [`read_back`]; [`place`] says in which network namespaces. Where the kernel has no nf_tables: [`route_rules`].
//!
//! Architecture invariant: our tables are never owned (NFT_TABLE_F_OWNER) by the process: they outlive it. They are
//! recognised by their name, `holdfast_` and the end of the containment's id, and by their comment. Nobody else's table
//! is touched.

mod batch;
mod place;
mod read_back;
mod route_rules;
mod rule;
mod ruleset;

use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

pub use ruleset::Rules;

use self::batch::{Batch, NETDEV};
use self::place::Place;
use super::{Effect, Failed, Keep, Look, Scene, Tended};
use crate::host::Host;
use crate::host::nf::INET;

/// An interface that goes while the tables are made makes the kernel refuse them: then they are made again.
const TRIES: u32 = 5;

/// The same rules in every network namespace that has a way out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tables {
    comment: String,
    rules: Rules,
    spots: Vec<Spot>,
    table: String,
}

/// What was done in one namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spot {
    /// By family, as the kernel gave them back.
    #[serde(default)]
    digests: (Option<String>, Option<String>),
    /// The interfaces that have chains.
    #[serde(default)]
    devices: Vec<String>,
    /// The namespace of the agent itself.
    is_own: bool,
    #[serde(default)]
    layer: Layer,
    netns: u64,
}

/// How much of it this kernel can do, from the most on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Layer {
    #[default]
    Full,
    NoEgress,
    NoNetdev,
    RouteRules,
}

impl Tables {
    /// Planned for this host, in the namespaces that it has now.
    pub fn plan(scene: &Scene<'_>, rules: Rules) -> Self {
        let table = format!("holdfast_{}", scene.id.short());
        let comment = format!("holdfast containment {}: {}", scene.id, scene.wish.action.name());
        let own = place::own().unwrap_or(0);
        let spot = |netns| Spot {
            digests: (None, None),
            devices: Vec::new(),
            is_own: netns == own,
            layer: Layer::Full,
            netns,
        };
        let all = place::namespaces(scene.host);
        let others = place::with_ways_out(scene.host, &all).into_iter().map(|other| spot(other.inode));
        Self { comment, rules, spots: std::iter::once(spot(own)).chain(others).collect(), table }
    }

    /// Makes the tables of one spot, with as much as the kernel can do.
    fn make(&self, spot: &mut Spot, place: &Place) -> Result<(), Failed> {
        let mut refused = io::Error::from(Errno::AGAIN);
        for _ in 0..TRIES {
            let devices = place.devices().map_err(Failed::at::<io::Error>("the network interfaces"))?;
            if spot.layer == Layer::RouteRules {
                return route_rules::put(&place.route, &self.rules).map_err(Failed::at::<io::Error>("routing rules"));
            }
            let mut batch = Batch::begin();
            self.rules.inet(&mut batch, &self.table, &self.comment);
            let netdev_at = batch.next();
            if spot.layer != Layer::NoNetdev {
                self.rules.netdev(&mut batch, &self.table, &self.comment, &devices);
            }
            let egress_at = batch.next();
            if spot.layer == Layer::Full {
                self.rules.egress(&mut batch, &self.table, &devices);
            }
            match batch.commit(&place.netfilter) {
                Ok(()) => {
                    let digest = |family| {
                        read_back::digest(&place.netfilter, family, &self.table)
                            .map_err(Failed::at::<io::Error>("nf_tables"))
                    };
                    spot.digests = (digest(INET)?, digest(NETDEV)?);
                    spot.devices = shown(&devices);
                    return Ok(());
                }
                Err(error) => {
                    // An interface that has gone: the list is made anew.
                    let is_gone = place.devices().is_ok_and(|now| now != devices);
                    spot.layer = match error.sequence {
                        _ if is_gone => spot.layer,
                        Some(at) if at >= egress_at => Layer::NoEgress,
                        Some(at) if at >= netdev_at => Layer::NoNetdev,
                        Some(_) if lacks(&error.source) => Layer::RouteRules,
                        _ => return Err(Failed { what: format!("table {}", self.table), source: Some(error.source) }),
                    };
                    refused = error.source;
                }
            }
        }
        Err(Failed { what: format!("table {}", self.table), source: Some(refused) })
    }

    /// Whether a spot is as it was made; `Err` says in a sentence what is not.
    fn intact(&self, spot: &Spot, place: &Place) -> Result<(), String> {
        if spot.layer == Layer::RouteRules {
            return match route_rules::are_there(&place.route, &self.rules) {
                Ok(true) => Ok(()),
                Ok(false) => Err("its routing rules are gone".to_owned()),
                Err(error) => Err(format!("routing rules: {error}")),
            };
        }
        for (family, name, wanted) in [(INET, "inet", &spot.digests.0), (NETDEV, "netdev", &spot.digests.1)] {
            let found = read_back::digest(&place.netfilter, family, &self.table);
            let what = match found.map_err(|error| format!("nf_tables: {error}"))? {
                found if found == *wanted => continue,
                None => "is gone",
                Some(_) => "was changed",
            };
            return Err(format!("table {name} {} {what}", self.table));
        }
        Ok(())
    }

    fn open(host: &Host, spot: &Spot) -> Result<Option<Place>, Failed> {
        let failed = || Failed::at::<io::Error>(format!("network namespace {}", spot.netns));
        if spot.is_own && place::own() == Some(spot.netns) {
            return Place::here().map(Some).map_err(failed());
        }
        match place::namespaces(host).get(&spot.netns) {
            Some(namespace) => Place::of(host, namespace).map(Some).map_err(failed()),
            // After a reboot the host's own namespace may have another inode. Any other that is gone is gone.
            None if spot.is_own => Place::here().map(Some).map_err(failed()),
            None => Ok(None),
        }
    }

    fn make_at(&mut self, at: usize, scene: &Scene<'_>) -> Result<(), Failed> {
        let Some(mut spot) = self.spots.get(at).cloned() else { return Ok(()) };
        if let Some(place) = Self::open(scene.host, &spot)? {
            self.make(&mut spot, &place)?;
        }
        if let Some(slot) = self.spots.get_mut(at) {
            *slot = spot;
        }
        Ok(())
    }

    fn found_others(&mut self, host: &Host) -> Vec<u64> {
        let all = place::namespaces(host);
        let unknown =
            all.into_iter().filter(|(inode, _)| !self.spots.iter().any(|spot| spot.netns == *inode)).collect();
        let found: Vec<u64> = place::with_ways_out(host, &unknown).iter().map(|other| other.inode).collect();
        self.spots.extend(found.iter().map(|netns| Spot {
            digests: (None, None),
            devices: Vec::new(),
            is_own: false,
            layer: Layer::Full,
            netns: *netns,
        }));
        found
    }
}

impl Effect for Tables {
    fn says(&self) -> String {
        let others = match self.spots.len().saturating_sub(1) {
            0 => String::new(),
            count => format!("; the same in {count} other network namespaces"),
        };
        format!("table {} {}{others}", self.table, self.rules.says())
    }

    fn apply(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<(), Failed> {
        for at in 0..self.spots.len() {
            self.make_at(at, scene)?;
        }
        keep(self).map_err(Failed::at::<io::Error>("the journal"))
    }

    fn fallbacks(&self) -> Vec<String> {
        let lowest = self.spots.iter().map(|spot| spot.layer as u8).max();
        let text = match lowest {
            Some(1) => "this kernel has no egress hook (Linux 5.16): what packet sockets send is not cut",
            Some(2) => "this kernel has no netdev chains: what packet sockets send and what bridges pass on is not cut",
            Some(3) => {
                "this kernel has no nf_tables: routing rules prohibit all answers and all forwarding instead; what comes \
                 in in one direction only, and packet sockets, are not cut"
            }
            _ => return Vec::new(),
        };
        vec![text.to_owned()]
    }

    fn undo(&mut self, scene: &Scene<'_>, _: &mut Keep<'_, Self>) -> Result<Vec<String>, Failed> {
        for spot in &self.spots {
            let Some(place) = Self::open(scene.host, spot)? else { continue };
            route_rules::remove(&place.route, &self.rules).map_err(Failed::at::<io::Error>("routing rules"))?;
            for family in [INET, NETDEV] {
                let mut batch = Batch::begin();
                batch.drop_table(family, &self.table);
                match batch.commit(&place.netfilter) {
                    Err(error) if !lacks(&error.source) => {
                        return Err(Failed { what: format!("table {}", self.table), source: Some(error.source) });
                    }
                    _ => {}
                }
            }
        }
        Ok(Vec::new())
    }

    fn looks(&self, scene: &Scene<'_>) -> Vec<Look> {
        self.spots
            .iter()
            .filter_map(|spot| {
                let place = Self::open(scene.host, spot).map_err(|error| error.to_string()).transpose()?;
                let what = if spot.is_own {
                    "in the host's network".to_owned()
                } else {
                    format!("in network namespace {}", spot.netns)
                };
                Some(match place.and_then(|place| self.intact(spot, &place)) {
                    Ok(()) => Look::at(true, format!("table {} is in place {what}", self.table)),
                    Err(why) => Look::at(false, format!("{why} {what}")),
                })
            })
            .collect()
    }

    fn tend(&mut self, scene: &Scene<'_>, keep: &mut Keep<'_, Self>) -> Result<Tended, Failed> {
        let failed = || Failed::at::<io::Error>("the journal");
        let (mut adapted, mut tampered) = (Vec::new(), Vec::new());
        let found = self.found_others(scene.host);
        if !found.is_empty() {
            // Known to the journal before anything is done there.
            keep(self).map_err(failed())?;
            adapted.extend(found.iter().map(|netns| format!("network namespace {netns} has a way out of its own")));
        }
        for at in 0..self.spots.len() {
            let Some(spot) = self.spots.get(at) else { continue };
            let Some(place) = Self::open(scene.host, spot)? else { continue };
            let is_new = found.contains(&spot.netns);
            let devices = place.devices().map_err(Failed::at::<io::Error>("the network interfaces"))?;
            let has_others = matches!(spot.layer, Layer::Full | Layer::NoEgress) && shown(&devices) != spot.devices;
            let intact = self.intact(spot, &place);
            if !is_new && !has_others && intact.is_ok() {
                continue;
            }
            if has_others && !is_new {
                adapted.push(format!("interfaces: {}", shown(&devices).join(", ")));
            } else if let Err(why) = intact
                && !is_new
            {
                tampered.push(why);
            }
            self.make_at(at, scene)?;
            keep(self).map_err(failed())?;
        }
        Ok(match (tampered.is_empty(), adapted.is_empty()) {
            (false, _) => Tended::Tampered { message: tampered.join("; "), restored: true },
            (true, false) => Tended::Adapted(adapted.join("; ")),
            (true, true) => Tended::Intact,
        })
    }
}

/// The kernel has no such thing, or none of it any more.
fn lacks(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT, Errno::PROTONOSUPPORT, Errno::INVAL]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Names as they lie in the journal: escaped where they are no UTF-8.
fn shown(devices: &[Vec<u8>]) -> Vec<String> {
    devices.iter().map(|name| name.escape_ascii().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables for a namespace of the test's own; `None`, with the reason, where none can be made.
    fn in_a_namespace<T: Send + 'static>(work: impl FnOnce(Place) -> T + Send + 'static) -> Option<T> {
        let thread = std::thread::spawn(|| match nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            Ok(()) => Some(work(Place::here().unwrap())),
            Err(error) => {
                eprintln!("left out: no network namespace can be made: {error}");
                None
            }
        });
        thread.join().unwrap()
    }

    fn tables(rules: Rules) -> Tables {
        Tables { comment: "a test".to_owned(), rules, spots: Vec::new(), table: "holdfast_test".to_owned() }
    }

    fn isolation() -> Tables {
        tables(Rules::Isolate {
            allow: vec!["10.0.0.0/8:22".parse().unwrap(), "fd00::5".parse().unwrap()],
            resolvers: vec!["10.0.0.53".parse().unwrap(), "fd00::53".parse().unwrap()],
            servers: vec!["10.0.0.7:8443".parse().unwrap(), "[fd00::7]:8443".parse().unwrap()],
        })
    }

    fn spot(layer: Layer) -> Spot {
        Spot { digests: (None, None), devices: Vec::new(), is_own: true, layer, netns: 0 }
    }

    #[test]
    fn tables_are_made_again_as_they_were_and_a_change_is_seen() {
        in_a_namespace(|place| {
            let block = tables(Rules::Block { to: vec!["169.254.169.254".parse().unwrap()] });
            for tables in [isolation(), block] {
                let mut first = spot(Layer::Full);
                match tables.make(&mut first, &place) {
                    Ok(()) if first.layer != Layer::RouteRules => {}
                    other => return eprintln!("left out: this kernel has no nf_tables: {other:?}"),
                }
                let mut second = spot(Layer::Full);
                tables.make(&mut second, &place).unwrap();
                assert_eq!(first, second);
                assert_eq!(tables.intact(&first, &place), Ok(()));
                // A rule that lets everything pass, slipped in by somebody.
                let mut batch = Batch::begin();
                batch.rule(INET, "holdfast_test", b"output", &rule::Rule::of(INET).accept());
                batch.commit(&place.netfilter).unwrap();
                assert_eq!(tables.intact(&first, &place), Err("table inet holdfast_test was changed".to_owned()));
                let mut batch = Batch::begin();
                batch.drop_table(INET, "holdfast_test");
                batch.commit(&place.netfilter).unwrap();
                assert_eq!(tables.intact(&first, &place), Err("table inet holdfast_test is gone".to_owned()));
                tables.make(&mut first, &place).unwrap();
            }
        });
    }

    #[test]
    fn a_kernel_that_lacks_a_part_gets_the_rest_and_says_so() {
        in_a_namespace(|place| {
            for (layer, wanted) in [(Layer::NoEgress, "no egress hook"), (Layer::NoNetdev, "no netdev chains")] {
                let mut tables = isolation();
                let mut spot = spot(layer);
                if tables.make(&mut spot, &place).is_err() || spot.layer != layer {
                    return eprintln!("left out: this kernel has no nf_tables");
                }
                assert_eq!(tables.intact(&spot, &place), Ok(()));
                tables.spots.push(spot);
                assert!(tables.fallbacks()[0].contains(wanted));
            }
            let mut tables = isolation();
            let mut spot = spot(Layer::RouteRules);
            tables.make(&mut spot, &place).unwrap();
            assert_eq!(tables.intact(&spot, &place), Ok(()));
            tables.spots.push(spot);
            assert!(tables.fallbacks()[0].contains("no nf_tables"));
        });
    }
}
