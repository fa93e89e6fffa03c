//! A few servos behind a pseudo-terminal, just enough protocol to test the driver against, with
//! every reply open to sabotage. Kept apart from the emulator, so that a shared mistake cannot
//! hide.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of this module"
)]

use sinew_drivers::feetech::packet::{self, *};
use sinew_drivers::feetech::registers::{self as reg, Register, TABLE, TABLE_BYTES};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Changes the reply of a servo: `(id, how many replies so far in total, reply)`.
pub type Sabotage = Box<dyn FnMut(u8, u64, Vec<u8>) -> Vec<u8> + Send>;

pub struct State {
    pub memory: BTreeMap<u8, [u8; TABLE_BYTES]>,
    pub alarms: BTreeMap<u8, u8>,
    pub sabotage: Sabotage,
    pub echo: bool,
    /// Sends garbage without end instead of answering.
    pub babble: bool,
    pub requests: u64,
    stored: Vec<(u8, Vec<u8>)>,
    replies: u64,
}

pub struct FakeBus {
    pub path: String,
    pub state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeBus {
    /// Servos 1 to `count`; servo `i` stands at 2000 + i.
    pub fn new(count: u8) -> Self {
        let (master, path) = open_pty();
        let memory = (1..=count).map(|id| (id, factory(id))).collect();
        let state = Arc::new(Mutex::new(State {
            memory,
            alarms: BTreeMap::new(),
            sabotage: Box::new(|_, _, reply| reply),
            echo: false,
            babble: false,
            requests: 0,
            stored: Vec::new(),
            replies: 0,
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (state.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("fake-servos".to_owned())
            .spawn(move || serve(master, &shared, &stopped))
            .unwrap();
        Self {
            path,
            state,
            stop,
            thread: Some(thread),
        }
    }

    pub fn sabotage(&self, sabotage: impl FnMut(u8, u64, Vec<u8>) -> Vec<u8> + Send + 'static) {
        self.state.lock().unwrap().sabotage = Box::new(sabotage);
    }

    pub fn get(&self, id: u8, register: &Register) -> i32 {
        register.decode_from(&self.state.lock().unwrap().memory[&id][register.addr.into()..])
    }

    pub fn set(&self, id: u8, register: &Register, value: i32) {
        put(
            self.state.lock().unwrap().memory.get_mut(&id).unwrap(),
            register,
            value,
        );
    }

    /// Pulls the plug: the pseudo-terminal's other end closes.
    pub fn unplug(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for FakeBus {
    fn drop(&mut self) {
        self.unplug();
    }
}

fn put(memory: &mut [u8; TABLE_BYTES], register: &Register, value: i32) {
    register
        .encode_into(value, &mut memory[register.addr.into()..])
        .unwrap();
}

fn factory(id: u8) -> [u8; TABLE_BYTES] {
    let mut memory = [0; TABLE_BYTES];
    for register in TABLE {
        put(&mut memory, register, register.decode(register.default));
    }
    put(&mut memory, &reg::ID, id.into());
    put(&mut memory, &reg::PRESENT_POSITION, 2000 + i32::from(id));
    memory
}

/// The two ends of a raw pseudo-terminal: our descriptor and the path of the other.
pub fn open_pty() -> (OwnedFd, String) {
    // SAFETY: plain calls; the descriptor is checked and owned from there on.
    let master = unsafe {
        let fd = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK);
        assert!(
            fd >= 0,
            "no pseudo-terminal: {}",
            std::io::Error::last_os_error()
        );
        OwnedFd::from_raw_fd(fd)
    };
    let mut name = [0u8; 128];
    // SAFETY: the descriptor is a pty master and the buffer is as long as said.
    let rc = unsafe {
        libc::grantpt(master.as_raw_fd())
            + libc::unlockpt(master.as_raw_fd())
            + libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len())
    };
    assert_eq!(rc, 0);
    let end = name.iter().position(|b| *b == 0).unwrap();
    (master, String::from_utf8(name[..end].to_vec()).unwrap())
}

fn serve(master: OwnedFd, state: &Mutex<State>, stop: &AtomicBool) {
    let mut parser = Parser::new();
    let mut buf = [0u8; 512];
    while !stop.load(Ordering::Acquire) {
        let mut poll = libc::pollfd {
            fd: master.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one valid pollfd; the buffer is as long as said.
        let n = unsafe {
            libc::poll(&mut poll, 1, 5);
            libc::read(master.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len())
        };
        let mut state = state.lock().unwrap();
        if n <= 0 {
            if poll.revents & libc::POLLHUP != 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            if state.babble {
                send(&master, &[0xFF, 0xFF, 0x03, 0x04, 0x00, 0x12]);
            }
            continue;
        }
        let bytes = &buf[..n as usize];
        if state.echo {
            send(&master, bytes);
        }
        parser.push(bytes);
        while let Some(parsed) = parser.next_packet(|_, _| true) {
            let Parsed::Packet(p) = parsed else { continue };
            state.requests += 1;
            let reply = state.handle(p.id, p.code, p.params);
            send(&master, &reply);
        }
    }
}

fn send(master: &OwnedFd, bytes: &[u8]) {
    // SAFETY: pointer and length come from one slice. A full line drops bytes, as a UART would.
    unsafe { libc::write(master.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
}

impl State {
    fn handle(&mut self, id: u8, inst: u8, params: &[u8]) -> Vec<u8> {
        match inst {
            INST_PING => self.reply(id, &[]),
            INST_READ => self.read(id, params[0], params[1]),
            INST_WRITE => {
                self.write(id, params[0], &params[1..]);
                self.reply(id, &[])
            }
            INST_REG_WRITE => {
                self.stored.push((id, params.to_vec()));
                self.reply(id, &[])
            }
            INST_ACTION => {
                for (id, params) in std::mem::take(&mut self.stored) {
                    self.write(id, params[0], &params[1..]);
                }
                Vec::new()
            }
            INST_SYNC_READ => {
                let all: Vec<_> = params[2..]
                    .iter()
                    .map(|id| self.read(*id, params[0], params[1]))
                    .collect();
                all.concat()
            }
            INST_SYNC_WRITE => {
                for entry in params[2..].chunks_exact(1 + usize::from(params[1])) {
                    self.write(entry[0], params[0], &entry[1..]);
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn read(&mut self, id: u8, addr: u8, size: u8) -> Vec<u8> {
        let Some(memory) = self.memory.get(&id) else {
            return Vec::new();
        };
        let data = memory[usize::from(addr)..usize::from(addr) + usize::from(size)].to_vec();
        self.reply(id, &data)
    }

    fn write(&mut self, id: u8, addr: u8, data: &[u8]) {
        let Some(memory) = self.memory.get_mut(&id) else {
            return;
        };
        let locked = memory[usize::from(reg::LOCK.addr)] != 0;
        let register = reg::by_addr(addr).unwrap();
        if register.read_only || (register.eeprom && locked) {
            return;
        }
        memory[usize::from(addr)..usize::from(addr) + data.len()].copy_from_slice(data);
        if register.addr == reg::ID.addr {
            let memory = self.memory.remove(&id).unwrap();
            self.memory.insert(data[0], memory);
        }
    }

    fn reply(&mut self, id: u8, data: &[u8]) -> Vec<u8> {
        if !self.memory.contains_key(&id) {
            return Vec::new();
        }
        let mut buf = [0; MAX_PACKET];
        let alarms = self.alarms.get(&id).copied().unwrap_or(0);
        let len = packet::encode(&mut buf, id, alarms, data).unwrap();
        self.replies += 1;
        (self.sabotage)(id, self.replies, buf[..len].to_vec())
    }
}
