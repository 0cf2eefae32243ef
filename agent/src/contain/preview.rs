//! Whom a containment would touch: the blast radius, told before anything is done.

use wire::containment::Preview;

use super::journal::Wish;
use crate::host::Host;

/// The preview of what is wished for.
pub fn of(_host: &Host, wish: &Wish) -> Preview {
    Preview { protected_roles: wish.roles.clone(), ..Preview::default() }
}
