//! The structures of the ABI, listed once for the tests that compare their layouts.
//!
//! A field that C calls otherwise has that name after `as`. Fields that C does not name (padding)
//! are left out.

/// Call a macro with the module of each structure, its name and its fields.
#[macro_export]
macro_rules! structures {
    (common, $row:ident) => {
        $row!(common kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size, userspace_addr });
        $row!(common kvm_userspace_memory_region2 { slot, flags, guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset, guest_memfd, pad1, pad2 });
        $row!(common kvm_irq_level { irq, level });
        $row!(common kvm_dirty_log { slot, padding1, dirty_bitmap });
        $row!(common kvm_clear_dirty_log { slot, num_pages, first_page, dirty_bitmap });
        $row!(common kvm_dirty_gfn { flags, slot, offset });
        $row!(common kvm_coalesced_mmio_zone { addr, size, pio });
        $row!(common kvm_coalesced_mmio { phys_addr, len, pio, data });
        $row!(common kvm_coalesced_mmio_ring { first, last });
        $row!(common kvm_translation { linear_address, physical_address, valid, writeable, usermode, pad });
        $row!(common kvm_interrupt { irq });
        $row!(common kvm_signal_mask { len });
        $row!(common kvm_mp_state { mp_state });
        $row!(common kvm_enable_cap { cap, flags, args, pad });
        $row!(common kvm_ioeventfd { datamatch, addr, len, fd, flags, pad });
        $row!(common kvm_irqfd { fd, gsi, flags, resamplefd, pad });
        $row!(common kvm_irq_routing_irqchip { irqchip, pin });
        $row!(common kvm_irq_routing_msi { address_lo, address_hi, data, devid });
        $row!(common kvm_irq_routing_entry { gsi, r#type, flags, pad, u });
        $row!(common kvm_irq_routing { nr, flags });
        $row!(common kvm_msi { address_lo, address_hi, data, flags, devid, pad });
        $row!(common kvm_reg_list { n });
        $row!(common kvm_one_reg { id, addr });
        $row!(common kvm_create_device { r#type, fd, flags });
        $row!(common kvm_device_attr { flags, group, attr, addr });
        $row!(common kvm_memory_attributes { address, size, attributes, flags });
        $row!(common kvm_create_guest_memfd { size, flags, reserved });
        $row!(common kvm_pre_fault_memory { gpa, size, flags, padding });
        $row!(common kvm_stats_header { flags, name_size, num_desc, id_offset, desc_offset, data_offset });
        $row!(common kvm_stats_desc { flags, exponent, size, offset, bucket_size });
    };
    (exit, $row:ident) => {
        $row!(exit hw { hardware_exit_reason });
        $row!(exit fail_entry { hardware_entry_failure_reason, cpu });
        $row!(exit ex { exception, error_code });
        $row!(exit io { direction, size, port, count, data_offset });
        $row!(exit mmio { phys_addr, data, len, is_write });
        $row!(exit hypercall { nr, args, ret, flags });
        $row!(exit tpr_access { rip, is_write, pad });
        $row!(exit internal { suberror, ndata, data });
        $row!(exit emulation_failure { suberror, ndata, flags, insn_size, insn_bytes });
        $row!(exit system_event { r#type, ndata, data });
        $row!(exit eoi { vector });
        $row!(exit arm_nisv { esr_iss, fault_ipa });
        $row!(exit msr { error, pad, reason, index, data });
        $row!(exit notify { flags });
        $row!(exit memory_fault { flags, gpa, size });
    };
    (run, $row:ident) => {
        $row!(run kvm_run { request_interrupt_window, immediate_exit, padding1, exit_reason, ready_for_interrupt_injection, if_flag, flags, cr8, apic_base, exit as "hw", kvm_valid_regs, kvm_dirty_regs, s });
    };
    (arm64, $row:ident) => {
        $row!(arm64 user_pt_regs { regs, sp, pc, pstate });
        $row!(arm64 user_fpsimd_state { vregs, fpsr, fpcr, reserved as "__reserved" });
        $row!(arm64 kvm_regs { regs, sp_el1, elr_el1, spsr, fp_regs });
        $row!(arm64 kvm_sregs {});
        $row!(arm64 kvm_fpu {});
        $row!(arm64 kvm_vcpu_init { target, features });
        $row!(arm64 kvm_guest_debug_arch { dbg_bcr, dbg_bvr, dbg_wcr, dbg_wvr });
        $row!(arm64 kvm_guest_debug { control, pad, arch });
        $row!(arm64 kvm_debug_exit_arch { hsr, hsr_high, far });
        $row!(arm64 kvm_sync_regs { device_irq_level });
        $row!(arm64 kvm_pmu_event_filter { base_event, nevents, action, pad });
        $row!(arm64 kvm_vcpu_events_exception { serror_pending, serror_has_esr, ext_dabt_pending, pad, serror_esr });
        $row!(arm64 kvm_vcpu_events { exception, reserved });
        $row!(arm64 kvm_arm_copy_mte_tags { guest_ipa, length, addr, flags, reserved });
        $row!(arm64 kvm_arm_counter_offset { counter_offset, reserved });
        $row!(arm64 kvm_arm_device_addr { id, addr });
        $row!(arm64 kvm_smccc_filter { base, nr_functions, action, pad });
        $row!(arm64 reg_mask_range { addr, range, reserved });
    };
    (x86, $row:ident) => {
        $row!(x86 kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags });
        $row!(x86 kvm_segment { base, limit, selector, r#type, present, dpl, db, s, l, g, avl, unusable, padding });
        $row!(x86 kvm_dtable { base, limit, padding });
        $row!(x86 kvm_sregs { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, interrupt_bitmap });
        $row!(x86 kvm_sregs2 { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, flags, pdptrs });
        $row!(x86 kvm_fpu { fpr, fcw, fsw, ftwx, pad1, last_opcode, last_ip, last_dp, xmm, mxcsr, pad2 });
        $row!(x86 kvm_lapic_state { regs });
        $row!(x86 kvm_pic_state { last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll, special_mask, init_state, auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4, elcr, elcr_mask });
        $row!(x86 kvm_ioapic_state { base_address, ioregsel, id, irr, pad, redirtbl });
        $row!(x86 kvm_irqchip { chip_id, pad, chip });
        $row!(x86 kvm_pit_config { flags, pad });
        $row!(x86 kvm_pit_channel_state { count, latched_count, count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode, mode, bcd, gate, count_load_time });
        $row!(x86 kvm_pit_state { channels });
        $row!(x86 kvm_pit_state2 { channels, flags, reserved });
        $row!(x86 kvm_reinject_control { pit_reinject, reserved });
        $row!(x86 kvm_clock_data { clock, flags, pad0, realtime, host_tsc, pad });
        $row!(x86 kvm_msr_entry { index, reserved, data });
        $row!(x86 kvm_msrs { nmsrs, pad });
        $row!(x86 kvm_msr_list { nmsrs });
        $row!(x86 kvm_msr_filter_range { flags, nmsrs, base, bitmap });
        $row!(x86 kvm_msr_filter { flags, ranges });
        $row!(x86 kvm_cpuid_entry { function, eax, ebx, ecx, edx, padding });
        $row!(x86 kvm_cpuid { nent, padding });
        $row!(x86 kvm_cpuid_entry2 { function, index, flags, eax, ebx, ecx, edx, padding });
        $row!(x86 kvm_cpuid2 { nent, padding });
        $row!(x86 kvm_debug_exit_arch { exception, pad, pc, dr6, dr7 });
        $row!(x86 kvm_guest_debug_arch { debugreg });
        $row!(x86 kvm_guest_debug { control, pad, arch });
        $row!(x86 kvm_vcpu_events_exception { injected, nr, has_error_code, pending, error_code });
        $row!(x86 kvm_vcpu_events_interrupt { injected, nr, soft, shadow });
        $row!(x86 kvm_vcpu_events_nmi { injected, pending, masked, pad });
        $row!(x86 kvm_vcpu_events_smi { smm, pending, smm_inside_nmi, latched_init });
        $row!(x86 kvm_vcpu_events { exception, interrupt, nmi, sipi_vector, flags, smi, triple_fault_pending as "triple_fault.pending", reserved, exception_has_payload, exception_payload });
        $row!(x86 kvm_debugregs { db, dr6, dr7, flags, reserved });
        $row!(x86 kvm_xsave { region });
        $row!(x86 kvm_xcr { xcr, reserved, value });
        $row!(x86 kvm_xcrs { nr_xcrs, flags, xcrs, padding });
        $row!(x86 kvm_sync_regs { regs, sregs, events });
        $row!(x86 kvm_tpr_access_ctl { enabled, flags, reserved });
        $row!(x86 kvm_vapic_addr { vapic_addr });
        $row!(x86 kvm_x86_mce { status, addr, misc, mcg_status, bank, pad1, pad2 });
        $row!(x86 kvm_pmu_event_filter { action, nevents, fixed_counter_bitmap, flags, pad });
        $row!(x86 kvm_nested_state { flags, format, size, hdr });
    };
}
