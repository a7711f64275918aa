//! Lock: fair ticket locks with ranks, so that a wrong order does not compile. Owns no data of its own; every room
//! above `arch` may use it. Never held across `arch::run`, a wait, or (but [`CONSOLE`]) a slow device write.
//!
//! A core that holds nothing has a `Held<0>` token, minted once per exit by the dispatcher. Locking borrows the token
//! mutably and hands back a token of the lock's rank, so a second lock can only be one of a higher rank:
//!
//! ```
//! use strato_hyp::lock::{Held, Lock, MEMORY, LINE};
//! # let mut none = strato_hyp::lock::Held::for_example();
//! let line: Lock<u32, LINE> = Lock::new(1);
//! let memory: Lock<u32, MEMORY> = Lock::new(2);
//! let (first, mut held) = line.lock(&mut none);
//! let (second, _held) = memory.lock(&mut held);
//! assert_eq!(*first + *second, 3);
//! ```
//!
//! The wrong order is a build error (after monomorphization, so `cargo check` alone does not show it):
//!
//! ```compile_fail
//! use strato_hyp::lock::{Held, Lock, MEMORY, LINE};
//! # let mut none = strato_hyp::lock::Held::for_example();
//! let line: Lock<u32, LINE> = Lock::new(1);
//! let memory: Lock<u32, MEMORY> = Lock::new(2);
//! let (_second, mut held) = memory.lock(&mut none);
//! let (_first, _held) = line.lock(&mut held);
//! ```
//!
//! So is a second lock from the same token while the first is held:
//!
//! ```compile_fail
//! use strato_hyp::lock::{Held, Lock, LINE};
//! # let mut none = strato_hyp::lock::Held::for_example();
//! let (a, b): (Lock<u32, LINE>, Lock<u32, LINE>) = (Lock::new(1), Lock::new(2));
//! let (first, _held) = a.lock(&mut none);
//! let (second, _other) = b.lock(&mut none);
//! drop((first, second));
//! ```

use core::cmp::Ordering;
use core::marker::PhantomData;

use spin::RelaxStrategy;
use spin::mutex::{TicketMutex, TicketMutexGuard};

use crate::arch;

/// Rank of a VM's own state.
pub const VM: u8 = 1;
/// Rank of a VM's unfinished console line.
pub const LINE: u8 = 2;
/// Rank of the allocator and of the address spaces.
pub const MEMORY: u8 = 3;
/// Rank of a device's interrupt.
pub const IRQ: u8 = 4;
/// Rank of the leaves: the console ring and the interrupt distributor. Nothing is locked while one is held.
pub const CONSOLE: u8 = 5;

/// Waiting for a ticket executes YIELD: `core::hint::spin_loop` is ISB on this target, which an emulator that runs
/// all cores on one thread does not take as a hint to go on with another core. A core that has panicked serves no ticket any
/// more, and EL2 takes no interrupt: who waits has to look by itself.
#[derive(Debug)]
pub struct Relax;

impl RelaxStrategy for Relax {
    #[inline(always)]
    fn relax() {
        if arch::panic::panicked() {
            // Not a call, which would cost every function that locks a stack frame: the exception of EL2 ends in the stop.
            arch::breakpoint();
        }
        arch::relax();
    }
}

/// Access to the data of a locked [`Lock`]; dropping it serves the next ticket.
pub type Guard<'a, T> = TicketMutexGuard<'a, T, Relax>;

/// Proof that a core holds no lock of a rank above `RANK`. Neither copied nor made outside this crate.
#[derive(Debug)]
pub struct Held<'a, const RANK: u8>(PhantomData<&'a mut ()>);

impl Held<'static, 0> {
    /// Returns the token of a core that holds nothing. The dispatcher calls this once per exit, boot once per core.
    pub(crate) const fn mint() -> Self {
        Self(PhantomData)
    }

    /// Returns a token for the examples above, which stand outside the crate.
    #[doc(hidden)]
    pub const fn for_example() -> Self {
        Self::mint()
    }
}

/// Data behind a fair lock of rank `RANK`.
#[derive(Debug)]
pub struct Lock<T, const RANK: u8>(TicketMutex<T, Relax>);

impl<T, const RANK: u8> Lock<T, RANK> {
    /// Returns an open lock around `data`.
    pub const fn new(data: T) -> Self {
        Self(TicketMutex::new(data))
    }

    /// Returns access to the data once every earlier ticket was served, and the token for locks of higher rank.
    ///
    /// Does not build when the token's rank is not below `RANK`.
    #[inline]
    pub fn lock<'a, const H: u8>(&'a self, _held: &'a mut Held<'_, H>) -> (Guard<'a, T>, Held<'a, RANK>) {
        const { assert!(H < RANK, "locks are taken in rising rank") };
        (self.0.lock(), Held(PhantomData))
    }

    /// Returns access to the data if nobody holds or waits for the lock, else `None`. Any rank may ask, since
    /// nobody waits here.
    #[inline]
    pub fn try_lock(&self) -> Option<Guard<'_, T>> {
        self.0.try_lock()
    }

    /// Returns the data; the lock ends.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }

    /// Returns the data without locking: the exclusive borrow is proof that nobody else can.
    pub fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

/// Returns access to the data of two different locks of rank [`VM`], in the order of the arguments, and the token for locks
/// of higher rank. Each comes with the place of its VM: the lower place is locked first, whoever asks, so that two cores
/// cannot wait for each other. `None` when the places are the same.
///
/// ```compile_fail
/// use strato_hyp::lock::{Held, Lock, VM, lock_pair};
/// # let mut none = strato_hyp::lock::Held::for_example();
/// let (a, b): (Lock<u32, VM>, Lock<u32, VM>) = (Lock::new(1), Lock::new(2));
/// let (_first, mut held) = a.lock(&mut none);
/// let _both = lock_pair((0, &a), (1, &b), &mut held);
/// ```
#[inline]
#[allow(clippy::type_complexity, reason = "two guards and a token have no shorter name")]
pub fn lock_pair<'a, T, const H: u8>(
    (near, a): (u8, &'a Lock<T, VM>),
    (far, b): (u8, &'a Lock<T, VM>),
    _held: &'a mut Held<'_, H>,
) -> Option<(Guard<'a, T>, Guard<'a, T>, Held<'a, VM>)> {
    const { assert!(H < VM, "two locks of a rank are taken at once or not at all") };
    let (first, second) = match near.cmp(&far) {
        Ordering::Less => {
            let first = a.0.lock();
            (first, b.0.lock())
        }
        Ordering::Greater => {
            let second = b.0.lock();
            (a.0.lock(), second)
        }
        Ordering::Equal => return None,
    };
    Some((first, second, Held(PhantomData)))
}

/// Returns access to the data of `a`, and to that of the lock of another VM which `find` finds in it; what else it says comes
/// first. `find` holds while both are locked, since it is asked under the lock of `a`: once as a rule, for the other lock is
/// taken without waiting. Where that fails, both are taken as by [`lock_pair`] and it is asked again.
///
/// # Errors
/// What `find` refuses; `None` when it finds the lock of the same place, or another one than before.
#[inline(always)]
#[allow(clippy::type_complexity, reason = "two guards and a token have no shorter name")]
pub fn lock_found<'a, T, F, E, const H: u8>(
    near: (u8, &'a Lock<T, VM>),
    find: impl Fn(&T) -> Result<(F, (u8, &'a Lock<T, VM>)), E>,
    held: &'a mut Held<'_, H>,
) -> Result<(F, Guard<'a, T>, Guard<'a, T>, Held<'a, VM>), Option<E>> {
    const { assert!(H < VM, "two locks of a rank are taken at once or not at all") };
    let first = near.1.0.lock();
    let (found, far) = find(&first).map_err(Some)?;
    if let Some(second) = far.1.0.try_lock() {
        return Ok((found, first, second, Held(PhantomData)));
    }
    drop(first);
    let (first, second, held) = lock_pair(near, far, held).ok_or(None)?;
    let (found, again) = find(&first).map_err(Some)?;
    if core::ptr::eq(again.1, far.1) { Ok((found, first, second, held)) } else { Err(None) }
}

impl<T> Lock<T, CONSOLE> {
    /// Returns access to the data of a leaf. It asks for no token because no lock may be taken while it is held, and
    /// a leaf's room calls no other room.
    #[inline]
    pub fn lock_leaf(&self) -> Guard<'_, T> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;

    #[test]
    fn locks_are_taken_in_rising_rank() {
        let vm: Lock<u8, VM> = Lock::new(1);
        let memory: Lock<u8, MEMORY> = Lock::new(2);
        let mut none = Held::mint();
        let (first, mut held) = vm.lock(&mut none);
        let (mut second, _held) = memory.lock(&mut held);
        *second += *first;
        assert_eq!(*second, 3);
    }

    #[test]
    fn a_lock_in_use_refuses_try_lock_and_is_open_again_after_the_guard() {
        let lock: Lock<u8, LINE> = Lock::new(7);
        let mut none = Held::mint();
        {
            let (_guard, _held) = lock.lock(&mut none);
            assert!(lock.try_lock().is_none());
        }
        assert_eq!(lock.try_lock().as_deref(), Some(&7));
    }

    #[test]
    fn two_locks_of_vms_are_taken_in_the_order_of_their_places_whoever_asks() {
        let locks: Arc<[Lock<u32, VM>; 2]> = Arc::new([Lock::new(0), Lock::new(0)]);
        let workers: Vec<_> = [(0u8, 1u8), (1, 0)]
            .map(|(near, far)| {
                let locks = Arc::clone(&locks);
                thread::spawn(move || {
                    for _ in 0..1000 {
                        let mut none = Held::mint();
                        let (a, b) = (&locks[usize::from(near)], &locks[usize::from(far)]);
                        let (mut a, mut b, _) = lock_pair((near, a), (far, b), &mut none).expect("they differ");
                        (*a, *b) = (*a + 1, *b + 1);
                    }
                })
            })
            .into();
        for worker in workers {
            worker.join().expect("a worker panicked");
        }
        let [a, b] = &*locks;
        let mut none = Held::mint();
        assert!(lock_pair((3, a), (3, b), &mut none).is_none());
        let (a, b, _) = lock_pair((0, a), (1, b), &mut none).unwrap();
        assert_eq!((*a, *b), (2000, 2000));
    }

    #[test]
    fn a_lock_found_behind_another_is_taken_whoever_holds_it_and_what_was_found_is_looked_at_again() {
        let locks: Arc<[Lock<u32, VM>; 2]> = Arc::new([Lock::new(0), Lock::new(0)]);
        let workers: Vec<_> = [(0u8, 1u8), (1, 0)]
            .map(|(near, far)| {
                let locks = Arc::clone(&locks);
                thread::spawn(move || {
                    for _ in 0..1000 {
                        let mut none = Held::mint();
                        let (a, b) = (&locks[usize::from(near)], &locks[usize::from(far)]);
                        let find = |data: &u32| Ok::<_, ()>((*data, (far, b)));
                        let (seen, mut a, mut b, _) = lock_found((near, a), find, &mut none).expect("it is found");
                        assert_eq!(seen, *a);
                        (*a, *b) = (*a + 1, *b + 1);
                    }
                })
            })
            .into();
        for worker in workers {
            worker.join().expect("a worker panicked");
        }
        let [a, b] = &*locks;
        let mut none = Held::mint();
        assert!(matches!(lock_found((3, a), |_| Ok::<_, ()>(((), (3, a))), &mut none), Err(None)));
        assert!(matches!(lock_found((3, a), |_| Err::<((), _), _>("no"), &mut none), Err(Some("no"))));
        let (seen, ..) = lock_found((3, a), |data| Ok::<_, ()>((*data, (4, b))), &mut none).unwrap();
        assert_eq!(seen, 2000);
    }

    #[test]
    fn threads_that_share_a_leaf_lose_no_update() {
        let leaf: Arc<Lock<u32, CONSOLE>> = Arc::new(Lock::new(0));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let leaf = Arc::clone(&leaf);
                thread::spawn(move || (0..1000).for_each(|_| *leaf.lock_leaf() += 1))
            })
            .collect();
        for worker in workers {
            worker.join().expect("a worker panicked");
        }
        assert_eq!(*leaf.lock_leaf(), 4000);
    }
}
