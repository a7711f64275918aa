//! A VM as senders see it. Raising an event and what becomes of its ports are the hypervisor's own files.

#[path = "../../src/vm/ports.rs"]
mod ports;
#[path = "../../src/vm/raise.rs"]
pub mod raise;

use crate::arch::shared::SharedPages;
use crate::events::{EventArea, Port};
use crate::vcpu::Vcpu;

#[derive(Debug)]
pub struct Row<T>(Vec<T>);

impl<T> Row<T> {
    pub fn get(&self, index: usize) -> Option<&T> {
        self.0.get(index)
    }

    pub fn masked(&self, index: usize) -> Option<&T> {
        self.0.get(index)
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

/// Ports 0 to 3.
#[derive(Debug, Default)]
pub struct Ports([Port; 4]);

impl Ports {
    pub fn get(&self, index: usize) -> Option<&Port> {
        self.0.get(index)
    }

    pub fn masked_at(&self, index: u64) -> (usize, &Port) {
        let index = (index & 3) as usize;
        (index, &self.0[index])
    }
}

#[derive(Debug)]
pub struct Vm {
    pub vcpus: Row<Vcpu>,
    pub ports: Ports,
    pub place: u8,
    pub incarnation: u32,
    pub area: EventArea,
}

impl Vm {
    pub fn new(place: u8, incarnation: u32, vcpus: usize) -> Self {
        let vcpus = Row((0..vcpus).map(|_| Vcpu::default()).collect());
        Self { vcpus, ports: Ports::default(), place, incarnation, area: EventArea::new(SharedPages::zeroed()) }
    }

    pub fn vcpu(&self, number: u8) -> Option<&Vcpu> {
        self.vcpus.get(usize::from(number))
    }
}
