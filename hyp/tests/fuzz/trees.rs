//! Trees: device trees built by hand, as a start for what is made up. Used by the tests of boot and by those of its parsers.

use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

/// Returns the value that consists of these cells.
pub(crate) fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

/// Returns a property.
pub(crate) fn property(name: &str, value: &[u8]) -> DeviceTreeProperty {
    DeviceTreeProperty::new(name, value.to_vec()).unwrap()
}

/// Returns a node with these properties.
pub(crate) fn node(name: &str, properties: &[(&str, Vec<u8>)]) -> DeviceTreeNode {
    let mut node = DeviceTreeNode::new(name).unwrap();
    for (name, value) in properties {
        node.add_property(property(name, value));
    }
    node
}

/// Returns the value that is this text.
pub(crate) fn text(value: &str) -> Vec<u8> {
    format!("{value}\0").into_bytes()
}

/// QEMU's `virt`, and what may be particular about it.
pub(crate) struct Virt {
    pub(crate) memory: Vec<(u32, u32)>,
    pub(crate) cores: Vec<u32>,
    pub(crate) method: &'static str,
    pub(crate) gic: &'static str,
    pub(crate) reserved: Vec<(u32, u32)>,
    pub(crate) secure_uart: bool,
    pub(crate) gpio: &'static str,
}

impl Default for Virt {
    fn default() -> Self {
        Self {
            memory: vec![(0x4000_0000, 0x2000_0000)],
            cores: vec![0, 1],
            method: "smc",
            gic: "arm,gic-v3",
            reserved: vec![],
            secure_uart: false,
            gpio: "okay",
        }
    }
}

impl Virt {
    /// Returns the blob.
    pub(crate) fn blob(&self) -> Vec<u8> {
        self.tree().to_dtb()
    }

    /// Returns the tree, for more to be added.
    pub(crate) fn tree(&self) -> DeviceTree {
        let mut tree = DeviceTree::new();
        tree.memory_reservations.push(MemoryReservation::new(0x4000_0000, 0x1000));
        let two = [("#address-cells", cells(&[2])), ("#size-cells", cells(&[2]))];
        for (name, value) in &two {
            tree.root.add_property(property(name, value));
        }
        tree.root.add_property(property("compatible", &text("linux,dummy-virt")));
        for (start, bytes) in &self.memory {
            let memory = node(&format!("memory@{start:x}"), &[("reg", cells(&[0, *start, 0, *bytes]))]);
            tree.root.add_child(memory);
        }
        let mut reserved = node("reserved-memory", &two);
        for (start, bytes) in &self.reserved {
            reserved.add_child(node(&format!("keep@{start:x}"), &[("reg", cells(&[0, *start, 0, *bytes]))]));
        }
        tree.root.add_child(reserved);
        let mut cpus = node("cpus", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[0]))]);
        for affinity in &self.cores {
            cpus.add_child(node(&format!("cpu@{affinity:x}"), &[("reg", cells(&[*affinity]))]));
        }
        tree.root.add_child(cpus);
        tree.root.add_child(node("psci", &[("method", text(self.method))]));
        let frames = cells(&[0, 0x0800_0000, 0, 0x10000, 0, 0x080a_0000, 0, 0xf6_0000]);
        tree.root.add_child(node("intc@8000000", &[("compatible", text(self.gic)), ("reg", frames)]));
        if self.secure_uart {
            tree.root.add_child(uart(0x0904_0000, 8, "disabled"));
        }
        tree.root.add_child(uart(0x0900_0000, 1, "okay"));
        let clock =
            [("compatible", b"arm,pl031\0arm,primecell\0".to_vec()), ("reg", cells(&[0, 0x0901_0000, 0, 0x1000]))];
        tree.root.add_child(node("pl031@9010000", &clock));
        let gpio = [
            ("compatible", b"arm,pl061\0arm,primecell\0".to_vec()),
            ("reg", cells(&[0, 0x0903_0000, 0, 0x1000])),
            ("status", text(self.gpio)),
        ];
        tree.root.add_child(node("pl061@9030000", &gpio));
        tree
    }
}

/// Returns a PL011.
pub(crate) fn uart(base: u32, interrupt: u32, status: &str) -> DeviceTreeNode {
    node(
        &format!("pl011@{base:x}"),
        &[
            ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
            ("reg", cells(&[0, base, 0, 0x1000])),
            ("interrupts", cells(&[0, interrupt, 4])),
            ("status", text(status)),
        ],
    )
}

/// Returns a Raspberry Pi 4 with a core for each of `words`, for which it waits.
pub(crate) fn pi(words: &[u32]) -> Vec<u8> {
    pi_tree(words).to_dtb()
}

/// Returns its tree, for more to be added.
pub(crate) fn pi_tree(words: &[u32]) -> DeviceTree {
    let mut tree = DeviceTree::new();
    tree.root.add_property(property("#address-cells", &cells(&[2])));
    tree.root.add_property(property("#size-cells", &cells(&[1])));
    tree.root.add_property(property("compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0"));
    tree.root.add_child(node("memory@0", &[("reg", cells(&[0, 0, 0x3b40_0000]))]));
    let mut cpus = node("cpus", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[0]))]);
    for (n, word) in (0..).zip(words) {
        let method = ("enable-method", text("spin-table"));
        cpus.add_child(node(
            &format!("cpu@{n}"),
            &[("reg", cells(&[n])), method, ("cpu-release-addr", cells(&[0, *word]))],
        ));
    }
    tree.root.add_child(cpus);
    let ranges = cells(&[0x7e00_0000, 0, 0xfe00_0000, 0x180_0000, 0x4000_0000, 0, 0xff80_0000, 0x80_0000]);
    let mut soc = node("soc", &[("#address-cells", cells(&[1])), ("#size-cells", cells(&[1])), ("ranges", ranges)]);
    let frames = cells(&[0x4004_1000, 0x1000, 0x4004_2000, 0x2000]);
    soc.add_child(node("interrupt-controller@40041000", &[("compatible", text("arm,gic-400")), ("reg", frames)]));
    let serial = [
        ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
        ("reg", cells(&[0x7e20_1000, 0x200])),
        ("interrupts", cells(&[0, 121, 4])),
    ];
    soc.add_child(node("serial@7e201000", &serial));
    tree.root.add_child(soc);
    let mut chosen = node("chosen", &[("version", text("of nobody"))]);
    chosen.add_child(node("bootloader", &[("version", text("7f6ad0e3 and more"))]));
    tree.root.add_child(chosen);
    tree
}

/// Returns `blob` with `tokens` of the structure block in front of the end of its root.
pub(crate) fn with_tokens(blob: &[u8], tokens: &[u8]) -> Vec<u8> {
    let field = |index: usize| u32::from_be_bytes(*blob[index * 4..].first_chunk().unwrap());
    let at = field(2) + field(9) - 8; // FDT_END_NODE of the root, FDT_END
    let more = u32::try_from(tokens.len()).unwrap();
    let mut longer = blob.to_vec();
    longer.splice(at as usize..at as usize, tokens.iter().copied());
    let mut set = |index: usize, value: u32| longer[index * 4..index * 4 + 4].copy_from_slice(&value.to_be_bytes());
    for index in [2, 3, 4].into_iter().filter(|&index| field(index) > at) {
        set(index, field(index) + more);
    }
    set(1, field(1) + more);
    set(9, field(9) + more);
    longer
}
