//! Which inputs of interrupt controllers, or which message, an interrupt's number stands for (KVM API
//! 4.52, "KVM_SET_GSI_ROUTING").

use super::ioapic;
use crate::machine::Machine;
use std::collections::HashMap;

/// Interrupts' numbers that may have a route.
pub const GSIS: u32 = 4096;

/// Where an interrupt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// An input of a PIC, 0 to 15 (`KVM_IRQCHIP_PIC_MASTER`, `KVM_IRQCHIP_PIC_SLAVE`).
    Pic(u8),
    /// An input of the IOAPIC (`KVM_IRQCHIP_IOAPIC`).
    Ioapic(u8),
    /// A message (`KVM_IRQ_ROUTING_MSI`).
    Msi {
        /// Its address.
        address: u64,
        /// Its data.
        data: u32,
    },
}

/// All routes.
#[derive(Clone, Debug, Default)]
pub struct Routing(HashMap<u32, Vec<Route>>);

impl Routing {
    /// What there is before user space has said anything else: the first 16 interrupts go to both
    /// PICs and IOAPIC, 8 more to the IOAPIC.
    pub fn initial() -> Routing {
        let mut all = HashMap::new();
        for gsi in 0..ioapic::PINS as u8 {
            let mut routes = vec![Route::Ioapic(gsi)];
            if gsi < 16 {
                routes.push(Route::Pic(gsi));
            }
            all.insert(u32::from(gsi), routes);
        }
        Routing(all)
    }

    /// The routes of a list; none if it is not a valid one (`EINVAL`).
    pub fn new(machine: &Machine, list: &[(u32, Route)]) -> Option<Routing> {
        let split = machine.chipset().is_none_or(|chipset| chipset.is_split());
        let mut all: HashMap<u32, Vec<Route>> = HashMap::new();
        for (gsi, route) in list {
            let routes = all.entry(*gsi).or_default();
            let good = match route {
                Route::Pic(input) => !split && *input < 16,
                Route::Ioapic(input) => !split && usize::from(*input) < ioapic::PINS,
                Route::Msi { address, .. } => machine.is_msi_valid(*address),
            };
            // A message is alone, and each controller has one input at most.
            let apart = routes.iter().all(|other| match (other, route) {
                (Route::Pic(a), Route::Pic(b)) => a / 8 != b / 8,
                (Route::Pic(_), Route::Ioapic(_)) | (Route::Ioapic(_), Route::Pic(_)) => true,
                _ => false,
            });
            if *gsi >= GSIS || !good || !apart {
                return None;
            }
            routes.push(*route);
        }
        Some(Routing(all))
    }

    /// Where an interrupt goes.
    pub fn get(&self, gsi: u32) -> &[Route] {
        self.0.get(&gsi).map_or(&[], Vec::as_slice)
    }

    /// The interrupts that go to an input.
    pub fn of(&self, route: Route) -> impl Iterator<Item = u32> {
        self.0
            .iter()
            .filter(move |(_, routes)| routes.contains(&route))
            .map(|(gsi, _)| *gsi)
    }
}
