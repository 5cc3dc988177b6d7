//! The receipts' hash chain: each receipt's hash covers the one before, so no row can be changed, added or
//! dropped in the middle without every later hash failing.
//!
//! `hash = SHA-256(previous hash ‖ canonical receipt bytes)`, the first previous hash being 32 zero bytes.

use std::fmt;

use sha2::{Digest, Sha256};

/// A link of the chain.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Link([u8; 32]);

impl Link {
    /// What stands before the first receipt.
    pub const START: Link = Link([0; 32]);

    /// The link after `self` for a receipt with these canonical bytes.
    #[must_use]
    pub fn next(self, canonical: &[u8]) -> Link {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(canonical);
        Link(hasher.finalize().into())
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 32 bytes; `None` for any other length.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Link> {
        bytes.try_into().ok().map(Link)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_depends_on_the_one_before_and_on_every_byte() {
        let first = Link::START.next(b"one");
        assert_ne!(first, Link::START.next(b"onf"));
        assert_ne!(first.next(b"two"), Link::START.next(b"two"));
        assert_eq!(Link::from_slice(first.as_bytes()), Some(first));
        // echo -n of 32 zero bytes and "one" through sha256sum: the format outsiders can check.
        assert_eq!(first.to_string(), "4e233ba6ac7032d3894ecea5974fd96176e564b024af45747eb46357af8d2401");
    }
}
