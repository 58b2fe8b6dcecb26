//! Accesses to guest memory: the inline look into the TLB, and the calls where it misses.

use super::runtime::*;
use super::*;

/// What an access needs of the TLB: so many bytes, as `mem` says, where loads or stores are allowed.
#[derive(Clone, Copy)]
pub(super) struct Reach {
    bytes: u64,
    mem: Mem,
    /// Offset of the tag in an [`Entry`].
    tag: usize,
}

impl Reach {
    pub(super) fn load(bytes: u64, mem: Mem) -> Reach {
        Reach {
            bytes,
            mem,
            tag: offset_of!(Entry, load),
        }
    }

    pub(super) fn store(bytes: u64, mem: Mem) -> Reach {
        Reach {
            bytes,
            mem,
            tag: offset_of!(Entry, store),
        }
    }
}

impl<A: Arch> Lower<'_, '_, A> {
    /// The inline look into the TLB: whether an access of `bytes` may go ahead, and the entry.
    pub(super) fn look_up(
        &mut self,
        address: clif::Value,
        Reach { bytes, mem, tag }: Reach,
    ) -> (clif::Value, clif::Value) {
        let shift = Entry::PAGE_SHIFT - Entry::SIZE_LOG2;
        let index = self.b.ins().ushr_imm_u(address, shift as i64);
        let mask = ((ENTRIES - 1) << Entry::SIZE_LOG2) as i64;
        let index = self.b.ins().band_imm_s(index, mask);
        let entry = self.b.ins().iadd(self.tlb, index);
        let last = match bytes {
            1 => address,
            _ => self.b.ins().iadd_imm_s(address, bytes as i64 - 1),
        };
        let page = self.b.ins().band_imm_s(last, !PAGE_MASK as i64);
        let context = if mem.unprivileged {
            self.context_unprivileged
        } else {
            self.context
        };
        let wanted = self.b.ins().bor(page, context);
        let tag = self.b.ins().load(I64, plain(), entry, tag as i32);
        let hit = if mem.align == Align::Natural && bytes > 1 {
            let differs = self.b.ins().bxor(wanted, tag);
            let unaligned = self.b.ins().band_imm_s(address, bytes as i64 - 1);
            let either = self.b.ins().bor(differs, unaligned);
            self.b.ins().icmp_imm_s(IntCC::Equal, either, 0)
        } else {
            self.b.ins().icmp(IntCC::Equal, wanted, tag)
        };
        (hit, entry)
    }

    pub(super) fn host(&mut self, address: clif::Value, entry: clif::Value) -> clif::Value {
        let addend = self
            .b
            .ins()
            .load(I64, plain(), entry, offset_of!(Entry, addend) as i32);
        self.b.ins().iadd(address, addend)
    }

    /// Emits `fast` where the TLB has the page, and the call of `slow` where it has not; both give
    /// `results` values.
    pub(super) fn access(
        &mut self,
        address: clif::Value,
        reach: Reach,
        results: &[Type],
        // The operation, if it stores.
        stores: Option<usize>,
        fast: impl FnOnce(&mut Self, clif::Value) -> Vec<clif::Value>,
        slow: impl FnOnce(&mut Self),
    ) -> Vec<clif::Value> {
        let (hit, entry) = self.look_up(address, reach);
        let found = self.b.create_block();
        let missing = self.b.create_block();
        let done = self.b.create_block();
        self.b.set_cold_block(missing);
        for ty in results {
            self.b.append_block_param(done, *ty);
        }
        self.b.ins().brif(hit, found, &[], missing, &[]);

        self.b.switch_to_block(missing);
        self.set_pc();
        self.write_back(SlotSet::ALL);
        slow(self);
        let values: Vec<_> = (0..)
            .zip(results)
            .map(|(i, ty)| {
                let offset = (offset_of!(Cpu<A>, results) + 8 * i) as i32;
                self.b.ins().load(*ty, guest(), self.cpu, offset)
            })
            .collect();
        self.check_status(stores.map(|at| (at, values.first().copied())));
        let values: Vec<_> = values.into_iter().map(clif::BlockArg::from).collect();
        self.b.ins().jump(done, &values);

        self.b.switch_to_block(found);
        let host = self.host(address, entry);
        let values: Vec<_> = fast(self, host)
            .into_iter()
            .map(clif::BlockArg::from)
            .collect();
        self.b.ins().jump(done, &values);

        self.b.switch_to_block(done);
        self.b.block_params(done).to_vec()
    }

    pub(super) fn host_load(&mut self, size: Size, host: clif::Value, offset: i32) -> clif::Value {
        match size {
            Size::B1 => self.b.ins().uload8(I64, guest(), host, offset),
            Size::B2 => self.b.ins().uload16(I64, guest(), host, offset),
            Size::B4 => self.b.ins().uload32(guest(), host, offset),
            Size::B8 => self.b.ins().load(I64, guest(), host, offset),
        }
    }

    pub(super) fn host_store(
        &mut self,
        size: Size,
        value: clif::Value,
        host: clif::Value,
        offset: i32,
    ) {
        match size {
            Size::B1 => self.b.ins().istore8(guest(), value, host, offset),
            Size::B2 => self.b.ins().istore16(guest(), value, host, offset),
            Size::B4 => self.b.ins().istore32(guest(), value, host, offset),
            Size::B8 => self.b.ins().store(guest(), value, host, offset),
        };
    }

    /// Hosts order loads among themselves, and stores, only if they are x86.
    pub(super) fn weak_fence(&mut self, order: Order) {
        if order != Order::Relaxed && !cfg!(target_arch = "x86_64") {
            self.b.ins().fence();
        }
    }

    pub(super) fn load(&mut self, address: ir::Value, mem: Mem) -> clif::Value {
        let address = self.value(address);
        let values = self.access(
            address,
            Reach::load(mem.size.bytes(), mem),
            &[I64],
            None,
            |l, host| vec![l.host_load(mem.size, host, 0)],
            |l| {
                let (cpu, target) = (l.cpu, l.slow.load);
                let mem = l.imm(pack(mem));
                l.call(true, target, &[cpu, address, mem], false);
            },
        );
        self.weak_fence(mem.order);
        values[0]
    }

    pub(super) fn load_pair(&mut self, address: ir::Value, mem: Mem) -> (clif::Value, clif::Value) {
        let address = self.value(address);
        let bytes = mem.size.bytes();
        let values = self.access(
            address,
            Reach::load(2 * bytes, mem),
            &[I64; 2],
            None,
            |l, host| {
                vec![
                    l.host_load(mem.size, host, 0),
                    l.host_load(mem.size, host, bytes as i32),
                ]
            },
            |l| {
                let (cpu, target) = (l.cpu, l.slow.load_pair);
                let mem = l.imm(pack(mem));
                l.call(true, target, &[cpu, address, mem], false);
            },
        );
        (values[0], values[1])
    }

    pub(super) fn store(&mut self, at: usize, address: ir::Value, value: ir::Value, mem: Mem) {
        let (address, value) = (self.value(address), self.value(value));
        self.weak_fence(mem.order);
        self.access(
            address,
            Reach::store(mem.size.bytes(), mem),
            &[],
            Some(at),
            |l, host| {
                l.host_store(mem.size, value, host, 0);
                if mem.order != Order::Relaxed {
                    // A later load-acquire must not be satisfied before this store is seen.
                    l.b.ins().fence();
                }
                Vec::new()
            },
            |l| {
                let (cpu, target) = (l.cpu, l.slow.store);
                let mem = l.imm(pack(mem));
                l.call(true, target, &[cpu, address, value, mem], false);
            },
        );
    }

    pub(super) fn store_pair(
        &mut self,
        at: usize,
        address: ir::Value,
        values: (ir::Value, ir::Value),
        mem: Mem,
    ) {
        let address = self.value(address);
        let (first, second) = (self.value(values.0), self.value(values.1));
        let whole = (mem.size == Size::B8)
            .then(|| self.whole(first, second))
            .flatten();
        let bytes = mem.size.bytes();
        self.access(
            address,
            Reach::store(2 * bytes, mem),
            &[],
            Some(at),
            |l, host| {
                if let Some(whole) = whole {
                    l.b.ins().store(guest(), whole, host, 0);
                    return Vec::new();
                }
                l.host_store(mem.size, first, host, 0);
                l.host_store(mem.size, second, host, bytes as i32);
                Vec::new()
            },
            |l| {
                let (cpu, target) = (l.cpu, l.slow.store_pair);
                let mem = l.imm(pack(mem));
                l.call(true, target, &[cpu, address, first, second, mem], false);
            },
        );
    }

    pub(super) fn narrow(&mut self, size: Size, value: clif::Value) -> (Type, clif::Value) {
        let ty = match size {
            Size::B1 => I8,
            Size::B2 => I16,
            Size::B4 => I32,
            Size::B8 => return (I64, value),
        };
        (ty, self.b.ins().ireduce(ty, value))
    }

    pub(super) fn widen(&mut self, size: Size, value: clif::Value) -> clif::Value {
        if size == Size::B8 {
            value
        } else {
            self.b.ins().uextend(I64, value)
        }
    }

    pub(super) fn rmw(
        &mut self,
        at: usize,
        op: Rmw,
        address: ir::Value,
        operand: ir::Value,
        mem: Mem,
    ) -> clif::Value {
        let (address, operand) = (self.value(address), self.value(operand));
        let aligned = mem.aligned();
        let values = self.access(
            address,
            Reach::store(mem.size.bytes(), aligned),
            &[I64],
            Some(at),
            |l, host| {
                let (ty, narrow) = l.narrow(mem.size, operand);
                let (op, narrow) = match op {
                    Rmw::Add => (AtomicRmwOp::Add, narrow),
                    Rmw::Clr => (AtomicRmwOp::And, l.b.ins().bnot(narrow)),
                    Rmw::Eor => (AtomicRmwOp::Xor, narrow),
                    Rmw::Set => (AtomicRmwOp::Or, narrow),
                    Rmw::SMax => (AtomicRmwOp::Smax, narrow),
                    Rmw::SMin => (AtomicRmwOp::Smin, narrow),
                    Rmw::UMax => (AtomicRmwOp::Umax, narrow),
                    Rmw::UMin => (AtomicRmwOp::Umin, narrow),
                    Rmw::Swap => (AtomicRmwOp::Xchg, narrow),
                };
                let old = l.b.ins().atomic_rmw(ty, plain(), op, host, narrow);
                vec![l.widen(mem.size, old)]
            },
            |l| {
                let cpu = l.cpu;
                let (number, mem) = (l.imm(rmw_number(op)), l.imm(pack(mem)));
                let target = slow_rmw::<A> as *const () as u64;
                let old = l.call(false, target, &[cpu, number, address, operand, mem], true);
                if let Some(old) = old {
                    l.set_field(offset_of!(Cpu<A>, results), old);
                }
            },
        );
        values[0]
    }

    pub(super) fn compare_exchange(
        &mut self,
        at: usize,
        address: ir::Value,
        expected: ir::Value,
        new: ir::Value,
        mem: Mem,
    ) -> clif::Value {
        let address = self.value(address);
        let (expected, new) = (self.value(expected), self.value(new));
        let aligned = mem.aligned();
        let values = self.access(
            address,
            Reach::store(mem.size.bytes(), aligned),
            &[I64],
            Some(at),
            |l, host| {
                let (_, expected) = l.narrow(mem.size, expected);
                let (_, new) = l.narrow(mem.size, new);
                let found = l.b.ins().atomic_cas(plain(), host, expected, new);
                vec![l.widen(mem.size, found)]
            },
            |l| {
                let cpu = l.cpu;
                let mem = l.imm(pack(mem));
                let target = slow_compare_exchange::<A> as *const () as u64;
                let found = l.call(false, target, &[cpu, address, expected, new, mem], true);
                if let Some(found) = found {
                    l.set_field(offset_of!(Cpu<A>, results), found);
                }
            },
        );
        values[0]
    }
}
