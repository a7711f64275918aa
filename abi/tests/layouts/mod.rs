//! Layouts of every structure of the ABI, field by field, for the golden file and for the tables of the specification.
//!
//! A list of fields here is checked by the compiler: the pattern names every field of the structure, so a new one breaks it.

use std::mem::{offset_of, size_of};

use strato_abi::{event_area, info_page, note, plan, vcpu_area};

/// Where a field stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) offset: usize,
    pub(crate) size: usize,
}

/// A structure and its fields in order.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) size: usize,
    pub(crate) fields: Vec<Field>,
}

fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

macro_rules! layouts {
    ($( $module:ident :: $name:ident { $($field:ident),* $(,)? } )*) => {
        vec![$({
            let _every_field_is_listed = |value: &$module::$name| { let $module::$name { $($field: _),* } = *value; };
            Layout {
                name: stringify!($name),
                size: size_of::<$module::$name>(),
                fields: vec![$( Field {
                    name: stringify!($field),
                    offset: offset_of!($module::$name, $field),
                    size: size_of_field(|value: &$module::$name| &value.$field),
                } ),*],
            }
        }),*]
    };
}

/// Returns the layouts of everything that guests see.
pub(crate) fn guest() -> Vec<Layout> {
    layouts! {
        info_page::TableRef { offset, stride, count }
        info_page::InfoPage {
            magic, version, header_size, total_size, vm, vcpus, features, label, ram_base, ram_size, image_base, image_size,
            command_line, device_tree, counter_hz, vcpu_area, event_area, log_ring, generation, boot_reason, boot_count,
            last_exit, seed, groups, handles,
        }
        info_page::GroupEntry { group, major, minor, reserved, calls, reserved2 }
        info_page::HandleEntry { handle, kind, rights, size, address, name }
        vcpu_area::VcpuRecord {
            sequence, run_state, since, running, runnable, blocked, off, wall_base, wall_counter, wall_epoch, deadline, exits,
            reserved,
        }
        event_area::EventRecord { pending, mask, selector, reserved }
        note::Header { abi_version, flags, groups, handles, reserved, stack_size }
        note::GroupNeed { group, major, minor, reserved }
        note::HandleNeed { kind, reserved, name }
    }
}

/// Returns the layouts of the boot plan.
#[allow(dead_code, reason = "only the golden test asks for it; the specification leaves the plan to plan.rs")]
pub(crate) fn boot_plan() -> Vec<Layout> {
    layouts! {
        plan::PayloadHeader {
            magic, version, abi_version, total_len, checksum, records_len, records, vms, log_level, slice_us, flags, build_id,
        }
        plan::RecordHeader { kind, size, vm, reserved }
        plan::CreateVm {
            header, label, ram_size, entry, image_base, image_size, command_line, command_line_len, quota_pages, calls, cores,
            flags, vcpus, handles, priority, restart_limit, restart_window_s, timers, reserved,
        }
        plan::Load { header, address, offset, file_len, mem_len, attributes }
        plan::CreateRegion { header, size }
        plan::GrantRegion { header, region, rights, reserved, address, name }
        plan::Peer { header, peer, reserved, name }
        plan::Channel { header, peer, vcpu, peer_vcpu, reserved, name, peer_name }
        plan::Start { header }
        plan::GrantDevice { header, board, address, size, flags, reserved, name }
        plan::GrantInterrupt { header, board, intid, flags, name }
        plan::GrantSched { header, budget_us, period_us, core, priority, vcpus, reserved, name }
        plan::AllowRegister { header, board, address, mask, reserved }
        plan::Expect { header, outcome, reserved, code }
        plan::Scenario { header, name, limit_s, flags }
    }
}
