//! Run queue: beside a list for each priority.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn vcpu(n: u16) -> VcpuRef {
    VcpuRef::from_number(n).unwrap()
}

fn pop(queue: &mut RunQueue) -> Option<(VcpuRef, u8)> {
    let first = queue.first();
    if let Some((vcpu, _)) = first {
        queue.remove(vcpu);
    }
    first
}

#[test]
fn the_highest_priority_comes_first_and_equals_in_order() {
    let mut queue = RunQueue::new_zeroed();
    for (n, priority) in [(1, 3), (2, 7), (3, 7), (4, 0)] {
        queue.push(vcpu(n), priority, false);
    }
    queue.push(vcpu(5), 7, true);
    let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue)).map(|(v, _)| v.number()).collect();
    assert_eq!(order, [5, 2, 3, 1, 4]);
}

#[test]
fn a_vcpu_is_never_queued_twice() {
    let mut queue = RunQueue::new_zeroed();
    queue.push(vcpu(9), 1, false);
    queue.push(vcpu(9), 5, false);
    assert_eq!(pop(&mut queue), Some((vcpu(9), 1)));
    assert_eq!(pop(&mut queue), None);
}

proptest! {
    #[test]
    fn the_queue_behaves_like_a_list_per_priority(steps in prop::collection::vec((0..7u8, 0..40u16, 0..4u8, any::<bool>()), 0..400)) {
        let mut queue = RunQueue::new_zeroed();
        let mut model: Vec<VecDeque<u16>> = vec![VecDeque::new(); 4];
        for (step, n, priority, first) in steps {
            match step {
                0 => {
                    queue.push(vcpu(n), priority, first);
                    if !model.iter().any(|level| level.contains(&n)) {
                        let level = &mut model[usize::from(priority)];
                        if first { level.push_front(n) } else { level.push_back(n) }
                    }
                }
                // Passing: only where somebody is ready.
                1 if first => {
                    let level = &mut model[usize::from(priority)];
                    if let Some(passed) = level.pop_front() {
                        level.push_back(passed);
                        prop_assert_eq!(queue.pass(u32::from(priority)).number(), level[0]);
                        prop_assert_eq!(queue.is_shared(vcpu(passed)), level.len() > 1);
                    }
                }
                1 => {
                    let was = model.iter().any(|level| level.contains(&n));
                    model.iter_mut().for_each(|level| level.retain(|&m| m != n));
                    prop_assert_eq!(queue.remove(vcpu(n)), was);
                }
                2 if !queue.contains(vcpu(n)) => {
                    match model[usize::from(priority)].front() {
                        None if first => queue.push_alone(vcpu(n), priority),
                        Some(front) if first => queue.append_behind(vcpu(*front), vcpu(n), priority),
                        _ => queue.append(vcpu(n), priority),
                    }
                    model[usize::from(priority)].push_back(n);
                }
                3 => {
                    let level = &mut model[usize::from(priority)];
                    if let Some(first) = level.pop_front() {
                        let next = queue.remove_first(vcpu(first), priority.into());
                        prop_assert_eq!(next.map(VcpuRef::number), level.front().copied());
                    }
                }
                4 => {
                    let level = &mut model[usize::from(priority)];
                    if let Some(first) = level.pop_front() {
                        level.push_back(first);
                        prop_assert_eq!(queue.pass_from(vcpu(first), priority.into()).number(), level[0]);
                    }
                }
                5 => {
                    // In place of the only one of its level.
                    let level = &mut model[usize::from(priority)];
                    if level.len() == 1 && !queue.contains(vcpu(n)) {
                        queue.replace(vcpu(level[0]), vcpu(n), priority.into());
                        level[0] = n;
                    }
                }
                _ => {
                    let expected = model.iter_mut().rev().find_map(VecDeque::pop_front);
                    prop_assert_eq!(pop(&mut queue).map(|(v, _)| v.number()), expected);
                }
            }
            for n in 0..40 {
                prop_assert_eq!(queue.contains(vcpu(n)), model.iter().any(|level| level.contains(&n)));
            }
        }
    }
}
