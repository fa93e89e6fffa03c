//! The operating system's side of a pseudo-terminal. The only module here with `unsafe`.

use super::EmulatorError;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

/// A pseudo-terminal in raw mode. Both ends are held: while the emulator has the client's end
/// open too, a client that goes away is no hang-up.
#[derive(Debug)]
pub(crate) struct Pty {
    master: File,
    slave: OwnedFd,
    closes: OwnedFd,
    path: PathBuf,
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> EmulatorError {
    move |source| EmulatorError::System { what, source }
}

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}

fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call that returned `fd` succeeded, and nobody else owns the new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Pty {
    /// Opens a pair whose client end is raw and starts at 1 Mbit/s.
    pub(crate) fn open() -> Result<Self, EmulatorError> {
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: no pointers are passed.
        let master =
            own(unsafe { libc::posix_openpt(flags) }).map_err(system("open a pseudo-terminal"))?;
        let fd = master.as_raw_fd();
        let name = unlock(fd).map_err(system("unlock a pseudo-terminal"))?;
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(name.to_bytes()));
        // SAFETY: `name` is a NUL-terminated path.
        let slave = own(unsafe { libc::open(name.as_ptr(), flags & !libc::O_NONBLOCK) })
            .map_err(system("open the client end of a pseudo-terminal"))?;
        make_raw(slave.as_raw_fd()).map_err(system("set a pseudo-terminal to raw mode"))?;
        let closes = watch_closes(&name).map_err(system("watch a pseudo-terminal"))?;
        Ok(Self {
            master: File::from(master),
            slave,
            closes,
            path,
        })
    }

    /// What clients open.
    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    /// Bytes from the client; `WouldBlock` when there are none.
    pub(crate) fn read(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&self.master).read(buf)
    }

    /// Sends bytes to the client and returns how many it had room for: a client that does not
    /// read loses the rest, as with a UART.
    pub(crate) fn write(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match (&self.master).write(&bytes[sent..]) {
                Ok(n) if n > 0 => sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        sent
    }

    /// The bit rate that the client set, bit/s.
    pub(crate) fn baud(&self) -> u32 {
        // SAFETY: termios2 is plain data for which zero is a value, and the ioctl fills it.
        let mut settings: libc::termios2 = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open and `settings` is writable.
        let rc = unsafe { libc::ioctl(self.slave.as_raw_fd(), libc::TCGETS2, &mut settings) };
        if rc == 0 { settings.c_ospeed } else { 0 }
    }

    /// Whether a client closed the port since the last call. If so, what it did not read is gone
    /// and its claim on the port (which a killed client leaves behind) is lifted.
    pub(crate) fn client_left(&self) -> bool {
        let mut events = [0u8; 1024];
        // SAFETY: `events` is writable for the length given.
        let n = unsafe {
            libc::read(
                self.closes.as_raw_fd(),
                events.as_mut_ptr().cast(),
                events.len(),
            )
        };
        if n <= 0 {
            return false;
        }
        let fd = self.slave.as_raw_fd();
        // SAFETY: the descriptor is open; neither call takes a pointer.
        unsafe {
            libc::ioctl(fd, libc::TIOCNXCL);
            libc::tcflush(fd, libc::TCIFLUSH);
        }
        true
    }

    /// Waits until the client sent something, closed the port, or `waker` was used.
    pub(crate) fn wait(&self, waker: &Waker, timeout_ms: i32) {
        wait_for(
            &[self.master.as_raw_fd(), self.closes.as_raw_fd(), waker.fd()],
            timeout_ms,
        );
    }
}

/// Waits for input on any of up to three descriptors, for at most `timeout_ms` (−1: for ever).
fn wait_for(fds: &[RawFd], timeout_ms: i32) {
    let mut polls = [libc::pollfd {
        fd: -1,
        events: libc::POLLIN,
        revents: 0,
    }; 3];
    for (poll, fd) in polls.iter_mut().zip(fds) {
        poll.fd = *fd;
    }
    // SAFETY: `polls` is an array of that many entries; negative descriptors are skipped.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, timeout_ms) };
}

/// Lets clients open the other end of master `fd` and returns its path.
fn unlock(fd: RawFd) -> io::Result<CString> {
    let mut name = [0u8; 128];
    // SAFETY: no pointers are passed.
    check(unsafe { libc::grantpt(fd) })?;
    // SAFETY: no pointers are passed.
    check(unsafe { libc::unlockpt(fd) })?;
    // SAFETY: `name` is writable for the length given.
    let rc = unsafe { libc::ptsname_r(fd, name.as_mut_ptr().cast(), name.len()) };
    if rc != 0 {
        return Err(io::Error::from_raw_os_error(rc));
    }
    CStr::from_bytes_until_nul(&name)
        .map(CStr::to_owned)
        .map_err(io::Error::other)
}

fn make_raw(fd: RawFd) -> io::Result<()> {
    // SAFETY: termios is plain data for which zero is a value.
    let mut settings: libc::termios = unsafe { std::mem::zeroed() };
    // SAFETY: `fd` is open and `settings` is valid for reading and writing.
    unsafe {
        check(libc::tcgetattr(fd, &mut settings))?;
        libc::cfmakeraw(&mut settings);
        check(libc::cfsetspeed(&mut settings, libc::B1000000))?;
        check(libc::tcsetattr(fd, libc::TCSANOW, &settings))?;
    }
    Ok(())
}

fn watch_closes(name: &CStr) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = own(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })?;
    let mask = libc::IN_CLOSE_WRITE | libc::IN_CLOSE_NOWRITE;
    // SAFETY: `name` is a NUL-terminated path.
    check(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), name.as_ptr(), mask) })?;
    Ok(fd)
}

/// Wakes the serving thread from any other.
#[derive(Debug, Clone)]
pub(crate) struct Waker(Arc<File>);

impl Waker {
    pub(crate) fn new() -> Result<Self, EmulatorError> {
        // SAFETY: no pointers are passed.
        let fd = own(unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) })
            .map_err(system("make an event descriptor"))?;
        Ok(Self(Arc::new(File::from(fd))))
    }

    /// Makes the next wait return at once.
    pub(crate) fn wake(&self) {
        // It can fail only when it was woken 2^64 times already.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }

    /// Forgets that it was woken.
    pub(crate) fn rest(&self) {
        // Empty is fine: nobody woke it.
        let _ = (&*self.0).read(&mut [0; 8]);
    }

    /// Waits until somebody wakes it.
    pub(crate) fn wait(&self) {
        wait_for(&[self.fd()], -1);
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Makes timed waits of the calling thread end on time instead of up to 50 µs late.
pub(crate) fn wake_on_time() {
    // SAFETY: this option takes one number and no pointers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong) };
}
