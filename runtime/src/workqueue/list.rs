//! Lists threaded through slots, so that any member leaves in constant time and none is allocated.

/// The number of a slot.
pub(super) type Id = usize;

/// No slot: the end of a list.
const NONE: Id = Id::MAX;

/// First in, first out; any member may leave early.
#[derive(Debug)]
pub(super) struct List {
    head: Id,
    tail: Id,
    len: usize,
}

/// The neighbours of each slot in the one list it may be in.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Link>);

#[derive(Clone, Copy, Debug)]
struct Link {
    before: Id,
    after: Id,
}

impl List {
    pub(super) fn first(&self) -> Option<Id> {
        (self.head != NONE).then_some(self.head)
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn push(&mut self, id: Id, links: &mut Links) {
        links.cover(id);
        links.0[id] = Link { before: self.tail, after: NONE };
        match self.tail {
            NONE => self.head = id,
            tail => links.0[tail].after = id,
        }
        self.tail = id;
        self.len += 1;
    }

    /// Takes out a slot that is in this list.
    pub(super) fn remove(&mut self, id: Id, links: &mut Links) {
        let Link { before, after } = links.0[id];
        match before {
            NONE => self.head = after,
            before => links.0[before].after = after,
        }
        match after {
            NONE => self.tail = before,
            after => links.0[after].before = before,
        }
        self.len -= 1;
    }
}

impl Default for List {
    fn default() -> Self {
        Self { head: NONE, tail: NONE, len: 0 }
    }
}

impl Links {
    fn cover(&mut self, id: Id) {
        if id >= self.0.len() {
            self.0.resize(id + 1, Link { before: NONE, after: NONE });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(list: &mut List, links: &mut Links) -> Vec<Id> {
        let mut order = Vec::new();
        while let Some(id) = list.first() {
            list.remove(id, links);
            order.push(id);
        }
        order
    }

    #[test]
    fn members_leave_in_the_order_they_came_and_from_anywhere() {
        for absent in 0..5 {
            let (mut list, mut links) = (List::default(), Links::default());
            for id in [3, 0, 4, 1, 2] {
                list.push(id, &mut links);
            }
            list.remove(absent, &mut links);
            assert_eq!(list.len(), 4);
            list.push(absent, &mut links);
            let expected: Vec<Id> = [3, 0, 4, 1, 2].into_iter().filter(|id| *id != absent).chain([absent]).collect();
            assert_eq!(drain(&mut list, &mut links), expected);
            assert_eq!((list.len(), list.first()), (0, None));
        }
    }
}
