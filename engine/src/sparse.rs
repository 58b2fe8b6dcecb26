//! Tables of which few entries are in use at a time: emptying one takes as long as it took to fill it, not
//! as long as it is. Guests change address spaces, and user space calls KVM_RUN, more often than it takes
//! to fill such a table.

#![forbid(unsafe_code)]

/// What a [`Sparse`] table holds.
pub(crate) trait Item: Copy {
    /// What an entry is that is not in use.
    const VACANT: Self;
    /// Whether it is that.
    fn is_vacant(&self) -> bool;
}

impl<T: Copy> Item for Option<T> {
    const VACANT: Self = None;

    #[inline(always)]
    fn is_vacant(&self) -> bool {
        self.is_none()
    }
}

/// A table of `N` entries.
pub(crate) struct Sparse<T, const N: usize> {
    all: Box<[T; N]>,
    /// Those that are in use.
    used: Vec<u16>,
}

impl<T: Item, const N: usize> Sparse<T, N> {
    /// One that is empty.
    pub(crate) fn new() -> Self {
        const { assert!(N <= 1 << 16) };
        Sparse {
            all: Box::new([T::VACANT; N]),
            used: Vec::with_capacity(N),
        }
    }

    /// An entry.
    #[inline(always)]
    pub(crate) fn get(&self, index: usize) -> &T {
        &self.all[index]
    }

    /// An entry, to change what it holds. One that is in use stays so, a vacant one vacant.
    #[inline(always)]
    pub(crate) fn get_mut(&mut self, index: usize) -> &mut T {
        &mut self.all[index]
    }

    /// Sets an entry, to one that is in use.
    pub(crate) fn set(&mut self, index: usize, item: T) {
        debug_assert!(!item.is_vacant());
        let entry = &mut self.all[index];
        if entry.is_vacant() {
            self.used.push(index as u16);
        }
        *entry = item;
    }

    /// Does something to each entry that is in use, which stays so.
    pub(crate) fn each(&mut self, mut change: impl FnMut(&mut T)) {
        for index in &self.used {
            change(&mut self.all[usize::from(*index)]);
        }
    }

    /// Empties the table.
    pub(crate) fn clear(&mut self) {
        for index in self.used.drain(..) {
            self.all[usize::from(index)] = T::VACANT;
        }
    }

    /// Address of the first entry, for compiled code.
    pub(crate) fn base(&self) -> *const T {
        self.all.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_empties_all_that_was_set() {
        let mut table = Sparse::<Option<u32>, 8>::new();
        for round in 0..3 {
            for index in [1, 7, 1, 0, 1] {
                table.set(index, Some(round));
            }
            let mut seen = 0;
            table.each(|entry| seen += u32::from(*entry == Some(round)));
            assert_eq!((seen, table.used.len()), (3, 3));
            table.clear();
            assert!((0..8).all(|index| table.get(index).is_none()));
        }
    }
}
