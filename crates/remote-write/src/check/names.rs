//! The label names of series seen before: series after series has the same ones in the same order, so that a name that
//! follows another need be judged once only. Values are judged every time.
//!
//! A tree: each node is a name that may stand behind its parent's, and the way from the root to it is the beginning of a
//! right labelset. Whatever it does not know is for [`super::plain`] to judge, which teaches it.

use super::labels::{NAME, is_utf8, names_account, prefix};

/// Nodes kept; with more the tree begins anew. A cluster with everything that is common to monitor needs a few hundred.
const MAX_NODES: usize = 1024;
/// Names that may follow one name; a search through more costs as much as judging.
const MAX_FOLLOWING: usize = 16;
/// Longest name with its two tags and its length.
const MAX_HEAD: usize = 64;
/// Most names end within so many bytes, which are compared at once.
const WIDE: usize = 16;

/// Where a series is in the tree; the root before its first label.
pub(super) type Place = u32;

#[derive(Debug)]
pub(super) struct Names {
    /// The root is the first.
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    /// The first bytes of the head, and which of them count.
    word: u128,
    mask: u128,
    /// How a label with this name starts: tag and length of the name, the name, the value's tag.
    head: [u8; MAX_HEAD],
    length: u8,
    /// `__name__` is on the way here.
    has_name: bool,
    /// The name that followed last, and all names that may follow, as a list; the root, which follows nothing, ends it.
    expected: Place,
    following: Place,
    next: Place,
}

impl Default for Names {
    fn default() -> Self {
        Self { nodes: vec![Node::new(&[], false)] }
    }
}

impl Node {
    fn new(head: &[u8], has_name: bool) -> Self {
        let mut bytes = [0; MAX_HEAD];
        bytes.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        let counting = head.len().min(WIDE) as u32;
        Self {
            word: bytes.first_chunk().map_or(0, |word| u128::from_le_bytes(*word)),
            mask: u128::MAX.checked_shr(u128::BITS - 8 * counting).unwrap_or(0),
            head: bytes,
            length: head.len().min(MAX_HEAD) as u8,
            has_name,
            expected: 0,
            following: 0,
            next: 0,
        }
    }

    fn name(&self) -> &[u8] {
        self.head.get(2..usize::from(self.length).saturating_sub(1)).unwrap_or_default()
    }

    /// Whether a label's content starts with this name.
    #[inline]
    fn starts(&self, content: &[u8], word: u128) -> bool {
        let length = usize::from(self.length);
        (word ^ self.word) & self.mask == 0 && (length <= WIDE || content.get(..length) == self.head.get(..length))
    }
}

impl Names {
    pub(super) const ROOT: Place = 0;

    /// The place behind `place` of a label whose content this is, to the end of the request or nearly so, and how long its name
    /// is with tags and length. `None`: not known.
    #[inline]
    pub(super) fn follow(&mut self, place: Place, content: &[u8]) -> Option<(Place, usize)> {
        let word = u128::from_le_bytes(*content.first_chunk()?);
        let expected = self.nodes.get(place as usize)?.expected;
        let node = self.nodes.get(expected as usize)?;
        if expected != Self::ROOT && node.starts(content, word) {
            return Some((expected, usize::from(node.length)));
        }
        self.search(place, content, word)
    }

    #[inline(never)]
    fn search(&mut self, place: Place, content: &[u8], word: u128) -> Option<(Place, usize)> {
        let mut found = self.nodes.get(place as usize)?.following;
        while found != Self::ROOT {
            let node = self.nodes.get(found as usize)?;
            if node.starts(content, word) {
                let length = usize::from(node.length);
                self.nodes.get_mut(place as usize)?.expected = found;
                return Some((found, length));
            }
            found = node.next;
        }
        None
    }

    /// Whether `__name__` is on the way to a place.
    #[inline]
    pub(super) fn has_name(&self, place: Place) -> bool {
        self.nodes.get(place as usize).is_some_and(|node| node.has_name)
    }

    /// The place of a name behind `place`, known or learned if there is room for it: the caller has judged that they rise.
    pub(super) fn learn_or_follow(&mut self, place: Place, name: &[u8]) -> Option<Place> {
        let parent = self.nodes.get(place as usize)?;
        let (has_name, first) = (parent.has_name || name == NAME, parent.following);
        let (mut known, mut following) = (first, 0);
        while known != Self::ROOT {
            let node = self.nodes.get(known as usize)?;
            if node.name() == name {
                return Some(known);
            }
            following += 1;
            known = node.next;
        }
        if self.nodes.len() >= MAX_NODES || following >= MAX_FOLLOWING || name.len() + 3 > MAX_HEAD {
            return None;
        }
        if !is_utf8(name) || names_account(prefix(name, name.len()), name) {
            // Judged each time: whether it is stripped depends on the rules.
            return None;
        }
        let mut head = vec![0x0a, name.len() as u8];
        head.extend_from_slice(name);
        head.push(0x12);
        let number = self.nodes.len() as Place;
        self.nodes.push(Node { next: first, ..Node::new(&head, has_name) });
        let parent = self.nodes.get_mut(place as usize)?;
        (parent.following, parent.expected) = (number, number);
        Some(number)
    }

    /// Begins anew once the tree is full: what fills it may be of the past, or meant to.
    pub(super) fn forget_if_full(&mut self) {
        if self.nodes.len() >= MAX_NODES {
            *self = Self::default();
        }
    }
}
