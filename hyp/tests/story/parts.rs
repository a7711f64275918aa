//! Parts: what boot would hand over for a packed system, on a machine of simulated registers. Used by the stage.

use strato_hyp::arch::backing;
use strato_hyp::arch::install::{Carved, Cores};
use strato_hyp::arch::mmio::Device;
use strato_hyp::arch::region::Region;
use strato_hyp::board::{self, BoardInfo, CoreMethod, GicInfo, UartInfo};
use strato_hyp::boot::Parts;
use strato_hyp::console::Console;
use strato_hyp::gic::Gic;

use crate::plan::System;

fn carved() -> Carved {
    Carved { whole: Region::new(0, 0), stacks: heapless::Vec::new(), tables: Region::new(0, 0), retained: None }
}

impl System {
    /// Returns what boot would hand over on a machine of `cores` cores.
    pub(crate) fn parts(&self, cores: usize) -> Parts {
        let none = Region::new(0, 0);
        let board = BoardInfo {
            known: board::find(std::iter::once(b"linux,dummy-virt".as_slice())),
            ram: heapless::Vec::new(),
            reserved: heapless::Vec::new(),
            cores: (0..cores as u64).collect(),
            cores_left_out: 0,
            method: CoreMethod::None,
            gic: GicInfo::V3 { distributor: none, redistributors: none },
            uart: UartInfo { registers: none, intid: 33 },
            clock: None,
            gpio: None,
            firmware: heapless::String::new(),
        };
        let distributor = Device::simulated_with(0x1_0000, &[(4, 1)]); // GICD_TYPER: 64 interrupts
        let gic = Gic::new(&board, distributor, Device::simulated(0x2_0000)).expect("frames are large enough");
        let console: &'static Console = Box::leak(Box::new(Console::new()));
        let mut free = heapless::Vec::new();
        free.push(backing::ram(self.frames, 1)).expect("there is room");
        let (payload, cores) = (self.payload(), Cores::simulated());
        Parts {
            board,
            console,
            gic,
            free,
            payload,
            cores,
            carved: carved(),
            spin_page: None,
            shared: Device::simulated(0x1000).shared(),
            record: None,
            wall: self.wall,
            started_ticks: 0,
        }
    }
}
