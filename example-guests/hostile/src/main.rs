//! A guest that attacks: each case tries one thing that a hostile guest may, and says whether the documented came of it.
//! The command line names cases by the start of their names, `case=hc,pm01`; `role=victim` is who must not notice.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![allow(clippy::cast_possible_truncation, reason = "a case that counts wrongly fails; nothing depends on it")]

mod aborts;
mod arch;
mod calls;
mod console;
mod convoys;
mod crashes;
mod crew;
mod cuts;
mod events;
mod fetches;
mod filters;
mod firmware;
mod irqs;
mod leaks;
mod lent_tables;
mod line_storms;
mod lookups;
mod moves;
mod native;
mod objects;
mod oracles;
mod pages;
mod ports;
mod puppet;
mod races;
mod raw;
mod registers;
mod replies;
mod restarts;
mod scratch;
mod share_ends;
mod shares;
mod siblings;
mod stale;
mod storms;
mod three;
mod timers;
mod traps;
mod vcpus;
mod victim;
mod words;

use scratch::Scratch;
use strato_guest::{Failure, Info, Needs, println};

strato_guest::entry!(hostile, Needs::new().fault_handler().native());

/// What a case is: it returns when the documented came of it, or ends the VM.
type Case = fn(&'static Info, &Scratch) -> Result<(), Failure>;

macro_rules! cases {
    ($($room:ident: $($name:ident),+;)+) => {
        /// Every case by its name, which begins with its id.
        const CASES: &[(&str, Case)] = &[$($((stringify!($name), $room::$name)),+),+];
    };
}

cases! {
    calls:
        hc01_unknown_numbers_are_not_supported,
        hc02_other_immediates_are_not_supported,
        hc03_addresses_beyond_the_space_are_refused,
        hc04_wide_arguments_are_refused,
        hc05_counts_are_bounded,
        hc06_ranges_end_where_they_must,
        hc17_wrong_handles_are_refused,
        hc18_forbidden_calls_are_denied;
    pages:
        pm01_nothing_is_mapped_over,
        pm03_what_is_reserved_stays_reserved,
        pm07_permissions_never_exceed_the_rights,
        pm09_unmap_hits_what_it_names_alone,
        pm12_random_calls_agree_with_a_model,
        pm14_a_block_without_a_table_stays_whole,
        pm16_tables_are_paid_by_the_quota;
    objects:
        pm05_sizes_and_types_are_bounded,
        pm05f_half_freed_memory_is_out_of_reach,
        ds01_objects_end_at_the_quota,
        lk09p_memory_of_the_pool_holds_zeros;
    shares:
        gs01_offers_of_nothing_to_nobody_are_refused,
        gs02_what_is_not_owned_is_not_offered,
        gs03_keys_and_handles_are_not_guessed,
        gs04_rights_never_grow,
        gs05_what_was_given_back_is_gone,
        gs08_force_takes_it_from_everywhere,
        gs09_what_a_peer_holds_stays;
    oracles:
        gs15_sharing_has_no_version_to_switch;
    share_ends:
        gs13_races_leave_nothing_mapped,
        gs14_tables_end_and_come_back,
        gs16_what_a_borrower_wrote_ends_with_its_owner,
        gs12_an_owner_that_ends_leaves_no_dangling_memory;
    stale:
        tl01_what_is_unmapped_is_never_read_again,
        tl02_what_is_protected_is_never_written_again,
        tl03_what_is_taken_back_is_never_read_again,
        tl04_tables_come_and_go_under_two_vcpus,
        tl06_address_spaces_never_share_a_vmid,
        tl07_a_block_is_cut_under_a_reader,
        tl11_one_of_four_wins_a_page;
    oracles:
        pm04_memory_of_others_has_no_name,
        pm17_questions_about_others_have_one_answer,
        pm10_the_areas_outlast_every_call,
        lk10_what_pads_a_structure_is_zero;
    cuts:
        pm15_cuts_across_blocks_walk_no_freed_table;
    fetches:
        tl02x_what_is_protected_is_never_executed_again;
    three:
        tl05_an_owner_frees_while_one_maps_and_one_reads,
        gs18_a_scribbler_harms_no_reader,
        lk09s_what_was_donated_and_freed_holds_zeros;
    lookups:
        tl12_what_is_looked_up_is_whole_or_gone;
    events:
        ev01_sends_to_nowhere_are_refused,
        ev04_a_scribbled_area_harms_its_owner_alone,
        ev05_every_port_number_works_once,
        ev07_a_reused_number_has_no_old_events,
        ev12_many_sends_are_at_least_one_event;
    ports:
        ev03_ports_of_others_have_no_name,
        ev06_a_full_table_undoes_nothing,
        ev08_a_port_closes_while_others_send_and_bind,
        ev10_a_fresh_port_is_whole_on_every_core,
        ev13_events_wait_for_a_vcpu_that_is_off;
    convoys:
        vc07_vcpus_of_others_have_no_number,
        ds08_sleeping_and_waking_leaves_the_others_their_share,
        ds10_hammered_words_hold_no_sender_up,
        ds11_a_convoy_lets_everybody_through;
    races:
        ev11_every_event_wakes_who_waits_for_it,
        ev11m_every_event_finds_who_moves,
        ev11u_every_event_interrupts_who_spins_or_sleeps,
        ev11v_every_event_wakes_another_vm;
    irqs:
        ev02_interrupts_are_bound_by_their_owner_alone,
        ds13_a_line_that_never_falls_is_masked;
    line_storms:
        rt10_interrupts_of_devices_take_no_reserved_time;
    filters:
        io01_garbage_stays_in_its_own_bits,
        io03_a_pin_stays_as_it_was_set,
        io02b_a_byte_stops_the_vm,
        io02u_an_unaligned_word_stops_the_vm,
        io02p_a_pair_stops_the_vm,
        io02w_a_write_back_stops_the_vm,
        io02g_garbage_anywhere_stops_the_vm;
    vcpus:
        vc01_only_a_vcpu_that_is_off_starts,
        vc02_impossible_entries_are_refused,
        vc03_racing_starts_have_one_winner_each,
        vc10_a_call_ends_an_exclusive_access,
        vc04_stopping_the_last_vcpu_ends_the_vm,
        vc02x_start_without_code_stops_the_vm,
        vc05_yields_cost_their_caller_alone,
        vc06_waits_end_when_they_must,
        vc11_masked_spinning_is_preempted,
        tm05_physical_time_is_undefined;
    moves:
        vc08_what_is_above_the_own_cap_is_refused,
        vc09_a_move_is_invisible_to_the_guest,
        vc09s_vcpus_that_move_without_end_are_not_lost,
        vc09d_a_vm_ends_while_its_vcpus_move,
        vc09l_a_vm_ends_on_a_budget_that_is_lent,
        vc04y_a_vm_ends_as_it_is_passed_the_core;
    timers:
        tm01_every_deadline_is_defined,
        tm03_short_periods_are_refused,
        tm02_racing_calls_deliver_once,
        tm04_the_own_timer_is_ones_own,
        tm06_all_timers_at_once_leave_the_others_their_share,
        tm08_time_goes_on_alone;
    console:
        cn01_lengths_are_bounded,
        cn02_nothing_forges_another_label,
        cn03_a_flood_is_bounded;
    leaks:
        lk01_a_new_vcpu_has_the_documented_state,
        lk03_fp_registers_are_never_anothers,
        lk05_system_registers_are_never_anothers,
        lk06_a_deferred_error_is_never_anothers,
        lk09_fresh_memory_holds_zeros;
    replies:
        lk02_calls_leave_results_and_zeros,
        lk02s_shares_leave_results_and_zeros;
    restarts:
        lc02o_a_region_waits_for_its_owner,
        lc02p_what_a_peer_left_stays_as_it_is,
        lc08_restarts_without_end_leave_nothing,
        lc10_each_life_begins_as_the_first,
        lc11_a_crash_loop_is_ended,
        lc14_a_peer_meets_each_life_at_its_port,
        rt06_each_life_takes_its_share_and_fails;
    native:
        lk05n_translation_registers_are_never_anothers,
        tl01n_what_is_unmapped_is_gone_behind_ones_own_tables,
        tl14_a_walk_into_nothing_faults_in_its_vm,
        tr08_the_mmu_off_and_every_bit_of_its_control,
        tr08w_a_vcpu_without_vectors_uses_its_own_time,
        tr09_garbage_in_tables_and_controls_stays_inside,
        tr09w_a_vm_without_tables_is_stopped;
    lent_tables:
        tl14l_a_lender_takes_a_table_back,
        tl14b_a_table_that_is_taken_back_is_none;
    siblings:
        tl09_invalidations_without_end_are_ones_own,
        lk08_memory_of_the_pool_holds_zeros_behind_the_caches;
    storms:
        ds04_endless_calls_leave_the_others_their_share,
        ds07_storms_leave_the_others_their_share,
        ds14_a_fault_loop_is_confined_to_its_slices;
    traps:
        tr02_no_register_reads_but_the_listed,
        tr03_no_register_writes_but_the_listed,
        tr05_what_is_the_machines_is_undefined,
        tr10_system_instructions_stay_inside,
        tr13_exceptions_stay_in_the_guest,
        tr07_undefined_arrives_as_documented,
        tr14_returns_to_other_levels_stay_in_the_guest;
    aborts:
        ab01_faults_tell_what_the_map_says;
    firmware:
        ps01_unknown_services_are_not_supported,
        ps02_impossible_starts_are_refused,
        ps04_cpu_off_of_the_last_ends_the_vm,
        ps07_system_off_is_the_vms_own,
        ps09_smc_reaches_no_firmware,
        ps11_services_keep_x4_to_x17,
        ps12_upper_halves_count_by_the_64_bit_ids_alone;
    crashes:
        cc02_vectors_on_nothing_stop_the_vm,
        cc02w_vectors_in_the_window_stop_the_vm,
        cc02f_vectors_beyond_the_space_stop_the_vm,
        cc03_vectors_that_fault_stop_the_vm,
        cc05_a_scribbler_harms_itself_alone,
        cc06_random_jumps_fault_where_they_land,
        cc06w_a_jump_into_the_window_never_executes,
        cc07_random_instructions_stay_in_the_guest;
}

fn hostile(info: &'static Info) -> Result<(), Failure> {
    if info.option("role") == Some("victim") {
        victim::suffer(info)?;
        println!("hostile: ok");
        return Ok(());
    }
    if info.option("role") == Some("reserved") {
        return line_storms::keep(info);
    }
    let scratch = Scratch::new(info)?;
    if info.option("role") == Some("puppet") {
        return puppet::serve(info);
    }
    let wanted = info.option("case").unwrap_or("none");
    let mut is_known = false;
    for (name, case) in CASES {
        if wanted.split(',').any(|start| name.starts_with(start)) {
            is_known = true;
            let id = name.split('_').next().unwrap_or(name);
            case(info, &scratch).inspect_err(|_| println!("{name}: failed"))?;
            println!("{id}: ok");
        }
    }
    if !is_known {
        return Err("the command line names no case".into());
    }
    println!("hostile: ok");
    Ok(())
}
