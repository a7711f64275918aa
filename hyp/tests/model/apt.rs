//! Apt: calls that fit what is there, so that sequences get far: most succeed.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;
use strato_abi::Call;
use strato_abi::share::Verb;

use crate::space::End;
use crate::state::{Mem, Model, Named, Share, VMS};
use crate::steps::Step;

/// Pages that are mapped: a stretch across a boundary of tables, and one far away.
const PAGES: u64 = 0x6_01fb;
const FAR_PAGES: u64 = 0x8_0000;

/// Returns an address among those.
pub(crate) fn near() -> BoxedStrategy<u64> {
    prop_oneof![6 => PAGES..PAGES + 10, 1 => FAR_PAGES..FAR_PAGES + 2].prop_map(|page| page << 12).boxed()
}

/// A kind of step: how likely it is beside others.
type Weighted = (u32, BoxedStrategy<Step>);

/// Returns the call with what `arguments` makes of one of `choices` and a few numbers; nothing when there is no choice.
fn call<T: Clone + std::fmt::Debug + 'static>(
    weight: u32,
    (vm, call): (usize, Call),
    choices: Vec<T>,
    arguments: impl Fn(T, [u64; 3]) -> Vec<u64> + 'static,
) -> Option<Weighted> {
    if choices.is_empty() {
        return None;
    }
    let strategy = (select(choices), prop::array::uniform3(0..64u64), near(), prop::bool::weighted(0.4));
    let step = strategy.prop_map(move |(choice, numbers, near, whole)| {
        let mut arguments = arguments(choice, numbers);
        arguments.iter_mut().filter(|argument| **argument == NEAR).for_each(|argument| *argument = near);
        Step::Call { vm, call, arguments, whole, makes: 0 }
    });
    Some((weight, step.boxed()))
}

/// Stands for an address.
const NEAR: u64 = 0xdead_0000;

/// Rights that can be asked for where `most` is allowed, without writing and executing at once.
fn rights(most: u64, number: u64) -> u64 {
    match [1, 3, 5, 3][number as usize % 4] & most {
        0 => 1,
        rights => rights | 1,
    }
}

/// A part of `pages` pages: the offset in bytes, and one to four pages.
fn part(pages: u64, [a, b, _]: [u64; 3]) -> (u64, u64) {
    let first = a % pages;
    (first << 12, 1 + b % (pages - first).min(4))
}

/// Returns a call that fits what `vm` has.
pub(crate) fn step(vm: usize, model: &Model) -> BoxedStrategy<Step> {
    let calls = memory(vm, model).into_iter().chain(spaces(vm, model)).chain(shares(vm, model));
    Union::new_weighted(calls.flatten().collect()).boxed()
}

/// Returns the handle of an entry, by its name.
fn bits(model: &Model, vm: usize, index: usize) -> u64 {
    model.name(vm, u64::from(model.vms[vm].handle(index).bits()))
}

/// Returns the handles of `vm` to memory that `is_meant`, with it.
fn mems(vm: usize, model: &Model, is_meant: impl Fn(&Mem) -> bool) -> Vec<(u64, Mem)> {
    let mems = model.vms[vm].mems().filter(|(_, mem)| is_meant(mem));
    mems.map(|(index, mem)| (bits(model, vm, index), mem.clone())).collect()
}

fn memory(vm: usize, model: &Model) -> Vec<Option<Weighted>> {
    let sizes: Vec<u64> = [4, 1, 2, 8, 16, 32].into_iter().filter(|&pages| pages <= model.left(vm) + 2).collect();
    let idle = mems(vm, model, |mem| mem.borrow.is_none() && !model.is_used(mem.object));
    let parts = idle.iter().filter(|(_, mem)| mem.pages > 1 && !mem.is_freeing).cloned().collect();
    let going = model.vms[vm].work.iter().map(|(handle, _)| bits(model, vm, usize::from(handle.index()))).collect();
    let vm_ = &model.vms[vm];
    let over = vm_.entries.iter().enumerate().filter(|(_, entry)| match &entry.named {
        Named::Mem(mem) => mem.borrow.as_ref().is_some_and(|borrow| borrow.is_over),
        Named::Share(share) => !share.is_out() && share.far.is_some(),
        Named::Nothing | Named::Space(_) | Named::Peer(_) => false,
    });
    let over = over.map(|(index, _)| bits(model, vm, index)).collect();
    let whole = |(handle, mem): (u64, Mem), _: [u64; 3]| vec![handle, (mem.pages / 2) << 12];
    let all = mems(vm, model, |_| true);
    vec![
        call(4, (vm, Call::MemAlloc), sizes, |pages, _| vec![pages, 0]),
        call(3, (vm, Call::MemFree), idle, |(handle, _), _| vec![handle]),
        call(3, (vm, Call::MemFree), going, |handle, _| vec![handle]),
        call(2, (vm, Call::MemSplit), parts, whole),
        call(2, (vm, Call::MemInfo), all, |(handle, _), _| vec![handle]),
        call(5, (vm, Call::CoreHandleDrop), over, |handle, _| vec![handle]),
    ]
}

/// Returns what names the address space in `slot`.
fn space(vm: usize, model: &Model, slot: usize) -> u64 {
    if slot == usize::from(model.vms[vm].current) { 0 } else { model.name(vm, model.space_handle(vm, slot as u8)) }
}

fn spaces(vm: usize, model: &Model) -> Vec<Option<Weighted>> {
    let all = model.vms[vm].spaces.iter().enumerate().filter_map(|(slot, found)| Some((slot, found.as_ref()?)));
    let all: Vec<_> = all.map(|(slot, found)| (space(vm, model, slot), found)).collect();
    let names: Vec<u64> = all.iter().map(|(name, _)| *name).collect();
    let others: Vec<u64> = names.iter().copied().filter(|&name| name != 0 && name != 0x1_fffe).collect();
    let late = all.iter().filter(|(_, space)| space.is_late).map(|(name, _)| *name).collect();
    // A page that is mapped, how many follow it, and what it can get at most.
    let living = all.iter().filter(|(_, space)| space.end == End::No);
    let pages: Vec<_> = living
        .flat_map(|(name, space)| {
            let follow = |page: u64| (1..4).take_while(|by| space.pages.contains_key(&(page + by))).count() as u64;
            space.pages.iter().map(move |(&page, leaf)| (*name, page << 12, follow(page), leaf.most))
        })
        .filter(|(_, address, ..)| *address >= PAGES << 12)
        .collect();
    let usable = mems(vm, model, |mem| !mem.is_lent && !mem.borrow.as_ref().is_some_and(|borrow| borrow.is_over));
    let borrowed = mems(vm, model, |mem| mem.borrow.as_ref().is_some_and(|borrow| !borrow.is_revoked));
    let map = move |(handle, mem): (u64, Mem), numbers: [u64; 3]| {
        let ((offset, pages), name) = (part(mem.pages, numbers), names[numbers[2] as usize / 4 % names.len()]);
        vec![name, NEAR, handle, offset, pages, rights(mem.rights, numbers[2])]
    };
    let unmap = |(name, address, follow, _): (u64, u64, u64, u64), [a, b, _]: [u64; 3]| {
        let follow = if b % 2 == 0 { follow } else { follow.min(1) };
        vec![name, address, 1 + a % (follow + 1), b % 2]
    };
    let protect = |(name, address, follow, most), [a, b, c]: [u64; 3]| {
        // At times more than it can get.
        let most = if c % 8 == 7 { 7 } else { most };
        vec![name, address, 1 + a % (follow + 1), rights(most, c), b % 2]
    };
    vec![
        call(10, (vm, Call::AsMap), usable, map.clone()),
        call(12, (vm, Call::AsMap), borrowed, map),
        call(10, (vm, Call::AsUnmap), pages.clone(), unmap),
        call(4, (vm, Call::AsProtect), pages.clone(), protect),
        call(2, (vm, Call::AsQuery), pages, |(name, address, ..), _| vec![name, address]),
        call(2, (vm, Call::AsQuery), all.iter().map(|(name, _)| *name).collect(), |name, _| vec![name, NEAR]),
        call(if others.len() > 2 { 1 } else { 3 }, (vm, Call::AsCreate), vec![()], |(), _| vec![]),
        call(3, (vm, Call::AsSwitch), all.iter().map(|(name, _)| *name).collect(), |name, _| vec![name]),
        call(3, (vm, Call::AsDestroy), others, |name, _| vec![name]),
        call(2, (vm, Call::AsSync), late, |name, _| vec![name]),
    ]
}

fn shares(vm: usize, model: &Model) -> Vec<Option<Weighted>> {
    let peers = model.vms[vm].entries.iter().enumerate().filter_map(|(index, entry)| match entry.named {
        Named::Peer(peer) if model.vms[peer].is_alive => Some((bits(model, vm, index), peer)),
        _ => None,
    });
    let peers: Vec<(u64, usize)> = peers.collect();
    let with_peers = |mems: Vec<(u64, Mem)>| -> Vec<(u64, Mem, u64)> {
        let each = |(handle, mem): (u64, Mem)| peers.iter().map(move |(peer, _)| (handle, mem.clone(), *peer));
        mems.into_iter().flat_map(each).collect()
    };
    let own = with_peers(mems(vm, model, |mem| mem.borrow.is_none() && !mem.is_lent && !mem.is_freeing));
    let idle = with_peers(mems(vm, model, |mem| mem.borrow.is_none() && !model.is_used(mem.object)));
    let offers = peers.iter().flat_map(|&(handle, peer)| {
        model.open_offers(peer, vm).map(move |(index, share)| (handle, bits(model, peer, index), share.terms.rights))
    });
    let offers: Vec<_> = offers.collect();
    let of = |is_meant: fn(&Share) -> bool| -> Vec<u64> {
        let shares = model.vms[vm].shares().filter(|(_, share)| is_meant(share));
        shares.map(|(index, _)| bits(model, vm, index)).collect()
    };
    let borrowed = mems(vm, model, |mem| mem.borrow.is_some());
    let open = (0..VMS).map(|from| model.open_offers(vm, from).count()).sum::<usize>() as u32;
    let share = |(handle, mem, peer): (u64, Mem, u64), numbers: [u64; 3]| {
        let (offset, pages) = part(mem.pages, numbers);
        vec![peer, handle, offset, pages, [3, 1, 7, 3][numbers[2] as usize % 4], numbers[2]]
    };
    let whole = |(handle, mem, peer): (u64, Mem, u64), [a, tag, _]: [u64; 3]| {
        let verb = if a % 3 == 0 { Verb::Donate } else { Verb::Lend } as u64;
        vec![peer, handle, 0, mem.pages, verb << 4 | [3, 1, 7][a as usize / 3 % 3], tag]
    };
    vec![
        call((8 / (1 + open)).max(1), (vm, Call::ShareOffer), own, share),
        call((6 / (1 + open)).max(1), (vm, Call::ShareOffer), idle, whole),
        call(20, (vm, Call::ShareAccept), offers, |(peer, key, rights), [a, b, _]| {
            vec![peer, if a % 4 == 0 { 0 } else { key }, [0, 0, 1, 3][b as usize % 4] & rights.bits()]
        }),
        call(3, (vm, Call::ShareRelinquish), borrowed, |(handle, _), _| vec![handle]),
        call(4, (vm, Call::ShareRevoke), of(Share::is_out), |share, [a, ..]| vec![share, u64::from(a % 4 != 0)]),
        call(1, (vm, Call::ShareRevoke), of(|share| share.far.is_none()), |share, _| vec![share, 1]),
        call(1, (vm, Call::ShareInfo), of(|_| true), |share, _| vec![share]),
    ]
}
