//! Regions of an address space, which reports name: found whatever lies between, a bounded number of entries at a time.
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![allow(dead_code, reason = "others use more of what they have in common")]

mod memory_common;

use memory_common::{READ, WRITE, World, attr, ipa, pa};
use strato_hyp::memory::stage2::{GoOn, Region};

/// First page of guest RAM.
const RAM: u64 = 0x4000_0000 >> 12;
/// Frame number that is a multiple of 1 GiB and no RAM of the tests.
const FAR: u64 = 0x10_0000_0000 >> 12;

impl World {
    fn map(&mut self, page: u64, frame: u64, pages: u64) -> Result<(), strato_hyp::memory::stage2::SpaceError> {
        self.space.map(ipa(page), pa(frame), pages, attr(READ | WRITE), &mut self.source).map(drop)
    }
}

#[test]
fn the_nearest_regions_below_and_above_are_found_and_joined() {
    let mut world = World::new();
    assert_eq!(up_to(&world, RAM), None);
    assert_eq!(from(&world, RAM), None);
    world.map(RAM, FAR, 1024).unwrap();
    world.map(RAM + 1024, FAR + 3, 5).unwrap();
    world.map(3 * RAM, FAR + 1, 2).unwrap();
    let nearest = |world: &World, at: u64| (up_to(world, at).unwrap(), from(world, at).unwrap());
    let (below, above) = nearest(&world, 2 * RAM);
    assert_eq!((below.start, below.bytes), (ipa(RAM), 1029 << 12));
    assert_eq!((above.start, above.bytes), (ipa(3 * RAM), 2 << 12));
    let (below, above) = nearest(&world, RAM + 600);
    assert_eq!(below.start, ipa(RAM));
    assert_eq!(above.start.bytes() + above.bytes, (RAM + 1029) << 12);
    assert_eq!(up_to(&world, 1), None);
    assert_eq!(from(&world, (1 << 27) - 1), None);
    world.end();
}

/// Goes on as often as it takes.
fn up_to(world: &World, at: u64) -> Option<Region> {
    let mut at = ipa(at);
    loop {
        match world.space.region_up_to(at) {
            Ok(found) => return found,
            Err(GoOn(next)) => {
                assert!(next < at, "{next:?}");
                at = next;
            }
        }
    }
}

fn from(world: &World, at: u64) -> Option<Region> {
    let mut at = ipa(at);
    loop {
        match world.space.region_from(at) {
            Ok(found) => return found,
            Err(GoOn(next)) => {
                assert!(next > at, "{next:?}");
                at = next;
            }
        }
    }
}

#[test]
fn a_region_is_looked_for_among_so_many_entries_and_followed_over_so_many_pages() {
    let mut world = World::new();
    world.map(RAM, FAR + 1, 128).unwrap();
    let region = world.space.region_from(ipa(RAM)).unwrap().unwrap();
    assert!(region.start == ipa(RAM) && (8 << 12..100 << 12).contains(&region.bytes), "{region:?}");
    let far = ipa(RAM + (3 << 18));
    assert!(matches!(world.space.region_up_to(far), Err(GoOn(at)) if at < far), "many blocks lie between");
    assert_eq!(
        up_to(&world, RAM + (3 << 18)).map(|region| region.start.bytes() + region.bytes),
        Some((RAM + 128) << 12)
    );
    world.end();
}
