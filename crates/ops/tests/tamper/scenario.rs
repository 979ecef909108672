//! One thing that an attacker does, and what each who looks afterwards sees of it.

use crate::stage::Stage;

/// What is done; what a reader sees who knows nothing but the keys, what one who has looked before,
/// and what the next pass of the machine `ward` comes to.
pub struct Scenario {
    pub name: &'static str,
    pub act: fn(&Stage),
    pub stranger: &'static str,
    pub regular: &'static str,
    pub pass: &'static str,
}

pub const fn seen(
    name: &'static str,
    act: fn(&Stage),
    stranger: &'static str,
    regular: &'static str,
    pass: &'static str,
) -> Scenario {
    Scenario { name, act, stranger, regular, pass }
}

/// The same to both readers; the machine goes on.
pub const fn both(name: &'static str, act: fn(&Stage), readers: &'static str) -> Scenario {
    seen(name, act, readers, readers, "goes on")
}

/// Nobody sees it, and the threat model says so, or it does no harm.
pub const fn unseen(name: &'static str, act: fn(&Stage)) -> Scenario {
    both(name, act, "verified")
}

/// Nobody can begin.
pub const fn refused(
    name: &'static str,
    act: fn(&Stage),
    readers: &'static str,
    pass: &'static str,
) -> Scenario {
    seen(name, act, readers, readers, pass)
}
