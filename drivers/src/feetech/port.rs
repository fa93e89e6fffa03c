//! The serial port below the bus: exclusive, raw, non-blocking, waited on with deadlines.
//!
//! This module is the FFI edge: `serialport` opens and configures, `libc` does what it does not
//! offer (low-latency mode, `VMIN`, `ppoll` with a nanosecond deadline).

use crate::error::DriverError;
use serialport::{SerialPort, TTYPort};
use sinew_runtime::{Clock, MonotonicClock, Nanos};
use std::io::Error as IoError;
use std::os::fd::{AsRawFd, RawFd};

/// What became of the request for low latency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LowLatency {
    /// The kernel delivers bytes without batching.
    On,
    /// The device has no such mode (CDC-ACM adapters and pseudo-terminals need none).
    Unsupported,
    /// The mode exists, and this user may not set it.
    Refused,
}

/// When a reader looks for bytes without sleeping. A sleeping processor takes some 50 µs to wake, a
/// twentieth of a bus cycle, so it is worth staying awake around the time that a reply is due.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Start of the time.
    pub from: Nanos,
    /// End of the time.
    pub until: Nanos,
}

/// An open serial port.
#[derive(Debug)]
pub struct Port {
    tty: TTYPort,
    path: String,
    baud: u32,
    termios: libc::termios2,
    low_latency: LowLatency,
}

impl Port {
    /// Opens `path` at `baud` bit/s, 8N1, raw, for this process alone.
    pub fn open(path: &str, baud: u32) -> Result<Self, DriverError> {
        let port = path.to_owned();
        check_path(path)?;
        let mut tty = serialport::new(path, baud)
            .open_native()
            .map_err(|e| open_error(path, baud, &e))?;
        tty.set_exclusive(true)
            .map_err(|e| open_error(path, baud, &e))?;
        let fd = tty.as_raw_fd();
        let failed = |e: IoError| DriverError::PortOpen {
            port: port.clone(),
            baud,
            reason: e.to_string(),
        };
        set_nonblocking(fd).map_err(failed)?;
        let termios = get_termios(fd).map_err(failed)?;
        let mut opened = Self {
            tty,
            path: port.clone(),
            baud,
            termios,
            low_latency: set_low_latency(fd),
        };
        opened.set_wake_count(1)?;
        Ok(opened)
    }

    /// The path that was opened.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The bit rate, bit/s.
    pub fn baud(&self) -> u32 {
        self.baud
    }

    /// Whether low-latency mode is on.
    pub fn low_latency(&self) -> LowLatency {
        self.low_latency
    }

    /// Changes the bit rate.
    pub fn set_baud(&mut self, baud: u32) -> Result<(), DriverError> {
        let path = self.path.clone();
        self.tty
            .set_baud_rate(baud)
            .map_err(|e| open_error(&path, baud, &e))?;
        self.baud = baud;
        self.termios = get_termios(self.tty.as_raw_fd()).map_err(|e| self.lost(&e.to_string()))?;
        Ok(())
    }

    /// How many bytes must wait before [`Port::read`] wakes up ahead of its deadline, so that
    /// the replies of a whole bus cost one wake-up. A system call only when the count changes.
    pub fn set_wake_count(&mut self, bytes: usize) -> Result<(), DriverError> {
        let count = bytes.clamp(1, 255) as u8;
        if self.termios.c_cc[libc::VMIN] == count && self.termios.c_cc[libc::VTIME] == 0 {
            return Ok(());
        }
        self.termios.c_cc[libc::VMIN] = count;
        self.termios.c_cc[libc::VTIME] = 0;
        // SAFETY: the descriptor is open and `termios` is a valid termios2 for the kernel to read.
        let rc = unsafe { libc::ioctl(self.tty.as_raw_fd(), libc::TCSETS2, &self.termios) };
        if rc == 0 {
            Ok(())
        } else {
            Err(self.lost(&IoError::last_os_error().to_string()))
        }
    }

    /// Hands all of `bytes` to the kernel before `deadline`.
    pub fn write(&mut self, mut bytes: &[u8], deadline: Nanos) -> Result<(), DriverError> {
        let start = MonotonicClock.now();
        while !bytes.is_empty() {
            // SAFETY: the descriptor is open; pointer and length come from one slice.
            let n =
                unsafe { libc::write(self.tty.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
            if n > 0 {
                bytes = &bytes[n as usize..];
                continue;
            }
            match IoError::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => {
                    if !self.wait(libc::POLLOUT, deadline)? {
                        let budget_ms = (MonotonicClock.now() - start) / 1_000_000;
                        return Err(DriverError::WriteStalled {
                            port: self.path.clone(),
                            budget_ms,
                        });
                    }
                }
                _ => return Err(self.lost(&IoError::last_os_error().to_string())),
            }
        }
        Ok(())
    }

    /// Reads what is there, waiting until `deadline` for the wake count. 0 means that nothing
    /// came. `look` says when to look without sleeping; see [`Look`].
    pub fn read(
        &mut self,
        buf: &mut [u8],
        deadline: Nanos,
        look: Look,
    ) -> Result<usize, DriverError> {
        // The wake count hides bytes from `ppoll` only: past the deadline the reads still take
        // whatever came.
        let all_there = MonotonicClock.now() < deadline && self.wait_looking(deadline, look)?;
        let enough = if all_there {
            self.termios.c_cc[libc::VMIN].into()
        } else {
            buf.len()
        };
        let mut got = 0;
        // One read returns at most 64 bytes on recent kernels, however many are waiting.
        while got < enough.min(buf.len()) {
            match self.read_once(&mut buf[got..])? {
                0 => break,
                n => got += n,
            }
        }
        Ok(got)
    }

    fn read_once(&self, buf: &mut [u8]) -> Result<usize, DriverError> {
        loop {
            // SAFETY: the descriptor is open; pointer and length come from one slice.
            let n = unsafe { libc::read(self.tty.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len()) };
            match n {
                0 => return Err(self.lost("the device closed the line")),
                n if n > 0 => return Ok(n as usize),
                _ => {}
            }
            let error = IoError::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) => return Ok(0),
                _ => return Err(self.lost(&error.to_string())),
            }
        }
    }

    /// Sleeps until bytes are there, except while they are due: then it looks again and again.
    fn wait_looking(&self, deadline: Nanos, look: Look) -> Result<bool, DriverError> {
        if MonotonicClock.now() < look.from && self.wait(libc::POLLIN, look.from.min(deadline))? {
            return Ok(true);
        }
        while MonotonicClock.now() < look.until.min(deadline) {
            if self.wait(libc::POLLIN, 0)? {
                return Ok(true);
            }
            std::hint::spin_loop();
        }
        self.wait(libc::POLLIN, deadline)
    }

    /// Whether `events` came before `deadline`. A hang-up with nothing left to read is an error.
    fn wait(&self, events: libc::c_short, deadline: Nanos) -> Result<bool, DriverError> {
        loop {
            let left = deadline.saturating_sub(MonotonicClock.now());
            let timeout = libc::timespec {
                tv_sec: (left / 1_000_000_000) as libc::time_t,
                tv_nsec: (left % 1_000_000_000) as libc::c_long,
            };
            let mut poll = libc::pollfd {
                fd: self.tty.as_raw_fd(),
                events,
                revents: 0,
            };
            // SAFETY: one valid pollfd and a valid timespec; no signal mask.
            let rc = unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) };
            if rc == 0 {
                return Ok(false);
            }
            if rc < 0 {
                let error = IoError::last_os_error();
                if error.raw_os_error() == Some(libc::EINTR) {
                    continue;
                }
                return Err(self.lost(&error.to_string()));
            }
            if poll.revents & events != 0 {
                return Ok(true);
            }
            return Err(self.lost("the device hung up"));
        }
    }

    fn lost(&self, reason: &str) -> DriverError {
        DriverError::Disconnected {
            port: self.path.clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Refuses what is no terminal before anything is sent to it.
fn check_path(path: &str) -> Result<(), DriverError> {
    use std::os::unix::fs::FileTypeExt;
    let port = path.to_owned();
    match std::fs::metadata(path) {
        Ok(meta) if meta.file_type().is_char_device() => Ok(()),
        Ok(_) => Err(DriverError::NotSerial { port }),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(DriverError::PortDenied { port })
        }
        Err(_) => Err(DriverError::PortMissing { port }),
    }
}

fn open_error(path: &str, baud: u32, error: &serialport::Error) -> DriverError {
    use std::io::ErrorKind as Io;
    let port = path.to_owned();
    let words = error.to_string();
    match error.kind() {
        serialport::ErrorKind::NoDevice => DriverError::PortBusy { port },
        serialport::ErrorKind::Io(Io::NotFound) => DriverError::PortMissing { port },
        serialport::ErrorKind::Io(Io::PermissionDenied) => DriverError::PortDenied { port },
        // A character device that is no terminal answers terminal requests with ENOTTY (or, for
        // a few, with "no such device").
        _ if !is_terminal(path) => DriverError::NotSerial { port },
        _ => DriverError::PortOpen {
            port,
            baud,
            reason: words,
        },
    }
}

fn is_terminal(path: &str) -> bool {
    use std::io::IsTerminal;
    use std::os::unix::fs::OpenOptionsExt;
    // Unknown counts as a terminal, so that the system's own words reach the user.
    std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK)
        .open(path)
        .map_or(true, |file| file.is_terminal())
}

fn set_nonblocking(fd: RawFd) -> Result<(), IoError> {
    // SAFETY: plain flag calls on an open descriptor.
    let rc = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        if flags < 0 {
            flags
        } else {
            libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK)
        }
    };
    if rc < 0 {
        Err(IoError::last_os_error())
    } else {
        Ok(())
    }
}

fn get_termios(fd: RawFd) -> Result<libc::termios2, IoError> {
    let mut termios = std::mem::MaybeUninit::<libc::termios2>::zeroed();
    // SAFETY: the descriptor is open and the kernel fills the struct that it is given.
    let rc = unsafe { libc::ioctl(fd, libc::TCGETS2, termios.as_mut_ptr()) };
    if rc != 0 {
        return Err(IoError::last_os_error());
    }
    // SAFETY: zeroed is valid for this struct of integers, and the kernel has filled it.
    Ok(unsafe { termios.assume_init() })
}

/// The kernel's `struct serial_struct` (linux/serial.h), which libc does not declare.
#[repr(C)]
struct SerialStruct {
    kind: libc::c_int,
    line: libc::c_int,
    port: libc::c_uint,
    irq: libc::c_int,
    flags: libc::c_int,
    xmit_fifo_size: libc::c_int,
    custom_divisor: libc::c_int,
    baud_base: libc::c_int,
    close_delay: libc::c_ushort,
    io_type: libc::c_char,
    reserved: libc::c_char,
    hub6: libc::c_int,
    closing_wait: libc::c_ushort,
    closing_wait2: libc::c_ushort,
    iomem_base: *mut libc::c_uchar,
    iomem_reg_shift: libc::c_ushort,
    port_high: libc::c_uint,
    iomap_base: libc::c_ulong,
}

/// `ASYNC_LOW_LATENCY` of linux/tty_flags.h; on FTDI adapters it turns 16 ms of batching into 1.
const ASYNC_LOW_LATENCY: libc::c_int = 1 << 13;

fn set_low_latency(fd: RawFd) -> LowLatency {
    let mut serial = std::mem::MaybeUninit::<SerialStruct>::zeroed();
    // SAFETY: the struct has the kernel's layout, and the kernel fills it.
    if unsafe { libc::ioctl(fd, libc::TIOCGSERIAL, serial.as_mut_ptr()) } != 0 {
        return LowLatency::Unsupported;
    }
    // SAFETY: zeroed is valid for this struct of integers and one unused pointer.
    let mut serial = unsafe { serial.assume_init() };
    if serial.flags & ASYNC_LOW_LATENCY != 0 {
        return LowLatency::On;
    }
    serial.flags |= ASYNC_LOW_LATENCY;
    // SAFETY: the struct has the kernel's layout and was filled by the kernel.
    if unsafe { libc::ioctl(fd, libc::TIOCSSERIAL, &serial) } == 0 {
        return LowLatency::On;
    }
    match IoError::last_os_error().raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => LowLatency::Refused,
        _ => LowLatency::Unsupported,
    }
}
