//! Frames: one owner through every change of form, and nothing past an end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first surprise")]

use core::sync::atomic::Ordering;

use strato_hyp::arch::backing::{self, DIRT};
use strato_hyp::arch::page_box::{PageBox, PageSlice};
use strato_hyp::arch::ram::{FRAME_SIZE, Pa, Pages, Scrub};
use strato_hyp::arch::shared::{PagesSlot, SharedPages};
use strato_hyp::arch::table::{ENTRIES, Table};

fn lose(pages: Pages) {
    core::mem::forget(pages);
}

#[test]
fn frames_split_and_join_only_at_their_ends() {
    let pages = backing::ram(8, 1);
    let start = pages.pa().bytes();
    let pages = pages.split_at(0).unwrap_err();
    let pages = pages.split_at(8).unwrap_err();
    let pages = pages.split_at(usize::MAX).unwrap_err();
    let (low, high) = pages.split_at(3).unwrap();
    assert_eq!((low.pa().bytes(), low.count(), high.pa().bytes(), high.count()), (start, 3, start + 3 * 4096, 5));
    let (high, low) = Pages::join(high, low).unwrap_err();
    let pages = Pages::join(low, high).unwrap();
    assert_eq!((pages.pa().bytes(), pages.count(), pages.bytes()), (start, 8, 8 * FRAME_SIZE));
    lose(pages);
}

#[test]
#[should_panic(expected = "give them back")]
fn dropping_frames_is_noticed() {
    drop(backing::ram(1, 1));
}

#[test]
fn addresses_beyond_48_bits_do_not_exist() {
    assert_eq!(Pa::new(1 << 48), None);
    let last = Pa::new((1 << 48) - 1).unwrap();
    assert_eq!((last.checked_add(1), last.checked_add(u64::MAX)), (None, None));
    assert_eq!(Pa::of_entry(u64::MAX).bytes(), 0xffff_ffff_f000);
    assert!(Pa::new(0x20_0000).unwrap().is_aligned(0x20_0000) && !Pa::new(0x20_1000).unwrap().is_aligned(0x20_0000));
}

#[test]
fn a_scrub_leaves_zeros_and_joins_only_with_scrubbed_frames_to_scrubbed_ones() {
    let (mut low, high) = backing::ram(4, 1).split_at(2).unwrap();
    let shared = SharedPages::new(low);
    assert_eq!(shared.word(0).unwrap().load(Ordering::Relaxed), u64::from_ne_bytes([DIRT; 8]));
    low = shared.into_pages();
    low.scrub();
    assert!(low.is_scrubbed() && !high.is_scrubbed());
    let (low, mut high) = Pages::join(low, high).unwrap().split_at(2).unwrap();
    assert!(!low.is_scrubbed());
    high.scrub();
    let all = PageBox::<[u64; 512 * 4]>::zeroed(Pages::join(low, high).unwrap()).unwrap();
    assert!(all.iter().all(|&word| word == 0));
    lose(all.into_pages());
}

#[test]
fn a_scrub_in_steps_ends_only_when_all_frames_are_zero() {
    let mut scrub = Scrub::new(backing::ram(33, 1));
    assert!(!scrub.step() && !scrub.step());
    let mut scrub = scrub.finish().unwrap_err();
    assert!(scrub.step());
    let mut pages = scrub.finish().unwrap();
    assert!(pages.is_scrubbed());
    pages.scrub();
    let row = PageSlice::from_fn(pages, 0, |_| 0u8).unwrap();
    let shared = SharedPages::new(row.into_pages());
    let mut bytes = vec![1; 33 * FRAME_SIZE];
    assert!(shared.frames().read(0, &mut bytes) && bytes.iter().all(|&byte| byte == 0));
    lose(shared.into_pages());
}

#[test]
fn a_box_takes_exactly_its_frames_and_gives_value_and_frames_back() {
    type Large = [u64; 1500];
    assert_eq!((PageBox::<u8>::PAGES, PageBox::<Large>::PAGES, PageBox::<Large>::ORDER), (1, 4, 2));
    let pages = PageBox::<Large>::new(backing::ram(3, 1), [7; 1500]).unwrap_err();
    lose(pages);
    let pages = backing::ram(4, 1);
    let pa = pages.pa();
    let mut boxed = PageBox::<Large>::new(pages, [7; 1500]).unwrap();
    boxed[1499] = 8;
    assert_eq!((boxed.pa(), boxed[0], boxed[1499]), (pa, 7, 8));
    let (value, pages) = boxed.into_parts();
    assert_eq!((value[1499], pages.count(), pages.is_scrubbed()), (8, 4, false));
    let row = PageBox::<[usize; 512]>::from_fn(pages, |index| index).unwrap_err();
    lose(row);
}

#[test]
fn a_box_and_a_row_drop_what_they_hold_when_they_end() {
    use std::rc::Rc;
    let counter = Rc::new(());
    let boxed = PageBox::new(backing::ram(1, 1), Rc::clone(&counter)).unwrap();
    let row = PageSlice::from_fn(backing::ram(1, 1), 5, |_| Rc::clone(&counter)).unwrap();
    assert_eq!((Rc::strong_count(&counter), row.len()), (7, 5));
    lose(boxed.into_pages());
    lose(row.into_pages());
    assert_eq!(Rc::strong_count(&counter), 1);
}

#[test]
fn a_row_that_does_not_fit_its_frames_is_refused() {
    let pages = PageSlice::from_fn(backing::ram(1, 1), 4097, |_| 0u8).err().unwrap();
    let pages = PageSlice::from_fn(pages, usize::MAX, |_| 0u64).err().unwrap();
    let row = PageSlice::<u16>::zeroed(pages);
    assert_eq!((row.len(), row.iter().all(|&word| word == 0)), (2048, true));
    lose(row.into_pages());
}

#[test]
fn shared_frames_are_copied_bytewise_at_any_offset_and_never_past_the_end() {
    let shared = SharedPages::new(backing::ram(2, 1));
    let frames = shared.frames();
    let text: Vec<u8> = (0..100).collect();
    for offset in (0..20).chain([4090, 8092]) {
        assert!(frames.write(offset, &text));
        let mut back = [0; 100];
        assert!(frames.read(offset, &mut back));
        assert_eq!(back[..], text[..], "{offset}");
        let beside = [offset.checked_sub(1), Some(offset + 100).filter(|&end| end < 8192)];
        for at in beside.into_iter().flatten() {
            assert!(frames.write(at, &[0xee]) && frames.read(offset, &mut back));
            assert_eq!(back[..], text[..], "{offset} beside {at}");
        }
    }
    for (offset, len) in [(8093, 100), (8192, 1), (usize::MAX, 1), (usize::MAX, 100)] {
        assert!(!frames.write(offset, &text[..len]), "{offset}");
        assert!(!frames.read(offset, &mut [0; 100][..len]), "{offset}");
    }
    assert!(frames.write(8192, &[]) && frames.read(3, &mut []) && frames.read(8192, &mut []));
    let mut short = [0; 3];
    assert!(frames.write(6, &[1, 2, 3]) && frames.read(6, &mut short));
    assert_eq!(short, [1, 2, 3]);
    assert!(frames.write(2, &[4, 5, 6]) && frames.read(2, &mut short));
    assert_eq!(short, [4, 5, 6]);
    assert!(frames.word(1023).is_some() && frames.word(1024).is_none());
    frames.publish_code(8000, usize::MAX);
    lose(shared.into_pages());
}

#[test]
fn a_slot_gives_frames_once_and_remembers_where_they_are() {
    let mut slot = PagesSlot::EMPTY;
    assert!(slot.take().is_none() && slot.shared().is_none());
    lose(slot.put(backing::ram(3, 1)).unwrap_err());
    let pages = backing::ram(4, 4);
    let pa = pages.pa();
    slot.put(pages).unwrap();
    lose(slot.put(backing::ram(1, 1)).unwrap_err());
    assert_eq!((slot.is_held(), slot.base(), slot.order()), (true, pa, 2));
    assert_eq!(slot.shared().unwrap().bytes(), 4 * FRAME_SIZE);
    let pages = slot.take().unwrap();
    assert!(slot.take().is_none());
    assert_eq!((slot.base(), slot.order(), pages.pa(), pages.count()), (pa, 2, pa, 4));
    lose(pages);
}

#[test]
fn a_table_starts_empty_and_owns_what_is_linked_into_it() {
    let mut root = Table::new(backing::ram(1, 1)).unwrap();
    lose(Table::new(backing::ram(2, 1)).unwrap_err());
    assert!((0..ENTRIES).all(|index| root.look().entry(index) == 0));
    let child = Table::new(backing::ram(1, 1)).unwrap();
    let pa = child.pa();
    root.edit().link(3, child, 0).unwrap();
    let other = root.edit().link(3, Table::new(backing::ram(1, 1)).unwrap(), 0).unwrap_err();
    lose(other.into_pages());
    root.edit().child(3).unwrap().set_leaf(511, 0x1003);
    root.edit().add_used(3, 512);
    assert_eq!((root.look().child(3).unwrap().entry(511), root.edit().used(3)), (0x1003, 512));
    assert_eq!(root.look().entry(3) & 0xffff_ffff_f003, pa.bytes() | 3);
    root.edit().sub_used(3, 511);
    root.edit().hide(3);
    assert_eq!((root.look().entry(3) & 1, root.edit().used(3)), (0, 1));
    assert!(root.look().child(3).is_some(), "hidden from walkers only");
    assert!(root.edit().unlink(4).is_none());
    let child = root.edit().unlink(3).unwrap();
    assert_eq!((child.pa(), root.look().entry(3)), (pa, 0));
    lose(child.into_pages());
    lose(root.into_pages());
}

#[test]
fn a_leaf_cannot_pretend_to_own_a_table() {
    let mut root = Table::new(backing::ram(1, 1)).unwrap();
    root.edit().set_leaf(0, u64::MAX);
    assert!(root.look().child(0).is_none() && root.edit().unlink(0).is_none());
    lose(root.into_pages());
}
