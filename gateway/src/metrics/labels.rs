//! Label values that cannot grow without bound: whatever is not known becomes `other`.
//!
//! Models, policies and rules are known from the files in force; teams come from keys and request tags, so the
//! first of them get a label of their own and the rest share one.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::RwLock;

/// The label of everything not known.
pub(super) const OTHER: &str = "other";
/// The label of what a request does not have.
pub(super) const NONE: &str = "none";

/// Names known from files; replaced as a whole on reload.
#[derive(Debug, Default)]
pub(super) struct Known(ArcSwap<HashSet<String>>);

impl Known {
    pub(super) fn replace(&self, names: impl IntoIterator<Item = String>) {
        self.0.store(Arc::new(names.into_iter().collect()));
    }

    /// Every name.
    pub(super) fn all(&self) -> Arc<HashSet<String>> {
        self.0.load_full()
    }

    /// `name` itself if it is known, `none` if it is empty, else `other`.
    pub(super) fn bound<'a>(&self, name: &'a str) -> &'a str {
        if name.is_empty() {
            NONE
        } else if self.0.load().contains(name) {
            name
        } else {
            OTHER
        }
    }
}

/// The first `cap` names seen.
#[derive(Debug)]
pub(super) struct FirstSeen {
    cap: usize,
    seen: RwLock<HashSet<String>>,
}

impl FirstSeen {
    pub(super) fn new(cap: usize) -> FirstSeen {
        FirstSeen { cap, seen: RwLock::new(HashSet::new()) }
    }

    pub(super) fn bound<'a>(&self, name: Option<&'a str>) -> &'a str {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return NONE };
        if self.seen.read().contains(name) {
            return name;
        }
        let mut seen = self.seen.write();
        if seen.contains(name) || (seen.len() < self.cap && seen.insert(name.to_owned())) {
            name
        } else {
            OTHER
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_share_one_label() {
        let known = Known::default();
        known.replace(["small".to_owned()]);
        assert_eq!([known.bound("small"), known.bound("x"), known.bound("")], ["small", OTHER, NONE]);
    }

    #[test]
    fn only_the_first_names_get_a_label() {
        let teams = FirstSeen::new(2);
        let labels: Vec<&str> = ["a", "b", "c", "a"].map(|team| teams.bound(Some(team))).into();
        assert_eq!(labels, ["a", "b", OTHER, "a"]);
        assert_eq!(teams.bound(None), NONE);
    }
}
