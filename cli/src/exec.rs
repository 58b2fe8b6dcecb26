//! `understudy exec PROGRAM`: runs an unmodified program with Understudy behind `/dev/kvm`.
//!
//! The way depends on the program's ELF file:
//!
//! | program | way |
//! | --- | --- |
//! | dynamic, of this host's architecture | the library is preloaded (`LD_PRELOAD`) |
//! | dynamic, arm64, on another host | under `qemu-aarch64`: the library preloaded into qemu, the stub into the program |
//! | static | not yet |

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{self, Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use object::elf::{EM_AARCH64, EM_X86_64, FileHeader64, PT_INTERP};
use object::endian::LittleEndian;
use object::read::elf::{FileHeader, ProgramHeader};
use understudy_kvm::{Guest, Model, host};

/// The library, as Cargo names it.
const LIBRARY: &str = "libunderstudy_preload.so";
/// The arm64 side of the tunnel, as `conformance/build-stub` names it.
const STUB: &str = "understudy-stub-arm64.so";
/// What interprets arm64 programs. It must be a dynamic program itself.
const QEMU: &str = "qemu-aarch64";
/// Where Debian's packages for cross-compiling keep arm64 libraries.
const ARM64_ROOT: &str = "/usr/aarch64-linux-gnu";

/// An architecture, of programs and of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Architecture {
    /// AArch64.
    Arm64,
    /// x86-64.
    #[value(name = "x86-64")]
    X86,
}

impl Architecture {
    const HOST: Option<Architecture> = if cfg!(target_arch = "x86_64") {
        Some(Architecture::X86)
    } else if cfg!(target_arch = "aarch64") {
        Some(Architecture::Arm64)
    } else {
        None
    };

    /// The same, of guests.
    fn of_guests(self) -> Guest {
        match self {
            Architecture::Arm64 => Guest::Arm64,
            Architecture::X86 => Guest::X86_64,
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Arm64 => "arm64",
            Architecture::X86 => "x86-64",
        })
    }
}

/// Whose KVM a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Engine {
    /// Understudy's
    Understudy,
    /// The kernel's
    Kvm,
}

/// `understudy exec`'s arguments.
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// Whose KVM the program gets: ours, or the machine's own /dev/kvm with the x86 proposals added
    #[arg(long, value_enum, default_value_t = Engine::Understudy)]
    engine: Engine,
    /// Architecture of the virtual machines that the program makes [default: the program's own]
    #[arg(long, value_name = "ARCHITECTURE")]
    guest: Option<Architecture>,
    /// Host CPU model, or the file of one [default: neoverse-n1]
    #[arg(long, value_name = "MODEL")]
    cpu: Option<String>,
    /// Proposals to the KVM API to switch on, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    proposals: Vec<String>,
    /// What is done about instructions of features that a VM hides: kvm (they run where hardware
    /// cannot trap them), strict (they are undefined), report (they run, and are told of at the end)
    /// [default: kvm]
    #[arg(long, value_name = "FIDELITY")]
    fidelity: Option<String>,
    /// The program, looked up in PATH if its name has no slash
    program: OsString,
    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// What an ELF file tells of how its program is started.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    architecture: Architecture,
    /// The dynamic linker; none for a static program.
    interpreter: Option<PathBuf>,
}

fn inspect(path: &Path) -> Result<Program, String> {
    let shown = path.display();
    let data = fs::read(path).map_err(|error| format!("{shown}: {error}"))?;
    let not_elf = |_| format!("{shown} is not a 64-bit little-endian ELF program");
    let header = FileHeader64::<LittleEndian>::parse(&*data).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    let architecture = match header.e_machine(endian) {
        EM_AARCH64 => Architecture::Arm64,
        EM_X86_64 => Architecture::X86,
        machine => {
            return Err(format!(
                "{shown} is for an architecture (ELF machine {machine}) that Understudy does not have"
            ));
        }
    };
    let segments = header.program_headers(endian, &*data).map_err(not_elf)?;
    let interpreter = segments
        .iter()
        .filter(|segment| segment.p_type(endian) == PT_INTERP)
        .find_map(|segment| segment.data(endian, &*data).ok())
        .map(|name| {
            use std::os::unix::ffi::OsStrExt;
            let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
            PathBuf::from(OsStr::from_bytes(name))
        });
    Ok(Program {
        architecture,
        interpreter,
    })
}

/// A program by its name, as `execvp` finds it.
fn find_program(name: &OsStr) -> Option<PathBuf> {
    let runs = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    if name.to_string_lossy().contains('/') {
        return Some(PathBuf::from(name));
    }
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(name))
        .find(|path| runs(path))
}

/// A file of ours: beside this program, in `../lib/understudy`, or where a build leaves it.
fn find_part(name: &str) -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let dir = program.parent()?;
    ["", "../lib/understudy", "../../conformance-build"]
        .iter()
        .map(|place| dir.join(place).join(name))
        .find(|path| path.is_file())
        .map(|path| path.canonicalize().unwrap_or(path))
}

/// The command that runs the program, or one line that says what is missing.
fn command(exec: &Exec) -> Result<Command, String> {
    let name = exec.program.to_string_lossy();
    let path = find_program(&exec.program).ok_or_else(|| format!("{name}: not found in PATH"))?;
    let program = inspect(&path)?;
    let Some(interpreter) = &program.interpreter else {
        return Err(format!(
            "{name} is linked statically, which `understudy exec` cannot run yet"
        ));
    };
    let host = exec.engine == Engine::Kvm;
    if host
        && (program.architecture != Architecture::X86
            || Architecture::HOST != Some(Architecture::X86))
    {
        return Err(format!(
            "{name} is an {} program: the machine's own KVM, with the x86 proposals, is for x86-64 \
             programs on x86-64",
            program.architecture
        ));
    }
    let guest = exec.guest.unwrap_or(program.architecture).of_guests();
    let settings = settings(exec, guest)?;
    let library = find_part(LIBRARY).ok_or_else(|| {
        format!("{LIBRARY} is not beside this program: build it with `cargo build --release --workspace`")
    })?;
    let mut command = if Some(program.architecture) == Architecture::HOST {
        let mut command = Command::new(&path);
        command.arg0(&exec.program);
        command
    } else if program.architecture == Architecture::Arm64 {
        under_qemu(&path, interpreter)?
    } else {
        return Err(format!(
            "{name} is an {} program, which this host cannot run",
            program.architecture
        ));
    };
    let mut preload = library.into_os_string();
    if let Some(others) = env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    command
        .env("LD_PRELOAD", preload)
        .env("UNDERSTUDY_GUEST", guest.name())
        .args(&exec.args);
    command.envs(settings);
    Ok(command)
}

/// What the library is told by its environment, options before variables that are already there. It
/// is tried here: what is wrong with it would otherwise come up only once the program opens
/// `/dev/kvm`.
fn settings(exec: &Exec, guest: Guest) -> Result<Vec<(&'static str, OsString)>, String> {
    let mut settings = Vec::new();
    if guest == Guest::X86_64 && (exec.cpu.is_some() || exec.fidelity.is_some()) {
        return Err("--cpu and --fidelity are for arm64 guests: see --guest".into());
    }
    if let Some(cpu) = &exec.cpu {
        // The program may change its directory.
        let file = cpu.contains('/') || cpu.ends_with(".toml");
        let cpu = match path::absolute(cpu) {
            Ok(path) if file && Model::by_name(cpu).is_none() => path.into_os_string(),
            _ => OsString::from(cpu),
        };
        settings.push((host::CPU, cpu));
    }
    if !exec.proposals.is_empty() {
        settings.push((host::PROPOSALS, exec.proposals.join(",").into()));
    }
    if exec.engine == Engine::Kvm {
        host::x86_proposals(Some(&exec.proposals.join(",")))?;
        settings.push(("UNDERSTUDY_ENGINE", "kvm".into()));
        return Ok(settings);
    }
    if let Some(fidelity) = &exec.fidelity {
        settings.push((host::FIDELITY, fidelity.into()));
    }
    host::choose(guest, |name| {
        let set = settings.iter().find(|(variable, _)| *variable == name);
        let value = set.map(|(_, value)| value.clone());
        Some(
            value
                .or_else(|| env::var_os(name))?
                .to_string_lossy()
                .into_owned(),
        )
    })?;
    Ok(settings)
}

/// `qemu-aarch64` about to run the arm64 program at `path`, with the stub.
fn under_qemu(path: &Path, interpreter: &Path) -> Result<Command, String> {
    let qemu = find_program(OsStr::new(QEMU))
        .ok_or_else(|| format!("{QEMU} is missing: install the Debian package qemu-user"))?;
    if inspect(&qemu)?.interpreter.is_none() {
        return Err(format!(
            "{} is linked statically, and nothing can be loaded into it: install the Debian \
             package qemu-user",
            qemu.display()
        ));
    }
    let root = env::var_os("QEMU_LD_PREFIX").map_or(PathBuf::from(ARM64_ROOT), PathBuf::from);
    let linker = root.join(interpreter.strip_prefix("/").unwrap_or(interpreter));
    if !linker.exists() {
        return Err(format!(
            "{} is missing: install the Debian package libc6-arm64-cross",
            linker.display()
        ));
    }
    let stub = find_part(STUB).ok_or_else(|| {
        format!(
            "{STUB} is missing: build it with conformance/build-stub (Debian package \
             gcc-aarch64-linux-gnu)"
        )
    })?;
    let mut preload = OsString::from("LD_PRELOAD=");
    preload.push(stub);
    let mut command = Command::new(qemu);
    command.arg("-L").arg(root).arg("-E").arg(preload).arg(path);
    Ok(command)
}

/// Becomes the program. Returns only if that fails, with one line that says why.
pub fn exec(exec: &Exec) -> String {
    match command(exec) {
        Ok(mut command) => {
            let error = command.exec();
            format!("{}: {error}", command.get_program().display())
        }
        Err(problem) => problem,
    }
}
