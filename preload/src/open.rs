//! The open family: which path is `/dev/kvm`, and a descriptor for it.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::io::{Seek, Write};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use libc::mode_t;
use understudy_kvm::{Guest, Object, x86};

use crate::registry::Known;
use crate::settings::Engine;
use crate::{fail, pass_through, real, registry, settings};

/// Whether a path, relative to a directory's descriptor, is that of `/dev/kvm`.
pub(crate) fn is_kvm(dir: RawFd, path: &CStr) -> bool {
    // Nearly every path ends here.
    if !path.to_bytes().ends_with(b"kvm") {
        return false;
    }
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    if path.is_absolute() {
        return normal(path) == Path::new("/dev/kvm");
    }
    let base = match dir {
        libc::AT_FDCWD => std::env::current_dir(),
        _ => std::fs::read_link(format!("/proc/self/fd/{dir}")),
    };
    base.is_ok_and(|base| normal(&base.join(path)) == Path::new("/dev/kvm"))
}

/// The path without `.` and `..`, by its words alone.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A new descriptor of the system, as `open("/dev/kvm", flags)` gives; or an errno.
pub(crate) fn open_system(flags: c_int) -> Result<RawFd, c_int> {
    if flags & (libc::O_CREAT | libc::O_EXCL) == libc::O_CREAT | libc::O_EXCL {
        return Err(libc::EEXIST);
    }
    if flags & libc::O_DIRECTORY != 0 {
        return Err(libc::ENOTDIR);
    }
    let system = settings::system().map_err(|problem| {
        eprintln!("understudy: {problem}");
        libc::ENODEV
    })?;
    let cloexec = if flags & libc::O_CLOEXEC != 0 {
        libc::MFD_CLOEXEC
    } else {
        0
    };
    // SAFETY: a valid name; the descriptor is new, and has no other owner.
    let fd = unsafe {
        let fd = libc::memfd_create(c"kvm".as_ptr(), cloexec);
        if fd < 0 {
            return Err(*libc::__errno_location());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let fd = fd.into_raw_fd();
    registry::insert(fd, Known::Ours(Object::System(system)));
    Ok(fd)
}

/// What a parameter's file has, if the path is one of KVM's modules' that the system would have.
fn module_parameter(path: &CStr) -> Option<&'static str> {
    let path = path.to_str().ok()?.strip_prefix("/sys/module/kvm")?;
    let (module, name) = path.split_once("/parameters/")?;
    let of_guest = || {
        let system = settings::system().ok()?;
        (settings::ours() && system.guest() == Guest::X86_64).then_some(())
    };
    let value = x86::module::parameter(&format!("kvm{module}"), name)?;
    of_guest().map(|()| value)
}

/// A new descriptor from which a line can be read; or an errno.
fn open_text(line: &str, flags: c_int) -> Result<RawFd, c_int> {
    if flags & libc::O_ACCMODE != libc::O_RDONLY {
        return Err(libc::EACCES);
    }
    let open = || -> std::io::Result<RawFd> {
        // SAFETY: a valid name; the descriptor is new, and has no other owner.
        let fd = unsafe {
            let fd = libc::memfd_create(c"parameter".as_ptr(), libc::MFD_CLOEXEC);
            if fd < 0 {
                return Err(std::io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        let mut file = std::fs::File::from(fd);
        file.write_all(format!("{line}\n").as_bytes())?;
        file.rewind()?;
        Ok(OwnedFd::from(file).into_raw_fd())
    };
    open().map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

/// Opens a path if it is that of `/dev/kvm`, or of a parameter of KVM's modules.
///
/// # Safety
///
/// The path is null or a C string.
unsafe fn try_open(dir: RawFd, path: *const c_char, flags: c_int) -> Option<c_int> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    // SAFETY: the caller's promise.
    let host = || pass_through::opened(unsafe { real::openat(dir, path.as_ptr(), flags, 0) });
    if let Some(value) = module_parameter(path) {
        return Some(open_text(value, flags).unwrap_or_else(fail));
    }
    is_kvm(dir, path).then(|| match settings::engine() {
        Engine::Understudy => open_system(flags).unwrap_or_else(fail),
        Engine::Kvm => host(),
    })
}

/// Defines `open` under several names.
macro_rules! opens {
    ($($name:ident($([$fd:ident])? path $(, $mode:ident)?);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(
            $($fd: c_int,)? path: *const c_char, flags: c_int $(, $mode: mode_t)?
        ) -> c_int {
            // The last of these is the argument, if there is one.
            let (dirs, modes) = ([libc::AT_FDCWD $(, $fd)?], [0 $(, $mode)?]);
            let (dir, mode) = (dirs[dirs.len() - 1], modes[modes.len() - 1]);
            // SAFETY: the caller's promise to a function of this name. `openat` is `open` for
            // AT_FDCWD, and on 64-bit hosts the names with 64 are the others.
            unsafe {
                match try_open(dir, path, flags) {
                    Some(fd) => fd,
                    None => real::openat(dir, path, flags, mode),
                }
            }
        }
    )*};
}

opens! {
    open(path, mode);
    open64(path, mode);
    openat([dir] path, mode);
    openat64([dir] path, mode);
    __open_2(path);
    __open64_2(path);
    __openat_2([dir] path);
    __openat64_2([dir] path);
}

/// Whether the system may be accessed: everybody may read and write it, nobody execute.
fn accessible(mode: c_int) -> c_int {
    if mode & libc::X_OK != 0 {
        fail(libc::EACCES)
    } else {
        0
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn access(path: *const c_char, mode: c_int) -> c_int {
    // SAFETY: the path is a C string, as `access` asks.
    unsafe {
        if !path.is_null() && is_kvm(libc::AT_FDCWD, CStr::from_ptr(path)) && settings::ours() {
            return accessible(mode);
        }
        real::access(path, mode)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn faccessat(
    dir: c_int,
    path: *const c_char,
    mode: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: the path is a C string, as `faccessat` asks.
    unsafe {
        if !path.is_null() && is_kvm(dir, CStr::from_ptr(path)) && settings::ours() {
            return accessible(mode);
        }
        real::faccessat(dir, path, mode, flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn the_device_is_known_by_its_path() {
        let here = libc::AT_FDCWD;
        for path in [
            c"/dev/kvm",
            c"//dev/./kvm",
            c"/dev/../dev/kvm",
            c"/tmp/../dev/kvm",
        ] {
            assert!(is_kvm(here, path), "{path:?}");
        }
        for path in [c"/dev/kvm0", c"/tmp/kvm", c"kvm", c"", c"/", c"/dev/null"] {
            assert!(!is_kvm(here, path), "{path:?}");
        }
        let dev = std::fs::File::open("/dev").expect("every Linux has it");
        assert!(is_kvm(dev.as_raw_fd(), c"kvm"));
        assert!(is_kvm(dev.as_raw_fd(), c"./kvm"));
        assert!(!is_kvm(dev.as_raw_fd(), c"shm/kvm"));
        assert!(is_kvm(dev.as_raw_fd(), c"/dev/kvm"));
        assert!(!is_kvm(-1, c"kvm"));
    }
}
