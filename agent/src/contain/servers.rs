//! The addresses of the servers that this host is enrolled at, resolved before anything is cut: an isolation does not
//! let names be asked for, and who answers for a name then may be the intruder.
//!
//! What was found is remembered in `<state>/contain/servers.json`. While a containment is under way, the agent itself
//! goes to the addresses that are remembered ([`Names`]), and else where no resolver answers.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wire::containment::Endpoint;

use crate::enrolment::Enrolment;
use crate::state::file;

const FILE: &str = "servers.json";
const BYTES_MAX: u64 = 64 << 10;
/// Addresses of one name.
const ADDRESSES_MAX: usize = 16;

type Known = BTreeMap<String, Vec<IpAddr>>;

/// All addresses with their ports, of the proxy where there is one; none where this host is not enrolled. May ask a
/// resolver, and wait for it.
pub fn pinned(state: &Path) -> Vec<Endpoint> {
    let targets = targets(state);
    let mut known = known(state);
    let before = known.clone();
    for (host, port) in &targets {
        if let Ok(found) = (host.as_str(), *port).to_socket_addrs() {
            let mut found: Vec<IpAddr> = found.map(|socket| socket.ip()).take(ADDRESSES_MAX).collect();
            found.sort();
            found.dedup();
            known.insert(host.clone(), found);
        }
    }
    known.retain(|host, _| targets.iter().any(|(target, _)| target == host));
    if known != before {
        let bytes = serde_json::to_vec(&known).unwrap_or_default();
        // Without it the next isolation asks the resolver again, which is what it would do anyway.
        let _ = file::put(&state.join("contain"), FILE, &bytes, true);
    }
    endpoints(&targets, &known)
}

/// The same as it was found last, without asking anybody.
pub fn remembered(state: &Path) -> Vec<Endpoint> {
    endpoints(&targets(state), &known(state))
}

/// Host and port of what the agent connects to.
fn targets(state: &Path) -> Vec<(String, u16)> {
    let Ok((enrolment, _)) = Enrolment::load(state) else { return Vec::new() };
    match &enrolment.proxy {
        Some(proxy) => target(proxy.url()).into_iter().collect(),
        None => enrolment.servers.iter().filter_map(|server| target(server)).collect(),
    }
}

fn target(url: &str) -> Option<(String, u16)> {
    let url = reqwest::Url::parse(url).ok()?;
    Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
}

fn known(state: &Path) -> Known {
    let text = file::get(&state.join("contain").join(FILE), BYTES_MAX).ok().flatten();
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn endpoints(targets: &[(String, u16)], known: &Known) -> Vec<Endpoint> {
    let mut found: Vec<Endpoint> = targets
        .iter()
        .flat_map(|(host, port)| {
            let addresses = known.get(host).into_iter().flatten();
            addresses.map(|address| Endpoint { port: Some(*port), ..Endpoint::of(*address) })
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// How the agent's own connections find an address for a name: see the module.
pub struct Names(PathBuf);

impl Names {
    /// Of a state folder.
    pub const fn of(state: PathBuf) -> Self {
        Self(state)
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let state = self.0.clone();
        Box::pin(async move {
            let remembered: Vec<SocketAddr> = known(&state)
                .remove(name.as_str())
                .unwrap_or_default()
                .into_iter()
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            let is_cut = std::fs::read_dir(state.join("contain/journal")).is_ok_and(|mut list| list.next().is_some());
            if is_cut && !remembered.is_empty() {
                return Ok(Box::new(remembered.into_iter()) as Addrs);
            }
            match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => Ok(Box::new(found.collect::<Vec<_>>().into_iter()) as Addrs),
                Err(_) if !remembered.is_empty() => Ok(Box::new(remembered.into_iter()) as Addrs),
                Err(error) => Err(error.into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    #[test]
    fn what_is_known_has_the_port_that_is_connected_to() {
        assert_eq!(target("https://[fd00::5]"), Some(("fd00::5".to_owned(), 443)));
        assert_eq!(target("no URL"), None);
        let targets = [("server.example".to_owned(), 8443), ("other.example".to_owned(), 443)];
        let known = Known::from([("server.example".to_owned(), vec!["10.0.0.5".parse().unwrap()])]);
        assert_eq!(endpoints(&targets, &known), ["10.0.0.5:8443".parse().unwrap()]);
    }

    #[test]
    fn while_a_containment_is_under_way_nobody_is_asked() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(state.path().join("contain/journal")).unwrap();
        std::fs::write(state.path().join("contain/servers.json"), r#"{"server.invalid":["10.0.0.5"]}"#).unwrap();
        std::fs::write(state.path().join("contain/journal/x.json"), "{}").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let names = Names::of(state.path().to_owned());
        let found = runtime.block_on(names.resolve(Name::from_str("server.invalid").unwrap())).unwrap();
        assert_eq!(found.collect::<Vec<_>>(), ["10.0.0.5:0".parse().unwrap()]);
    }
}
