//! tmp
#![allow(missing_docs, clippy::all)]
#[derive(Debug, Clone, Copy)]
pub struct HostFault;
#[inline(always)]
pub unsafe fn load(p: *const u8, size: u8) -> Result<u64, HostFault> {
    unsafe {
        Ok(match size {
            0 => p.read_volatile() as u64,
            1 => p.cast::<u16>().read_unaligned() as u64,
            2 => p.cast::<u32>().read_unaligned() as u64,
            _ => p.cast::<u64>().read_unaligned(),
        })
    }
}
#[inline(always)]
pub unsafe fn store(p: *mut u8, v: u64, size: u8) -> Result<(), HostFault> {
    unsafe {
        match size {
            0 => p.write_volatile(v as u8),
            1 => p.cast::<u16>().write_unaligned(v as u16),
            2 => p.cast::<u32>().write_unaligned(v as u32),
            _ => p.cast::<u64>().write_unaligned(v),
        }
    }
    Ok(())
}
pub unsafe fn compare_exchange(_p: *mut u8, _e: u64, _n: u64, _size: u8) -> Result<u64, HostFault> {
    todo!()
}
pub unsafe fn compare_exchange_16(_p: *mut u8, _e: u128, _n: u128) -> Result<u128, HostFault> {
    todo!()
}
