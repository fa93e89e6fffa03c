//! Real-time set-up of the calling thread: priority, memory, processor, wake-up latency.
//!
//! Everything here is asked for, never demanded: an ordinary user on an ordinary kernel still gets
//! a working loop, and a report that says what the system refused and how to allow it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io::{Error, Write};

/// Stack that a real-time thread touches once at start, so that it never faults later.
const PREFAULT_BYTES: usize = 256 * 1024;
/// Linux capability number that lifts the limit on locked memory.
const CAP_IPC_LOCK: u32 = 14;

/// What a thread asks the system for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtRequest {
    /// `SCHED_FIFO` priority, 1 (lowest) to 99. `None` stays with the ordinary scheduler.
    pub priority: Option<u8>,
    /// Keep the process's pages in memory and touch this thread's stack beforehand.
    pub lock_memory: bool,
    /// Keep idle processors out of deep sleep, which costs power and saves tens of µs a wake-up.
    pub low_latency: bool,
    /// Run on this processor only.
    pub cpu: Option<usize>,
}

impl RtRequest {
    /// Asks for nothing: an ordinary thread.
    pub const NONE: Self = Self {
        priority: None,
        lock_memory: false,
        low_latency: false,
        cpu: None,
    };
    /// What the device thread asks for. Above the loop, because a bus cannot wait.
    pub const DEVICE: Self = Self {
        priority: Some(80),
        lock_memory: true,
        low_latency: true,
        cpu: None,
    };
    /// What the control loop asks for.
    pub const CONTROL: Self = Self {
        priority: Some(70),
        lock_memory: true,
        low_latency: true,
        cpu: None,
    };
}

/// Whether the system gave one thing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granted {
    /// It was not asked for.
    #[default]
    NotAsked,
    /// It is in force.
    Yes,
    /// It was refused; the text says why and what would allow it.
    Refused(String),
}

impl Granted {
    fn from_result(result: Result<(), Error>, advice: &str) -> Self {
        match result {
            Ok(()) => Self::Yes,
            Err(error) => Self::Refused(format!("{error}; {advice}")),
        }
    }

    /// Whether it was asked for and refused.
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

/// What the system gave a thread. Print it once, when the thread starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RtReport {
    /// `SCHED_FIFO` at the priority asked for.
    pub fifo: Granted,
    /// Locked memory.
    pub memory: Granted,
    /// Processors kept out of deep sleep.
    pub latency: Granted,
    /// One processor only.
    pub cpu: Granted,
}

impl RtReport {
    /// Whether everything asked for is in force.
    pub fn is_complete(&self) -> bool {
        !self.parts().iter().any(|(_, granted)| granted.is_refused())
    }

    fn parts(&self) -> [(&'static str, &Granted); 4] {
        [
            ("SCHED_FIFO", &self.fifo),
            ("locked memory", &self.memory),
            ("low wake-up latency", &self.latency),
            ("processor", &self.cpu),
        ]
    }
}

impl fmt::Display for RtReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (name, granted) in self.parts() {
            match granted {
                Granted::NotAsked => continue,
                Granted::Yes => write!(f, "{separator}{name}: yes")?,
                Granted::Refused(why) => write!(f, "{separator}{name}: no ({why})")?,
            }
            separator = "; ";
        }
        if separator.is_empty() {
            f.write_str("ordinary thread")
        } else {
            Ok(())
        }
    }
}

/// Keeps what lasts only while it is held. Drop it when the thread ends.
#[derive(Debug, Default)]
pub struct RtGuard {
    // The kernel drops the request when this file is closed.
    _latency: Option<File>,
}

/// Sets the calling thread up as asked, going on without whatever is refused.
pub fn apply(request: &RtRequest) -> (RtReport, RtGuard) {
    let mut report = RtReport::default();
    let mut guard = RtGuard::default();
    if let Some(cpu) = request.cpu {
        report.cpu =
            Granted::from_result(pin_to(cpu), "choose a processor that this process may use");
    }
    if request.lock_memory {
        report.memory = lock_memory();
        prefault_stack();
    }
    if request.low_latency {
        report.latency = match hold_low_latency() {
            Ok(file) => {
                guard._latency = Some(file);
                Granted::Yes
            }
            Err(error) => Granted::Refused(format!(
                "/dev/cpu_dma_latency: {error}; allow your user to write it"
            )),
        };
    }
    if let Some(priority) = request.priority {
        // Without FIFO the kernel may round wake-ups by 50 µs to batch them; 1 ns turns that off.
        // SAFETY: PR_SET_TIMERSLACK takes one integer and affects only the calling thread.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1 as libc::c_ulong, 0, 0, 0) };
        report.fifo = Granted::from_result(
            set_fifo(priority),
            "give your user `rtprio 99` in /etc/security/limits.conf, or run with CAP_SYS_NICE",
        );
    }
    (report, guard)
}

/// Turns a C return value into a result.
fn check(rc: libc::c_int) -> Result<(), Error> {
    if rc == 0 {
        Ok(())
    } else {
        Err(Error::last_os_error())
    }
}

fn set_fifo(priority: u8) -> Result<(), Error> {
    raise_soft_limit(libc::RLIMIT_RTPRIO);
    let param = libc::sched_param {
        sched_priority: libc::c_int::from(priority),
    };
    // Threads that this one starts must not inherit its priority.
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: pid 0 is the calling thread; `param` outlives the call.
    check(unsafe { libc::sched_setscheduler(0, policy, &param) })
}

fn pin_to(cpu: usize) -> Result<(), Error> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: `cpu_set_t` is a plain bit array, for which all zeros is the empty set, and `cpu` was
    // checked against its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        check(libc::sched_setaffinity(
            0,
            size_of::<libc::cpu_set_t>(),
            &set,
        ))
    }
}

/// Locks pages as they are touched, so that mapped weights of gigabytes are not pulled in at once.
fn lock_memory() -> Granted {
    let advice = "set `memlock unlimited` in /etc/security/limits.conf, or run with CAP_IPC_LOCK";
    let limit = raise_soft_limit(libc::RLIMIT_MEMLOCK);
    // Under a finite limit, locking future pages would make later allocations fail: worse than not locking.
    if limit != libc::RLIM_INFINITY && !has_capability(CAP_IPC_LOCK) {
        return Granted::Refused(format!("the limit is {} KiB; {advice}", limit / 1024));
    }
    // SAFETY: mlockall only takes flags.
    let rc = unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE | libc::MCL_ONFAULT) };
    Granted::from_result(check(rc), advice)
}

/// Raises a soft limit to the hard one and returns what it then is.
fn raise_soft_limit(resource: libc::__rlimit_resource_t) -> libc::rlim_t {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit for the kernel to fill and read.
    unsafe {
        if libc::getrlimit(resource, &mut limit) != 0 {
            return 0;
        }
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            ..limit
        };
        if libc::setrlimit(resource, &raised) == 0 {
            raised.rlim_cur
        } else {
            limit.rlim_cur
        }
    }
}

fn has_capability(number: u32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|bits| bits >> number & 1 == 1)
}

#[inline(never)]
fn prefault_stack() {
    let mut stack = [0u8; PREFAULT_BYTES];
    // One byte in each page is enough; black_box keeps the compiler from dropping the writes.
    for byte in stack.iter_mut().step_by(4096) {
        *byte = 1;
    }
    std::hint::black_box(&mut stack);
}

fn hold_low_latency() -> Result<File, Error> {
    let mut file = File::options().write(true).open("/dev/cpu_dma_latency")?;
    file.write_all(&0i32.to_ne_bytes())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_asked_is_nothing_reported() {
        let (report, _guard) = apply(&RtRequest::NONE);
        assert_eq!(report, RtReport::default());
        assert_eq!(report.to_string(), "ordinary thread");
    }

    #[test]
    fn everything_asked_is_granted_or_explained() {
        // In a thread of its own: the test runner's threads must not become real-time.
        let request = RtRequest {
            cpu: Some(0),
            ..RtRequest::CONTROL
        };
        let report = std::thread::scope(|scope| scope.spawn(|| apply(&request).0).join());
        let report = report.expect("set-up never panics");
        for (name, granted) in report.parts() {
            match granted {
                Granted::NotAsked => panic!("{name} was asked for"),
                Granted::Yes => {}
                Granted::Refused(why) => assert!(why.contains(';'), "{name}: no advice in {why:?}"),
            }
        }
    }

    #[test]
    fn a_processor_that_does_not_exist_is_refused() {
        let request = RtRequest {
            cpu: Some(1 << 20),
            ..RtRequest::NONE
        };
        let (report, _guard) = apply(&request);
        assert!(report.cpu.is_refused());
        assert!(!report.is_complete());
    }
}
