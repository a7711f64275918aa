//! Tree: the device tree of a Raspberry Pi 4, as far as a hypervisor needs it, for QEMU's `raspi4b`, which has none of its own.
//!
//! Written from the bindings (devicetree specification 0.4, and those of the devices); what stands where is in "BCM2711 ARM Peripherals".
//! QEMU writes the memory into it.

use dtoolkit::memreserve::MemoryReservation;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

/// What every device tree begins with (devicetree specification 0.4, section 5.2).
pub const MAGIC: [u8; 4] = 0xd00d_feed_u32.to_be_bytes();

/// Which device tree a machine is booted with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    /// That of the machine, if it has one.
    #[default]
    Nothing,
    /// This tool's, for a Raspberry Pi 4.
    Own,
    /// That of a file.
    File(std::path::PathBuf),
}

fn cells(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}

fn text(value: &str) -> Vec<u8> {
    format!("{value}\0").into_bytes()
}

fn node(name: &str, properties: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> Option<DeviceTreeNode> {
    let mut node = DeviceTreeNode::new(name).ok()?;
    for (name, value) in properties {
        node.add_property(DeviceTreeProperty::new(name, value).ok()?);
    }
    Some(node)
}

fn cores() -> Option<DeviceTreeNode> {
    let mut cores = node("cpus", [("#address-cells", cells(&[1])), ("#size-cells", cells(&[0]))])?;
    for number in 0..4 {
        cores.add_child(node(
            &format!("cpu@{number}"),
            [
                ("device_type", text("cpu")),
                ("compatible", text("arm,cortex-a72")),
                ("reg", cells(&[number])),
                ("enable-method", text("spin-table")),
                ("cpu-release-addr", cells(&[0, 0xd8 + 8 * number])),
            ],
        )?);
    }
    Some(cores)
}

fn devices() -> Option<DeviceTreeNode> {
    // From the addresses of the bus to those of the cores.
    let ranges = cells(&[0x7e00_0000, 0, 0xfe00_0000, 0x0180_0000, 0x4000_0000, 0, 0xff80_0000, 0x0080_0000]);
    let mut bus = node(
        "soc",
        [
            ("compatible", text("simple-bus")),
            ("#address-cells", cells(&[1])),
            ("#size-cells", cells(&[1])),
            ("ranges", ranges),
        ],
    )?;
    let gic = [0x4004_1000, 0x1000, 0x4004_2000, 0x2000, 0x4004_4000, 0x2000, 0x4004_6000, 0x2000];
    bus.add_child(node(
        "interrupt-controller@40041000",
        [
            ("compatible", text("arm,gic-400")),
            ("interrupt-controller", Vec::new()),
            ("#interrupt-cells", cells(&[3])),
            ("reg", cells(&gic)),
        ],
    )?);
    bus.add_child(node(
        "serial@7e201000",
        [
            ("compatible", b"arm,pl011\0arm,primecell\0".to_vec()),
            ("reg", cells(&[0x7e20_1000, 0x200])),
            ("interrupts", cells(&[0, 121, 4])),
            ("status", text("okay")),
        ],
    )?);
    Some(bus)
}

/// Returns the tree as a blob; nothing only if the library refuses a name above.
#[must_use]
pub fn rpi4() -> Option<Vec<u8>> {
    let mut tree = DeviceTree::new();
    tree.memory_reservations.push(MemoryReservation::new(0, 0x1000)); // the firmware's stub, with the spin table
    tree.root = node(
        "",
        [
            ("compatible", b"raspberrypi,4-model-b\0brcm,bcm2711\0".to_vec()),
            ("model", text("Raspberry Pi 4 Model B")),
            ("#address-cells", cells(&[2])),
            ("#size-cells", cells(&[1])),
        ],
    )?;
    tree.root.add_child(node("memory@0", [("device_type", text("memory")), ("reg", cells(&[0, 0, 0]))])?);
    tree.root.add_child(cores()?);
    tree.root.add_child(devices()?);
    Some(tree.to_dtb())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_one_by_its_magic_and_length() {
        let blob = rpi4().unwrap();
        assert_eq!(&blob[..4], &MAGIC);
        assert_eq!(&blob[4..8], &u32::try_from(blob.len()).unwrap().to_be_bytes());
    }
}
