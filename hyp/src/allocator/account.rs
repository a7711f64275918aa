//! Account: how many pages an owner may have, and has. Charged before pages are taken, refunded after they came back.

use super::{AllocError, Owner};

/// The pages of one owner.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    owner: Owner,
    limit: u64,
    used: u64,
}

impl Account {
    /// Returns the account of `owner`, who may have `limit` pages altogether.
    #[must_use]
    pub const fn new(owner: Owner, limit: u64) -> Self {
        Self { owner, limit, used: 0 }
    }

    /// Returns the account of the hypervisor, which has no limit.
    #[must_use]
    pub const fn hypervisor() -> Self {
        Self::new(Owner::Hypervisor, u64::MAX)
    }

    /// Returns whose account it is.
    #[must_use]
    pub const fn owner(&self) -> Owner {
        self.owner
    }

    /// Returns the most pages that the owner may have.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// Returns the pages that the owner has.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Returns the pages that the owner may still take.
    #[must_use]
    pub const fn left(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// Adds `pages` to what is used.
    pub(super) fn charge(&mut self, pages: u64) -> Result<(), AllocError> {
        let used = self.used.checked_add(pages).filter(|&used| used <= self.limit).ok_or(AllocError::Quota)?;
        self.used = used;
        Ok(())
    }

    /// Takes `pages` off what is used.
    pub(super) fn refund(&mut self, pages: u64) {
        debug_assert!(pages <= self.used, "more refunded than charged");
        self.used = self.used.saturating_sub(pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_over_the_limit_is_refused_and_charges_nothing() {
        let mut account = Account::new(Owner::Vm(3), 10);
        assert_eq!(account.charge(8), Ok(()));
        assert_eq!(account.charge(3), Err(AllocError::Quota));
        assert_eq!(account.charge(u64::MAX), Err(AllocError::Quota));
        assert_eq!((account.used(), account.limit(), account.left()), (8, 10, 2));
        assert_eq!(account.charge(2), Ok(()));
        account.refund(10);
        assert_eq!(account.used(), 0);
    }
}
