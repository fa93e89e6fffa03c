//! Serves a chain on a pseudo-terminal from a thread of its own.
//!
//! Without wire timing a request is answered at once, a sync read in one write. With it the line
//! is modelled: every byte takes 10 bit times, one side speaks at a time, and a reply reaches the
//! client when its last byte would.

use super::chain::{Reply, SharedChain};
use super::line::{Line, byte_time, nanos};
use super::pty::{Pty, Waker, wake_on_time};
use super::store::Store;
use super::{EmulatorError, FaultHandle};
use sinew_runtime::rt::{self, RtRequest};
use sinew_runtime::{Clock, MonotonicClock, Nanos};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// An unfinished request is forgotten after this much silence.
const IDLE_MS: i32 = 20;
/// Before a timed reply the thread sleeps until this long before, then spins.
const SPIN_NS: Nanos = 250_000;
/// With wire timing the thread looks for the next request this long before it blocks: waking up
/// is the emulator's own slowness, which a real line does not have.
const LINGER_NS: Nanos = 150_000;

/// Below the threads of a robot's own process.
const PROMPT: RtRequest = RtRequest {
    priority: Some(60),
    ..RtRequest::NONE
};

/// How to serve.
#[derive(Debug, Clone, Default)]
pub struct PtyOptions {
    /// Bytes take the time that they take on a real line.
    pub wire_timing: bool,
    /// A stable name for the port: a symbolic link that is made here and removed at the end.
    pub link: Option<PathBuf>,
    /// File that is rewritten whenever an EEPROM changes; see [`super::EmulatedChain::with_store`].
    pub store: Option<PathBuf>,
}

/// What the server did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ServerStats {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Whole requests, answered or not.
    pub requests: u64,
    /// Bytes that the client had no room for.
    pub dropped: u64,
    /// Clients that closed the port.
    pub clients_left: u64,
}

#[derive(Debug, Default)]
struct Counters {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    requests: AtomicU64,
    dropped: AtomicU64,
    clients_left: AtomicU64,
}

fn count(counter: &AtomicU64, by: usize) {
    counter.fetch_add(by as u64, Ordering::Relaxed);
}

/// A served pseudo-terminal. Dropping it stops the thread and closes the port.
#[derive(Debug)]
pub struct PtyServer {
    path: Arc<Mutex<PathBuf>>,
    link: Option<PathBuf>,
    stop: Arc<AtomicBool>,
    waker: Waker,
    counters: Arc<Counters>,
    faults: FaultHandle,
    thread: Option<JoinHandle<()>>,
}

impl PtyServer {
    /// Opens a port and serves `chain` on it.
    pub fn start(chain: SharedChain, options: &PtyOptions) -> Result<Self, EmulatorError> {
        let pty = Pty::open()?;
        if let Some(link) = &options.link {
            place_link(pty.path(), link)?;
        }
        let waker = Waker::new()?;
        let faults = chain.faults();
        faults.set_waker(waker.clone());
        let path = Arc::new(Mutex::new(pty.path().clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let mut worker = Worker {
            chain,
            faults: faults.clone(),
            waker: waker.clone(),
            stop: Arc::clone(&stop),
            path: Arc::clone(&path),
            link: options.link.clone(),
            counters: Arc::clone(&counters),
            store: options.store.as_deref().map(Store::new),
            wire: options.wire_timing,
            line: Line::default(),
            reply: Reply::default(),
        };
        let thread = std::thread::Builder::new()
            .name("servo-emulator".to_owned())
            .spawn(move || worker.run(pty))
            .map_err(|source| EmulatorError::System {
                what: "start a thread",
                source,
            })?;
        let link = options.link.clone();
        Ok(Self {
            path,
            link,
            stop,
            waker,
            counters,
            faults,
            thread: Some(thread),
        })
    }

    /// What a client opens: the link if there is one, else the pseudo-terminal.
    pub fn path(&self) -> PathBuf {
        let own = || {
            self.path
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        };
        self.link.clone().unwrap_or_else(own)
    }

    /// The switchboard of faults, `unplug` among them.
    pub fn faults(&self) -> FaultHandle {
        self.faults.clone()
    }

    /// What happened so far.
    pub fn stats(&self) -> ServerStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.counters;
        ServerStats {
            bytes_in: get(&c.bytes_in),
            bytes_out: get(&c.bytes_out),
            requests: get(&c.requests),
            dropped: get(&c.dropped),
            clients_left: get(&c.clients_left),
        }
    }
}

impl Drop for PtyServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the servo emulator's thread panicked");
        }
        remove_link(self.link.as_deref());
    }
}

/// Points `link` at `target`, replacing an older link but nothing else.
fn place_link(target: &Path, link: &Path) -> Result<(), EmulatorError> {
    remove_link(Some(link));
    std::os::unix::fs::symlink(target, link).map_err(|source| EmulatorError::Link {
        link: link.to_owned(),
        source,
    })
}

fn remove_link(link: Option<&Path>) {
    if let Some(link) = link
        && link.is_symlink()
        && let Err(error) = std::fs::remove_file(link)
    {
        tracing::warn!(?link, %error, "cannot remove the link to the emulated port");
    }
}

struct Worker {
    chain: SharedChain,
    faults: FaultHandle,
    waker: Waker,
    stop: Arc<AtomicBool>,
    path: Arc<Mutex<PathBuf>>,
    link: Option<PathBuf>,
    counters: Arc<Counters>,
    store: Option<Store>,
    wire: bool,
    line: Line,
    reply: Reply,
}

impl Worker {
    fn run(&mut self, pty: Pty) {
        wake_on_time();
        // Servos do not share a processor with anyone: a thread that answers late because the
        // machine is busy would be a fault that no bus has. Refused to ordinary users, which is fine.
        let _guard = rt::apply(&PROMPT).1;
        self.save();
        let mut plugged = Some(pty);
        while !self.stop.load(Ordering::Acquire) {
            if self.faults.unplugged() {
                if plugged.take().is_some() {
                    remove_link(self.link.as_deref());
                }
                self.waker.wait();
                self.waker.rest();
            } else if let Some(pty) = &plugged {
                self.serve(pty);
            } else {
                plugged = self.plug_in();
            }
        }
    }

    /// A new port after the old one was pulled out.
    fn plug_in(&mut self) -> Option<Pty> {
        let opened = Pty::open().and_then(|pty| match &self.link {
            Some(link) => place_link(pty.path(), link).map(|()| pty),
            None => Ok(pty),
        });
        match opened {
            Ok(pty) => {
                *self.path.lock().unwrap_or_else(PoisonError::into_inner) = pty.path().clone();
                self.chain.lock().line_idle();
                Some(pty)
            }
            Err(error) => {
                tracing::error!(%error, "the emulated port cannot be plugged in again");
                self.stop.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Serves until something happened that the caller must look at.
    fn serve(&mut self, pty: &Pty) {
        let mut buf = [0; 4096];
        let mut linger_until = 0;
        loop {
            match pty.read(&mut buf) {
                Ok(n) if n > 0 => {
                    linger_until = self.handle(pty, &buf[..n]);
                    continue;
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
                // A hang-up cannot happen while both ends are held; wait rather than spin if it does.
                _ => linger_until = 0,
            }
            if MonotonicClock.now() < linger_until {
                std::hint::spin_loop();
                continue;
            }
            let pending = self.chain.lock().pending();
            let asked = MonotonicClock.now();
            pty.wait(&self.waker, if pending > 0 { IDLE_MS } else { -1 });
            let silent = MonotonicClock.now() - asked >= IDLE_MS as u64 * 1_000_000;
            if pty.client_left() {
                count(&self.counters.clients_left, 1);
                self.chain.lock().line_idle();
            } else if pending > 0 && silent {
                self.chain.lock().line_idle();
            }
            self.waker.rest();
            if self.stop.load(Ordering::Acquire) || self.faults.unplugged() {
                return;
            }
        }
    }

    /// Acts on received bytes; returns until when it is worth looking for more without blocking.
    fn handle(&mut self, pty: &Pty, bytes: &[u8]) -> Nanos {
        let now = MonotonicClock.now();
        let baud = pty.baud();
        count(&self.counters.bytes_in, bytes.len());
        let mut reply = std::mem::take(&mut self.reply);
        {
            let mut chain = self.chain.lock();
            let offset = chain.consumed() + chain.pending() as u64;
            self.line.send(now, offset, bytes.len() as u64, baud);
            chain.receive(bytes);
        }
        loop {
            let end = {
                let mut chain = self.chain.lock();
                if !chain.next_reply(baud, &mut reply) {
                    break;
                }
                chain.consumed()
            };
            count(&self.counters.requests, 1);
            if !reply.parts.is_empty() {
                self.send(pty, &reply, end, baud);
            }
        }
        self.reply = reply;
        self.save();
        if self.wire {
            MonotonicClock.now() + LINGER_NS
        } else {
            0
        }
    }

    /// Sends a reply when its time has come, in as few writes as its delays allow.
    fn send(&mut self, pty: &Pty, reply: &Reply, request_end: u64, baud: u32) {
        let mut due = if self.wire {
            self.line.sent(request_end, baud)
        } else {
            MonotonicClock.now()
        };
        let (mut start, mut end) = (0, 0);
        for part in &reply.parts {
            if !part.fault_delay.is_zero() {
                self.emit(pty, &reply.bytes[start..end], due);
                start = end;
                due = due.max(if self.wire { 0 } else { MonotonicClock.now() })
                    + nanos(part.fault_delay);
            }
            if self.wire {
                due += nanos(part.return_delay) + byte_time(part.slot_bytes as u64, baud);
            }
            end = part.end;
        }
        self.emit(pty, &reply.bytes[start..end], due);
        self.line.reply(request_end, due, baud);
    }

    fn emit(&self, pty: &Pty, bytes: &[u8], due: Nanos) {
        if bytes.is_empty() {
            return;
        }
        wait_until(due);
        let sent = pty.write(bytes);
        count(&self.counters.bytes_out, sent);
        count(&self.counters.dropped, bytes.len() - sent);
    }

    fn save(&mut self) {
        let Some(store) = &self.store else { return };
        let changed = self.chain.lock().changed_eeproms();
        if let Some(eeproms) = changed
            && let Err(error) = store.save(&eeproms)
        {
            tracing::error!(%error, "servo settings are not kept");
        }
    }
}

/// Sleeps, then spins for the last stretch, so that `due` is met to a few microseconds.
fn wait_until(due: Nanos) {
    let clock = MonotonicClock;
    if clock.now() + SPIN_NS < due {
        clock.sleep_until(due - SPIN_NS);
    }
    while clock.now() < due {
        std::hint::spin_loop();
    }
}
