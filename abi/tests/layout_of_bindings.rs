//! Every layout of the host's architecture, against the `kvm-bindings` crate, which `bindgen` made
//! from the kernel's headers. The crate has only the architecture that it is compiled for: the
//! other is proved by `layout_of_headers.rs`.
//!
//! A field that the crate calls otherwise has that name after `as`: `bindgen` gives one name to a
//! whole anonymous union.

macro_rules! same {
    ($($name:ident { $($field:ident $(as $theirs:ident)?),* })*) => {$({
        assert_eq!(size_of::<ours::$name>(), size_of::<kvm_bindings::$name>(), stringify!($name));
        $(same!(@offset $name $field $($theirs)?);)*
    })*};
    (@offset $name:ident $field:ident) => { same!(@offset $name $field $field) };
    (@offset $name:ident $ours:ident $theirs:ident) => {
        assert_eq!(
            std::mem::offset_of!(ours::$name, $ours),
            std::mem::offset_of!(kvm_bindings::$name, $theirs),
            concat!(stringify!($name), ".", stringify!($ours))
        )
    };
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x86_is_what_kvm_bindings_says() {
    mod ours {
        pub use understudy_abi::common::*;
        pub use understudy_abi::run::kvm_run;
        pub use understudy_abi::x86::*;
    }
    same! {
        kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size, userspace_addr }
        kvm_userspace_memory_region2 { slot, flags, guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset, guest_memfd, pad1, pad2 }
        kvm_irq_level { irq as __bindgen_anon_1, level }
        kvm_dirty_log { slot, padding1, dirty_bitmap as __bindgen_anon_1 }
        kvm_clear_dirty_log { slot, num_pages, first_page, dirty_bitmap as __bindgen_anon_1 }
        kvm_dirty_gfn { flags, slot, offset }
        kvm_coalesced_mmio_zone { addr, size, pio as __bindgen_anon_1 }
        kvm_coalesced_mmio { phys_addr, len, pio as __bindgen_anon_1, data }
        kvm_coalesced_mmio_ring { first, last }
        kvm_translation { linear_address, physical_address, valid, writeable, usermode, pad }
        kvm_interrupt { irq }
        kvm_signal_mask { len }
        kvm_mp_state { mp_state }
        kvm_enable_cap { cap, flags, args, pad }
        kvm_ioeventfd { datamatch, addr, len, fd, flags, pad }
        kvm_irqfd { fd, gsi, flags, resamplefd, pad }
        kvm_irq_routing_irqchip { irqchip, pin }
        kvm_irq_routing_msi { address_lo, address_hi, data, devid as __bindgen_anon_1 }
        kvm_irq_routing_entry { gsi, r#type as type_, flags, pad, u }
        kvm_irq_routing { nr, flags }
        kvm_msi { address_lo, address_hi, data, flags, devid, pad }
        kvm_reg_list { n }
        kvm_one_reg { id, addr }
        kvm_create_device { r#type as type_, fd, flags }
        kvm_device_attr { flags, group, attr, addr }
        kvm_memory_attributes { address, size, attributes, flags }
        kvm_create_guest_memfd { size, flags, reserved }
        kvm_pre_fault_memory { gpa, size, flags, padding }
        kvm_stats_header { flags, name_size, num_desc, id_offset, desc_offset, data_offset }
        kvm_stats_desc { flags, exponent, size, offset, bucket_size }
        kvm_run { request_interrupt_window, immediate_exit, padding1, exit_reason, ready_for_interrupt_injection, if_flag, flags, cr8, apic_base, exit as __bindgen_anon_1, kvm_valid_regs, kvm_dirty_regs, s }
        kvm_regs { rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags }
        kvm_segment { base, limit, selector, r#type as type_, present, dpl, db, s, l, g, avl, unusable, padding }
        kvm_dtable { base, limit, padding }
        kvm_sregs { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, interrupt_bitmap }
        kvm_sregs2 { cs, ds, es, fs, gs, ss, tr, ldt, gdt, idt, cr0, cr2, cr3, cr4, cr8, efer, apic_base, flags, pdptrs }
        kvm_fpu { fpr, fcw, fsw, ftwx, pad1, last_opcode, last_ip, last_dp, xmm, mxcsr, pad2 }
        kvm_lapic_state { regs }
        kvm_pic_state { last_irr, irr, imr, isr, priority_add, irq_base, read_reg_select, poll, special_mask, init_state, auto_eoi, rotate_on_auto_eoi, special_fully_nested_mode, init4, elcr, elcr_mask }
        kvm_ioapic_state { base_address, ioregsel, id, irr, pad, redirtbl }
        kvm_irqchip { chip_id, pad, chip }
        kvm_pit_config { flags, pad }
        kvm_pit_channel_state { count, latched_count, count_latched, status_latched, status, read_state, write_state, write_latch, rw_mode, mode, bcd, gate, count_load_time }
        kvm_pit_state { channels }
        kvm_pit_state2 { channels, flags, reserved }
        kvm_reinject_control { pit_reinject, reserved }
        kvm_clock_data { clock, flags, pad0, realtime, host_tsc, pad }
        kvm_msr_entry { index, reserved, data }
        kvm_msrs { nmsrs, pad }
        kvm_msr_list { nmsrs }
        kvm_msr_filter_range { flags, nmsrs, base, bitmap }
        kvm_msr_filter { flags, ranges }
        kvm_cpuid_entry { function, eax, ebx, ecx, edx, padding }
        kvm_cpuid { nent, padding }
        kvm_cpuid_entry2 { function, index, flags, eax, ebx, ecx, edx, padding }
        kvm_cpuid2 { nent, padding }
        kvm_debug_exit_arch { exception, pad, pc, dr6, dr7 }
        kvm_guest_debug_arch { debugreg }
        kvm_guest_debug { control, pad, arch }
        kvm_vcpu_events { exception, interrupt, nmi, sipi_vector, flags, smi, triple_fault_pending as triple_fault, reserved, exception_has_payload, exception_payload }
        kvm_debugregs { db, dr6, dr7, flags, reserved }
        kvm_xsave { region }
        kvm_xcr { xcr, reserved, value }
        kvm_xcrs { nr_xcrs, flags, xcrs, padding }
        kvm_sync_regs { regs, sregs, events }
        kvm_tpr_access_ctl { enabled, flags, reserved }
        kvm_vapic_addr { vapic_addr }
        kvm_x86_mce { status, addr, misc, mcg_status, bank, pad1, pad2 }
        kvm_pmu_event_filter { action, nevents, fixed_counter_bitmap, flags, pad }
        kvm_nested_state { flags, format, size, hdr }
    }
}

#[cfg(target_arch = "aarch64")]
#[test]
fn arm64_is_what_kvm_bindings_says() {
    mod ours {
        pub use understudy_abi::arm64::*;
        pub use understudy_abi::common::*;
        pub use understudy_abi::run::kvm_run;
    }
    same! {
        kvm_userspace_memory_region { slot, flags, guest_phys_addr, memory_size, userspace_addr }
        kvm_userspace_memory_region2 { slot, flags, guest_phys_addr, memory_size, userspace_addr, guest_memfd_offset, guest_memfd, pad1, pad2 }
        kvm_irq_level { irq as __bindgen_anon_1, level }
        kvm_dirty_log { slot, padding1, dirty_bitmap as __bindgen_anon_1 }
        kvm_clear_dirty_log { slot, num_pages, first_page, dirty_bitmap as __bindgen_anon_1 }
        kvm_dirty_gfn { flags, slot, offset }
        kvm_coalesced_mmio_zone { addr, size, pio as __bindgen_anon_1 }
        kvm_coalesced_mmio { phys_addr, len, pio as __bindgen_anon_1, data }
        kvm_coalesced_mmio_ring { first, last }
        kvm_translation { linear_address, physical_address, valid, writeable, usermode, pad }
        kvm_interrupt { irq }
        kvm_signal_mask { len }
        kvm_mp_state { mp_state }
        kvm_enable_cap { cap, flags, args, pad }
        kvm_ioeventfd { datamatch, addr, len, fd, flags, pad }
        kvm_irqfd { fd, gsi, flags, resamplefd, pad }
        kvm_irq_routing_irqchip { irqchip, pin }
        kvm_irq_routing_msi { address_lo, address_hi, data, devid as __bindgen_anon_1 }
        kvm_irq_routing_entry { gsi, r#type as type_, flags, pad, u }
        kvm_irq_routing { nr, flags }
        kvm_msi { address_lo, address_hi, data, flags, devid, pad }
        kvm_reg_list { n }
        kvm_one_reg { id, addr }
        kvm_create_device { r#type as type_, fd, flags }
        kvm_device_attr { flags, group, attr, addr }
        kvm_memory_attributes { address, size, attributes, flags }
        kvm_create_guest_memfd { size, flags, reserved }
        kvm_pre_fault_memory { gpa, size, flags, padding }
        kvm_stats_header { flags, name_size, num_desc, id_offset, desc_offset, data_offset }
        kvm_stats_desc { flags, exponent, size, offset, bucket_size }
        kvm_run { request_interrupt_window, immediate_exit, padding1, exit_reason, ready_for_interrupt_injection, if_flag, flags, cr8, apic_base, exit as __bindgen_anon_1, kvm_valid_regs, kvm_dirty_regs, s }
        user_pt_regs { regs, sp, pc, pstate }
        user_fpsimd_state { vregs, fpsr, fpcr, reserved as __reserved }
        kvm_regs { regs, sp_el1, elr_el1, spsr, fp_regs }
        kvm_sregs {  }
        kvm_fpu {  }
        kvm_vcpu_init { target, features }
        kvm_guest_debug_arch { dbg_bcr, dbg_bvr, dbg_wcr, dbg_wvr }
        kvm_guest_debug { control, pad, arch }
        kvm_debug_exit_arch { hsr, hsr_high, far }
        kvm_sync_regs { device_irq_level }
        kvm_pmu_event_filter { base_event, nevents, action, pad }
        kvm_vcpu_events { exception, reserved }
        kvm_arm_copy_mte_tags { guest_ipa, length, addr, flags, reserved }
        kvm_arm_counter_offset { counter_offset, reserved }
        kvm_arm_device_addr { id, addr }
        kvm_smccc_filter { base, nr_functions, action, pad }
        reg_mask_range { addr, range, reserved }
    }
}
