//! Calls of Rust: helpers, and what they may see and change of the slots.

use super::runtime::*;
use super::*;

impl<A: Arch> Lower<'_, '_, A> {
    /// Calls Rust at `target`.
    pub(super) fn call(
        &mut self,
        preserve_all: bool,
        target: u64,
        arguments: &[clif::Value],
        returns: bool,
    ) -> Option<clif::Value> {
        let convention = if preserve_all {
            CallConv::PreserveAll
        } else {
            CallConv::SystemV
        };
        let b = &mut self.b;
        let sig = *self
            .signatures
            .entry((preserve_all, arguments.len(), returns))
            .or_insert_with(|| b.import_signature(signature(convention, arguments.len(), returns)));
        let callee = self.b.ins().iconst(I64, target as i64);
        let call = self.b.ins().call_indirect(sig, callee, arguments);
        self.b.inst_results(call).first().copied()
    }

    pub(super) fn helper(
        &mut self,
        at: usize,
        helper: &'static Helper<A>,
        arguments: [ir::Value; 4],
    ) -> clif::Value {
        let target = call_helper::<A> as *const () as u64;
        let result = self.helper_call(Some(at), helper, arguments, false, target);
        result.expect("the helper's call has a result")
    }

    /// Calls `target`, which calls the helper. `at` is the operation, if it is reached always.
    pub(super) fn helper_call(
        &mut self,
        at: Option<usize>,
        helper: &'static Helper<A>,
        arguments: [ir::Value; 4],
        preserve_all: bool,
        target: u64,
    ) -> Option<clif::Value> {
        let effects = helper.effects;
        let before = after_helper(effects, self.dirty);
        // A pair that is one variable is loaded whole afterwards, so it must be stored whole.
        self.write_back(whole_pairs(SlotSet(!before.0)));
        self.dirty = before;
        self.set_pc();
        let [a, b, c, d] = arguments.map(|v| self.value(v));
        let address = self.imm(helper as *const Helper<A> as i64);
        let all = [self.cpu, address, a, b, c, d];
        let result = self.call(preserve_all, target, &all, !preserve_all);
        for index in 0..Slot::COUNT as u8 {
            let slot = Slot::new(index);
            if let Some(variable) = self.vectors.get(&slot).copied() {
                if effects.writes.contains(slot) || effects.writes.contains(slot.next()) {
                    let value = self.load_vector(slot);
                    self.b.def_var(variable, value);
                }
            } else if effects.writes.contains(slot)
                && let Some(variable) = self.slots.get(&slot).copied()
            {
                let value = self.field(I64, 8 * slot.index());
                self.b.def_var(variable, value);
            }
        }
        if effects.stops {
            self.check_status(at.map(|at| (at, result)));
        }
        result
    }

    /// As [`Self::helper`], in cold code that is only reached where the condition is 0.
    pub(super) fn helper_unless(
        &mut self,
        condition: ir::Value,
        value: ir::Value,
        helper: &'static Helper<A>,
        arguments: [ir::Value; 4],
    ) -> clif::Value {
        let (condition, value) = (self.condition(condition), self.value(value));
        // What is in a floating-point register stays there, unless a helper's result may have more
        // bits than the register.
        let float = self.floats.get(&value).copied();
        let float = float.filter(|float| self.b.func.dfg.value_type(*float) == F64);
        let value = float.unwrap_or(value);
        let ty = self.b.func.dfg.value_type(value);
        let unless = self.b.create_block();
        let done = self.b.create_block();
        self.b.set_cold_block(unless);
        self.b.append_block_param(done, ty);
        self.b
            .ins()
            .brif(condition, done, &[value.into()], unless, &[]);

        self.b.switch_to_block(unless);
        let dirty = self.dirty;
        self.helper_call(None, helper, arguments, true, self.slow.helper);
        // On the other way nothing has been written back.
        self.dirty = dirty;
        let result = self.field(ty, offset_of!(Cpu<A>, results));
        self.b.ins().jump(done, &[result.into()]);

        self.b.switch_to_block(done);
        let result = self.b.block_params(done)[0];
        if float.is_some() {
            self.float_bits(result)
        } else {
            result
        }
    }
}
