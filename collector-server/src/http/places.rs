//! Places for connections: so many for all, and so many for one address. Whoever opens connections and lets them stand
//! takes places from its own share only.
//!
//! A share is half of all: a fleet behind one translated address, or one relay, needs hundreds; and no address, whatever
//! it does, keeps the others out. The addresses of one IPv6 network (/64) are one: a single host has all of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module. Clones share the places.
#[derive(Clone, Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    of_address_max: usize,
    addresses: Addresses,
}

/// What each address has. One that has nothing is not in it.
type Addresses = Arc<Mutex<HashMap<IpAddr, Held>>>;

#[derive(Debug, Default)]
struct Held {
    places: usize,
    /// Said once for as long as the address has any: a log must not grow with each connection that is refused.
    was_refused: bool,
}

/// The place of one connection. It is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    _any: OwnedSemaphorePermit,
    address: IpAddr,
    addresses: Addresses,
}

impl Places {
    /// So many places, of which one address has at most `of_address_max`; half of all, when that is not said.
    pub fn new(all: usize, of_address_max: Option<usize>) -> Self {
        let of_address_max = of_address_max.unwrap_or(all / 2).max(1);
        Self { all: Arc::new(Semaphore::new(all)), of_address_max, addresses: Arc::default() }
    }

    /// A place for a connection from this address.
    ///
    /// # Errors
    /// When there is none; that was counted, and said.
    pub fn take(&self, from: IpAddr) -> io::Result<Place> {
        let address = whole(from);
        let refused = |why: &'static str| {
            metrics::counter!("holdfast_connections_refused_total", "why" => why).increment(1);
            io::Error::other("too many connections")
        };
        let mut addresses = lock(&self.addresses);
        let held = addresses.entry(address).or_default();
        if held.places >= self.of_address_max {
            if !std::mem::replace(&mut held.was_refused, true) {
                tracing::warn!(%address, max = self.of_address_max, "too many connections from one address: more are refused");
            }
            return Err(refused("address"));
        }
        match Arc::clone(&self.all).try_acquire_owned() {
            Ok(any) => {
                held.places += 1;
                Ok(Place { _any: any, address, addresses: Arc::clone(&self.addresses) })
            }
            Err(_) => {
                if held.places == 0 {
                    addresses.remove(&address);
                }
                Err(refused("all"))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = lock(&self.addresses);
        if let Some(held) = addresses.get_mut(&self.address) {
            held.places -= 1;
            if held.places == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

/// The address as far as it tells hosts apart.
fn whole(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A panic while the lock was held leaves nothing half done here.
fn lock(addresses: &Mutex<HashMap<IpAddr, Held>>) -> MutexGuard<'_, HashMap<IpAddr, Held>> {
    addresses.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_its_share_and_no_more() {
        let places = Places::new(5, None);
        let mut held: Vec<Place> = (0..2).map(|_| places.take(ip("192.0.2.1")).unwrap()).collect();
        assert!(places.take(ip("192.0.2.1")).is_err(), "half of five");
        held.extend((1..=2).map(|n| places.take(ip(&format!("2001:db8::{n}"))).unwrap()));
        assert!(places.take(ip("2001:db8::3")).is_err(), "one network");
        assert!(places.take(ip("::ffff:192.0.2.1")).is_err(), "the same address, written otherwise");
        held.push(places.take(ip("192.0.2.2")).unwrap());
        assert!(places.take(ip("192.0.2.3")).is_err(), "all are taken");
        assert_eq!(lock(&places.addresses).len(), 3);
        held.clear();
        assert!(lock(&places.addresses).is_empty());
        drop(places.take(ip("192.0.2.1")).unwrap());
    }
}
