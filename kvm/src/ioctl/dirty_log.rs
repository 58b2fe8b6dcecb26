//! `KVM_GET_DIRTY_LOG` (api.rst 4.8), `KVM_CLEAR_DIRTY_LOG` (4.117) and `KVM_RESET_DIRTY_RINGS` (8.29).
//!
//! A vCPU that has stored to a page may store to it again without a mark, until it is told to ask
//! anew. So the bits are taken first and the vCPUs told after: a store in between is to a page
//! whose bit was taken, and is there when the ioctl returns. So it is with the entries of dirty rings
//! when they are reset.

use std::sync::Arc;

use understudy_abi::common::{kvm_clear_dirty_log, kvm_dirty_log};
use understudy_abi::ioctl::{KVM_CLEAR_DIRTY_LOG, KVM_GET_DIRTY_LOG, KVM_RESET_DIRTY_RINGS};
use understudy_engine::request::FLUSH_STORES;
use zerocopy::IntoBytes;

use crate::errno::Errno;
use crate::table::{Call, Row, row};
use crate::user::User;
use crate::vm::Vm;

pub(crate) const ROWS: &[Row] = &[
    row!(KVM_GET_DIRTY_LOG: Vm get, "the pages of a slot that were written, which it forgets",
        EFAULT "the argument cannot be read or the bitmap not written",
        ENXIO "there are dirty rings instead",
        EINVAL "the slot or address space cannot be",
        ENOENT "the slot does not exist, or keeps no log"),
    row!(KVM_CLEAR_DIRTY_LOG: Vm clear, "forgets pages of a slot that were written",
        EFAULT "the argument or the bitmap cannot be read",
        ENXIO "there are dirty rings instead",
        EINVAL "the slot, address space or range of pages cannot be",
        ENOENT "the slot does not exist, or keeps no log"),
    row!(KVM_RESET_DIRTY_RINGS: Vm reset, "takes back the entries of dirty rings that were harvested",
        EINVAL "there are no dirty rings"),
];

impl Vm {
    pub(crate) fn get_dirty_log(&self, slot: u32) -> Result<Vec<u64>, Errno> {
        let words = self.memory.get_dirty_log(slot)?;
        if !self.memory.manual_protect().enable && words.iter().any(|word| *word != 0) {
            self.flush(FLUSH_STORES);
        }
        Ok(words)
    }

    pub(crate) fn reset_dirty_rings(&self) -> Result<i32, Errno> {
        let pages = self.take_harvested()?;
        if !pages.is_empty() {
            self.memory.left_rings(&pages);
            self.flush(FLUSH_STORES);
        }
        Ok(pages.len() as i32)
    }

    pub(crate) fn clear_dirty_log(
        &self,
        slot: u32,
        first_page: u64,
        num_pages: u32,
        bits: &[u64],
    ) -> Result<(), Errno> {
        let memory = &self.memory;
        memory.clear_dirty_log(slot, first_page, num_pages, bits)?;
        if bits.iter().any(|word| *word != 0) {
            self.flush(FLUSH_STORES);
        }
        Ok(())
    }
}

fn get(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let log: kvm_dirty_log = call.read()?;
    let words = vm.get_dirty_log(log.slot)?;
    User::at(log.dirty_bitmap).copy_to(words.as_bytes())?;
    Ok(0)
}

fn reset(vm: &Arc<Vm>, _: &Call<'_>) -> Result<i64, Errno> {
    Ok(vm.reset_dirty_rings()?.into())
}

fn clear(vm: &Arc<Vm>, call: &Call<'_>) -> Result<i64, Errno> {
    let log: kvm_clear_dirty_log = call.read()?;
    let memory = &vm.memory;
    let count = memory.clear_dirty_log_words(log.slot, log.first_page, log.num_pages)?;
    let mut bits = vec![0u64; count];
    User::at(log.dirty_bitmap).copy_from(bits.as_mut_bytes())?;
    vm.clear_dirty_log(log.slot, log.first_page, log.num_pages, &bits)?;
    Ok(0)
}
