//! Owned memory over a recorder: allocation to its end, what a refusal takes back, and what a drop gives back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

use strato_guest::abi::address_space::Attributes;
use strato_guest::abi::call::{AsMapReply, AsUnmapReply, MemAllocReply, MemFreeReply, MemSplitReply};
use strato_guest::abi::{Call, Code, Error, Handle, Ipa, MemHandle, Reason};
use strato_guest::{Owned, Recorder};

const MEM: Handle = Handle::new(4, 1);
const RW: Attributes = Attributes::READ.union(Attributes::WRITE);

fn at() -> Ipa {
    Ipa::new(0x6000_0000).unwrap()
}

fn allocated() -> Recorder {
    Recorder::new().answer(MemAllocReply { mem: MEM, done: 0 })
}

fn mapped(done: u64) -> AsMapReply {
    AsMapReply { level: 3, done }
}

fn unmapped(done: u64) -> AsUnmapReply {
    AsUnmapReply { reserved: 0, done }
}

fn freed(left: u64) -> MemFreeReply {
    MemFreeReply { left, done: 16 }
}

/// Each call with the number of its register of pages, or of its first argument.
fn made(recorder: &Recorder) -> Vec<(Call, u64)> {
    let calls = recorder.calls().into_iter().map(|(id, regs)| {
        let call = Call::from_function_id(id).unwrap();
        let register = [(Call::AsMap, 4), (Call::AsUnmap, 2), (Call::MemSplit, 1)];
        let register = register.iter().find(|(of, _)| *of == call).map_or(0, |&(_, register)| register);
        (call, regs[register])
    });
    calls.collect()
}

#[test]
fn an_allocation_is_repeated_until_there_is_a_handle_and_a_drop_frees_to_the_end() {
    let none = MemAllocReply { mem: Handle::from_bits(0), done: 16 };
    let recorder = Recorder::new().answer(none).answer(MemAllocReply { mem: MEM, done: 16 });
    let recorder = recorder.answer(freed(16)).answer(freed(0));
    drop(Owned::new_on(&recorder, 32).unwrap());
    let mem = u64::from(MEM.bits());
    assert_eq!(
        made(&recorder),
        [(Call::MemAlloc, 32), (Call::MemAlloc, 32), (Call::MemFree, mem), (Call::MemFree, mem)]
    );
}

#[test]
fn a_mapping_is_unmapped_and_freed_when_it_is_dropped() {
    let recorder = allocated().answer(mapped(128)).answer(mapped(128)).answer(unmapped(256)).answer(freed(0));
    let map = Owned::new_on(&recorder, 256).unwrap().map(at(), RW).unwrap();
    assert_eq!(map.address(), at());
    drop(map);
    let calls = [(Call::AsMap, 256), (Call::AsMap, 128), (Call::AsUnmap, 256), (Call::MemFree, u64::from(MEM.bits()))];
    assert_eq!(made(&recorder)[1..], calls);
}

#[test]
fn a_refused_mapping_takes_back_its_own_pages_alone_and_returns_the_object() {
    let exists = Error::of(Code::Exists, 2, Reason::None, 0);
    let recorder = allocated().answer(mapped(3)).refuse(exists, 2).answer(unmapped(5)).answer(freed(0));
    let (object, error) = Owned::new_on(&recorder, 8).unwrap().map(at(), RW).unwrap_err();
    assert_eq!((error.code(), object.pages(), object.handle()), (Code::Exists, 8, MemHandle(MEM)));
    object.free().unwrap();
    assert_eq!(made(&recorder)[3], (Call::AsUnmap, 5));
    let recorder = allocated().refuse(exists, 0).answer(freed(0));
    drop(Owned::new_on(&recorder, 8).unwrap().map(at(), RW).unwrap_err());
    assert!(made(&recorder).iter().all(|(call, _)| *call != Call::AsUnmap), "what was there stays");
}

#[test]
fn unmapping_returns_the_object_and_halves_are_objects_of_their_own() {
    let second = MemHandle(Handle::new(5, 1));
    let recorder = allocated().answer(mapped(4)).answer(unmapped(4)).answer(MemSplitReply { second });
    let recorder = recorder.answer(freed(0)).answer(freed(0));
    let object = Owned::new_on(&recorder, 4).unwrap().map(at(), RW).unwrap().unmap().unwrap();
    let (low, high) = object.split().unwrap();
    assert_eq!((low.pages(), low.handle(), high.pages(), high.handle()), (2, MemHandle(MEM), 2, second));
    drop((low, high));
    assert_eq!(made(&recorder)[3], (Call::MemSplit, 0x2000));
    assert_eq!(recorder.calls().len(), 6);
}

#[test]
fn a_refused_split_or_free_returns_the_object() {
    let busy = Error::of(Code::Busy, 1, Reason::None, 0);
    let recorder = allocated().refuse(busy, 0).refuse(busy, 0).answer(freed(0));
    let (object, error) = Owned::new_on(&recorder, 4).unwrap().split().unwrap_err();
    assert_eq!((error.code(), object.pages()), (Code::Busy, 4));
    let (object, _) = object.free().unwrap_err();
    drop(object);
    assert_eq!(recorder.calls().len(), 4);
}
