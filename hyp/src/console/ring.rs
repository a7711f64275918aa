//! Ring: bytes in the order they came, of fixed capacity. Appending all or nothing is the caller's way to keep lines whole.

/// A queue of at most `N` bytes, `N` a power of two.
#[derive(Debug)]
pub(super) struct Ring<const N: usize> {
    bytes: [u8; N],
    /// Bytes ever taken; the next one stands at `taken % N`.
    taken: usize,
    /// Bytes ever put; never more than `N` ahead of `taken`. Both wrap together, which the power of two makes harmless.
    put: usize,
}

impl<const N: usize> Ring<N> {
    /// Returns an empty ring.
    pub(super) const fn new() -> Self {
        const { assert!(N.is_power_of_two()) };
        Self { bytes: [0; N], taken: 0, put: 0 }
    }

    /// Returns how many bytes wait.
    pub(super) const fn len(&self) -> usize {
        self.put.wrapping_sub(self.taken)
    }

    /// Returns how many bytes can be put.
    pub(super) const fn room(&self) -> usize {
        N - self.len()
    }

    /// Puts all of `bytes` if there is room, else none. Returns whether it did.
    pub(super) fn put(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.room() {
            return false;
        }
        let at = self.put % N;
        let (first, second) = bytes.split_at(bytes.len().min(N - at));
        for (part, start) in [(first, at), (second, 0)] {
            if let Some(place) = self.bytes.get_mut(start..start + part.len()) {
                place.copy_from_slice(part);
            }
        }
        self.put = self.put.wrapping_add(bytes.len());
        true
    }

    /// Returns the oldest byte and takes it out, or `None` when empty.
    pub(super) fn take(&mut self) -> Option<u8> {
        if self.len() == 0 {
            return None;
        }
        let byte = self.bytes.get(self.taken % N).copied();
        self.taken = self.taken.wrapping_add(1);
        byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_across_the_end_of_the_buffer() {
        let mut ring = Ring::<8>::new();
        assert!(ring.put(b"abcde"));
        assert_eq!((ring.take(), ring.take(), ring.take()), (Some(b'a'), Some(b'b'), Some(b'c')));
        assert!(ring.put(b"fghijk"));
        assert_eq!(core::iter::from_fn(|| ring.take()).collect::<Vec<_>>(), b"defghijk");
        assert_eq!(ring.take(), None);
    }

    #[test]
    fn what_does_not_fit_is_refused_whole() {
        let mut ring = Ring::<8>::new();
        assert!(ring.put(b"abcdef"));
        assert!(!ring.put(b"ghi"));
        assert_eq!((ring.len(), ring.room()), (6, 2));
        assert!(ring.put(b"gh"));
        assert!(!ring.put(b"i"));
        assert!(ring.put(b""));
    }
}
