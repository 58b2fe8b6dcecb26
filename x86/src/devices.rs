//! Devices of the machine that answer a vCPU's accesses without an exit, in the order in which they are
//! asked: its local APIC, the board's controllers, and what user space has put on the bus.

use crate::Cpu;
use crate::apic::registers;
use crate::machine::Machine;
use understudy_engine::bus::Space;

/// A load of guest-physical memory where there is none; false if no device has this address.
pub(crate) fn load(cpu: &mut Cpu, address: u64, data: &mut [u8]) -> bool {
    if registers::load(cpu, address, data) {
        return true;
    }
    let machine = &cpu.state.machine;
    let board = |data: &mut [u8]| machine.chipset().is_some_and(|c| c.load(address, data));
    board(data)
        || machine.bus.get().is_some_and(|bus| {
            let me = cpu.state.peer.index();
            bus.read(me, Space::Memory, address, data)
        })
}

/// A store there; false if no device takes it.
pub(crate) fn store(cpu: &mut Cpu, address: u64, data: &[u8]) -> bool {
    if registers::store(cpu, address, data) {
        return true;
    }
    let machine = &cpu.state.machine;
    let board = machine.chipset();
    board.is_some_and(|chipset| chipset.store(machine, address, data))
        || machine.bus.get().is_some_and(|bus| {
            let me = cpu.state.peer.index();
            bus.write(me, Space::Memory, address, data)
        })
}

impl Machine {
    /// The vCPU of this index reads a port; false if no device has it.
    pub fn port_read(&self, vcpu: usize, port: u16, data: &mut [u8]) -> bool {
        let board = self.chipset();
        if board.is_some_and(|chipset| chipset.read_port(self, port, data)) {
            return true;
        }
        let bus = self.bus.get();
        bus.is_some_and(|bus| bus.read(vcpu, Space::Port, port.into(), data))
    }

    /// The vCPU of this index writes a port; false if no device takes it.
    pub fn port_write(&self, vcpu: usize, port: u16, data: &[u8]) -> bool {
        let board = self.chipset();
        if board.is_some_and(|chipset| chipset.write_port(self, port, data)) {
            return true;
        }
        let bus = self.bus.get();
        bus.is_some_and(|bus| bus.write(vcpu, Space::Port, port.into(), data))
    }
}
