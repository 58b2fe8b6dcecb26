//! The image of the local APIC that `KVM_GET_LAPIC` gives and `KVM_SET_LAPIC` takes (KVM API 4.57 and
//! 4.58).

use super::{Apic, registers, registers::reg, timer};
use crate::vcpu::Vcpu;
use crate::{cpuid, interrupts};
use std::sync::atomic::Ordering;
use understudy_abi::x86::{KVM_APIC_REG_SIZE, kvm_lapic_state};

impl Apic {
    fn image(&self, ids_of_32_bits: bool) -> kvm_lapic_state {
        let mut regs = [0; KVM_APIC_REG_SIZE];
        for (i, bytes) in (0u32..).zip(regs.chunks_exact_mut(16)) {
            let offset = i << 4;
            let value = match offset {
                reg::CURRENT_COUNT => self.current_count(),
                reg::ID if self.x2apic() && !ids_of_32_bits => self.id << 24,
                _ => self.get(offset),
            };
            bytes[..4].copy_from_slice(&value.to_le_bytes());
        }
        kvm_lapic_state { regs }
    }

    /// False if the image has another id.
    fn set_image(&self, image: &kvm_lapic_state, ids_of_32_bits: bool) -> bool {
        let value = |offset: u32| {
            let bytes = image.regs[offset as usize..].first_chunk::<4>();
            u32::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        if self.x2apic() && ids_of_32_bits && value(reg::ID) != self.id {
            return false;
        }
        for offset in (0..registers::COUNT as u32).map(|i| i << 4) {
            match offset {
                // It stays, or follows from the rest.
                reg::VERSION | reg::CURRENT_COUNT => {}
                reg::ID if self.x2apic() => self.set(reg::ID, self.id),
                reg::LDR if self.x2apic() => self.set(reg::LDR, self.logical_x2apic_id()),
                _ => self.set(offset, value(offset)),
            }
        }
        self.priority();
        self.restart(value(reg::CURRENT_COUNT));
        true
    }
}

impl Vcpu {
    /// `KVM_GET_LAPIC`; none if the local APIC is user space's (`EINVAL`).
    pub fn lapic(&self) -> Option<kvm_lapic_state> {
        let state = &self.cpu().state;
        let apic = state.peer.apic();
        let long = state.machine.apic.ids_of_32_bits.load(Ordering::Relaxed);
        apic.in_kernel().then(|| apic.image(long))
    }

    /// `KVM_SET_LAPIC`; false for `EINVAL`: the local APIC is user space's, or has another id.
    #[must_use]
    pub fn set_lapic(&mut self, image: &kvm_lapic_state) -> bool {
        let cpu = self.cpu_mut();
        let apic = cpu.state.peer.apic();
        let long = cpu
            .state
            .machine
            .apic
            .ids_of_32_bits
            .load(Ordering::Relaxed);
        if !apic.in_kernel() || !apic.set_image(image, long) {
            return false;
        }
        timer::arm(cpu);
        interrupts::look(cpu);
        true
    }

    /// Sets what CPUID gives (`KVM_SET_CPUID2`).
    pub fn set_cpuid(&mut self, entries: Vec<cpuid::Entry>) {
        let cpu = self.cpu_mut();
        cpu.state.cpuid = entries;
        super::cpuid_changed(cpu);
    }
}
