//! What the vCPUs of a VM have in common.

use crate::insn::features::{Fidelity, Uses};
use crate::smccc::Services;
use crate::sysregs::id::fields::OptIns;
use crate::sysregs::{IdRegisters, models};
use crate::timers::Counters;
use crate::vcpu::peer::Peer;
use bitflags::bitflags;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use understudy_abi::arm64::VcpuFeatures;
use understudy_abi::proposals::name;
use understudy_engine::bus::Bus;
use understudy_engine::peers::Peers;
use understudy_engine::request::ARCH_SHIFT;
use understudy_engine::timekeeper::Timekeeper;
use understudy_memory::GuestMemory;

/// Request to a vCPU ([`understudy_engine::request`]): its power state has changed, or it is to be
/// reset.
pub const POWER: u32 = 1 << ARCH_SHIFT;
/// Request to a vCPU: code may have changed, begin a new epoch.
pub const NEW_EPOCH: u32 = 1 << (ARCH_SHIFT + 1);
/// Request to a vCPU: look whether a timer fires.
pub const TIMER: u32 = 1 << (ARCH_SHIFT + 2);

bitflags! {
    /// Proposals that are switched on for a machine (requirements 0.2).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct Proposals: u32 {
        /// `arm64-exposed-debug`.
        const EXPOSED_DEBUG = 1 << 0;
        /// `arm64-id-reg-configurable`.
        const ID_REG_CONFIGURABLE = 1 << 1;
    }
}

/// This architecture's proposals, by name.
const PROPOSALS: [(&str, Proposals); 2] = [
    (name::ARM64_EXPOSED_DEBUG, Proposals::EXPOSED_DEBUG),
    (
        name::ARM64_ID_REG_CONFIGURABLE,
        Proposals::ID_REG_CONFIGURABLE,
    ),
];

impl Proposals {
    /// The proposal of this name, if it is one of this architecture.
    pub fn by_name(proposal: &str) -> Option<Proposals> {
        let found = PROPOSALS.iter().find(|(name, _)| *name == proposal);
        found.map(|(_, proposal)| *proposal)
    }

    /// The names of this architecture's proposals.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROPOSALS.iter().map(|(name, _)| *name)
    }
}

/// A host CPU model: the machine that KVM would run on. It is one of those that come with
/// Understudy, or a user's, which stays for as long as the process does.
#[derive(Clone, Copy)]
pub struct Model(&'static models::Model);

impl Model {
    /// The models that come with Understudy.
    pub fn all() -> impl Iterator<Item = Model> {
        models::ALL.iter().map(|model| Model(model))
    }

    /// The one of these that has this name.
    pub fn by_name(name: &str) -> Option<Model> {
        Model::all().find(|model| model.name() == name)
    }

    /// A user's model. Its memory is never given back, as all VMs made of it have it in common.
    pub fn of(model: models::Model) -> Model {
        Model(Box::leak(Box::new(model)))
    }

    /// The model that an option names: one that comes with Understudy, or a file, whose name has a
    /// slash or ends in `.toml`.
    ///
    /// # Errors
    /// One line: which models there are, or what is wrong with the file.
    pub fn find(option: &str) -> Result<Model, String> {
        if let Some(model) = Model::by_name(option) {
            return Ok(model);
        }
        if option.contains('/') || option.ends_with(".toml") {
            let model = models::Model::load(Path::new(option));
            return model.map(Model::of).map_err(|error| error.to_string());
        }
        let names: Vec<&str> = Model::all().map(Model::name).collect();
        Err(format!(
            "no host CPU model {option}: there are {}, or a file, like ./model.toml",
            names.join(", ")
        ))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        &self.0.name
    }

    /// Its registers.
    pub fn registers(self) -> &'static models::Model {
        self.0
    }
}

/// `neoverse-n1`.
impl Default for Model {
    fn default() -> Self {
        Model(&models::NEOVERSE_N1)
    }
}

impl PartialEq for Model {
    fn eq(&self, other: &Model) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Model {}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.name()).finish()
    }
}

/// What a machine is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bits of a guest-physical address (`KVM_CREATE_VM`'s type; 40 where that is 0).
    pub ipa_bits: u32,
    /// The host's CPU.
    pub model: Model,
    /// Proposals that are on.
    pub proposals: Proposals,
    /// What is done about instructions of features that are hidden.
    pub fidelity: Fidelity,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            ipa_bits: 40,
            model: Model::default(),
            proposals: Proposals::empty(),
            fidelity: Fidelity::default(),
        }
    }
}

/// The machine's configuration and whoever reads or changes it hold this lock, so that no change
/// is made under a guest that has begun to run (IDR-10; KVM's `config_lock`).
#[derive(Debug, Default)]
pub struct Config {
    features: Option<VcpuFeatures>,
}

/// A VM as its processors see it.
pub struct Machine {
    /// Guest-physical memory.
    pub memory: Arc<GuestMemory>,
    /// What it was made with.
    pub settings: Settings,
    /// The ID registers of the VM.
    pub id: Arc<IdRegisters>,
    /// What the guest can call (SMCCC): firmware registers and filter.
    pub services: Services,
    /// Offsets of the guest's counters.
    pub counters: Counters,
    /// Where uses of hidden features are counted, with [`Fidelity::Report`].
    pub uses: OnceLock<Arc<Uses>>,
    /// Devices without exits.
    pub bus: OnceLock<Arc<dyn Bus>>,
    /// The vCPUs.
    pub vcpus: Peers<Peer>,
    pub(crate) timekeeper: Timekeeper,
    config: Mutex<Config>,
    has_run: AtomicBool,
    nisv_to_user: AtomicBool,
    system_suspend: AtomicBool,
}

fn new_id_registers(settings: &Settings) -> IdRegisters {
    IdRegisters::new(settings.model.registers(), settings.proposals)
}

/// What a vCPU with these features has asked for.
pub(crate) fn opt_ins(features: VcpuFeatures) -> OptIns {
    let mut opt_ins = OptIns::empty();
    opt_ins.set(OptIns::PMU, features.contains(VcpuFeatures::PMU_V3));
    opt_ins.set(OptIns::SVE, features.contains(VcpuFeatures::SVE));
    let ptrauth = VcpuFeatures::PTRAUTH_ADDRESS | VcpuFeatures::PTRAUTH_GENERIC;
    opt_ins.set(OptIns::PTRAUTH, features.contains(ptrauth));
    opt_ins
}

impl Machine {
    /// A machine without vCPUs.
    pub fn new(memory: Arc<GuestMemory>, settings: Settings) -> Arc<Machine> {
        Arc::new(Machine {
            memory,
            id: Arc::new(new_id_registers(&settings)),
            settings,
            services: Services::new(),
            counters: Counters::new(),
            uses: OnceLock::new(),
            bus: OnceLock::new(),
            vcpus: Peers::default(),
            timekeeper: Timekeeper::new(),
            config: Mutex::new(Config::default()),
            has_run: AtomicBool::new(false),
            nisv_to_user: AtomicBool::new(false),
            system_suspend: AtomicBool::new(false),
        })
    }

    /// The ID registers of a new vCPU: the VM's, or its own under `arm64-id-reg-configurable`
    /// (IDR-2).
    pub(crate) fn id_registers(&self) -> Arc<IdRegisters> {
        if self.id.configurable() {
            Arc::new(new_id_registers(&self.settings))
        } else {
            self.id.clone()
        }
    }

    /// Takes the configuration's lock.
    pub fn config(&self) -> MutexGuard<'_, Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a vCPU of the machine has been run; from then on what the guest may have seen can
    /// not be changed. Stable while [`Machine::config`] is held.
    pub fn has_run(&self) -> bool {
        self.has_run.load(Ordering::Acquire)
    }

    /// Notes that a vCPU is about to run for the first time (IDR-8).
    pub fn set_has_run(&self) {
        let _config = self.config();
        self.has_run.store(true, Ordering::Release);
        self.id.freeze();
    }

    /// The features that the first `KVM_ARM_VCPU_INIT` has fixed for all vCPUs, without POWER_OFF
    /// (IDR-21); none before it.
    pub fn features(&self) -> Option<VcpuFeatures> {
        self.config().features
    }

    /// Fixes the features, and the initial values of the ID registers with them, or compares them
    /// with those that are fixed; false if they differ.
    pub fn fix_features(&self, features: VcpuFeatures) -> bool {
        let features = features - VcpuFeatures::POWER_OFF;
        let mut config = self.config();
        self.id.initialise(opt_ins(features));
        *config.features.get_or_insert(features) == features
    }

    /// Enables `KVM_CAP_ARM_NISV_TO_USER`.
    pub fn set_nisv_to_user(&self) {
        self.nisv_to_user.store(true, Ordering::Relaxed);
    }

    /// Whether accesses without syndrome exit with [`crate::exit::Exit::NisV`].
    pub fn nisv_to_user(&self) -> bool {
        self.nisv_to_user.load(Ordering::Relaxed)
    }

    /// Enables `KVM_CAP_ARM_SYSTEM_SUSPEND`: PSCI SYSTEM_SUSPEND exits.
    pub fn set_system_suspend(&self) {
        self.system_suspend.store(true, Ordering::Relaxed);
    }

    /// Whether the guest has PSCI SYSTEM_SUSPEND.
    pub fn system_suspend(&self) -> bool {
        self.system_suspend.load(Ordering::Relaxed)
    }

    /// Begins a new epoch on every other vCPU: code may have changed (IC IALLUIS, IC IVAU). The
    /// caller begins its own.
    pub fn new_code_epoch(&self, me: Option<usize>) {
        self.vcpus.broadcast(me, NEW_EPOCH);
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
