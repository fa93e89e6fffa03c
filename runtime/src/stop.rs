//! One way to end a run: a token that signals, panics, failures and programs all set.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often [`StopToken::wait`] looks.
const POLL: Duration = Duration::from_millis(5);
/// Exit status of a process that is ended by SIGINT, as shells expect it.
const EXIT_INTERRUPTED: i32 = 130;

/// Why a run ends. The first cause stays; later ones are its consequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StopCause {
    /// SIGINT or SIGTERM.
    Signal = 1,
    /// The program asked, for instance because a key was pressed.
    Requested,
    /// There is nothing more to do: the replay or the time given has ended.
    Finished,
    /// A device thread failed.
    Device,
    /// A control loop failed.
    Control,
    /// An inference thread failed.
    Inference,
    /// Some thread panicked.
    Panic,
}

impl StopCause {
    const ALL: [Self; 7] = [
        Self::Signal,
        Self::Requested,
        Self::Finished,
        Self::Device,
        Self::Control,
        Self::Inference,
        Self::Panic,
    ];

    /// Whether the run ended as somebody wanted.
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Signal | Self::Requested | Self::Finished)
    }
}

#[derive(Debug, Default)]
struct Shared {
    cause: AtomicU8,
    immediate: AtomicBool,
    signals: AtomicUsize,
}

/// Tells every thread of a run to end. Cheap to clone, safe to set from a signal handler.
#[derive(Debug, Clone, Default)]
pub struct StopToken {
    own: Arc<Shared>,
    parent: Option<Arc<Shared>>,
}

impl StopToken {
    /// A token that nobody has set.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token for one of several runs: it is also set when this one is, and setting it does not
    /// set this one. Of this one's own parent it knows nothing.
    pub fn child(&self) -> Self {
        Self {
            own: Arc::default(),
            parent: Some(self.own.clone()),
        }
    }

    fn each(&self) -> impl Iterator<Item = &Shared> {
        std::iter::once(&self.own)
            .chain(&self.parent)
            .map(Arc::as_ref)
    }

    /// Asks for an orderly end. Only the first cause is kept.
    pub fn request(&self, cause: StopCause) {
        _ = self
            .own
            .cause
            .compare_exchange(0, cause as u8, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Asks for an end now: no move to the rest pose first.
    pub fn request_immediate(&self, cause: StopCause) {
        self.request(cause);
        self.own.immediate.store(true, Ordering::Release);
    }

    /// Why to stop, if so.
    pub fn cause(&self) -> Option<StopCause> {
        self.each().find_map(|shared| {
            let code = shared.cause.load(Ordering::Acquire);
            StopCause::ALL
                .into_iter()
                .find(|&cause| cause as u8 == code)
        })
    }

    /// Whether to stop.
    pub fn is_set(&self) -> bool {
        self.each()
            .any(|shared| shared.cause.load(Ordering::Acquire) != 0)
    }

    /// Whether to skip anything that takes time.
    pub fn is_immediate(&self) -> bool {
        self.each()
            .any(|shared| shared.immediate.load(Ordering::Acquire))
    }

    /// Waits until the token is set or `timeout` has passed.
    pub fn wait(&self, timeout: Duration) -> Option<StopCause> {
        let start = Instant::now();
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            if self.is_set() || left.is_zero() {
                return self.cause();
            }
            std::thread::sleep(POLL.min(left));
        }
    }

    /// Sets the token on SIGINT and SIGTERM. The second signal makes the stop immediate; the third
    /// ends the process at once, for when something hangs.
    pub fn on_signals(&self) -> io::Result<()> {
        for signal in [SIGINT, SIGTERM] {
            let token = self.clone();
            // SAFETY: the handler only touches atomics and, at the third signal, calls `_exit`; all
            // of that is allowed in a signal handler.
            unsafe { low_level::register(signal, move || token.signalled()) }?;
        }
        Ok(())
    }

    fn signalled(&self) {
        match self.own.signals.fetch_add(1, Ordering::AcqRel) {
            0 => self.request(StopCause::Signal),
            1 => self.request_immediate(StopCause::Signal),
            _ => low_level::exit(EXIT_INTERRUPTED),
        }
    }

    /// Sets the token when any thread panics, then does what the hook before did.
    pub fn on_panic(&self) {
        let token = self.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            token.request(StopCause::Panic);
            before(info);
        }));
    }
}

/// The words of a panic, for a message.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_cause_stays() {
        let token = StopToken::new();
        assert_eq!((token.is_set(), token.cause()), (false, None));
        let other = token.clone();
        other.request(StopCause::Device);
        token.request(StopCause::Signal);
        assert_eq!(token.cause(), Some(StopCause::Device));
        assert!(!token.is_immediate());
        token.request_immediate(StopCause::Requested);
        assert!(other.is_immediate() && other.cause() == Some(StopCause::Device));
    }

    #[test]
    fn a_child_ends_with_its_parent_and_not_the_other_way_round() {
        let whole = StopToken::new();
        let (first, second) = (whole.child(), whole.child());
        first.request(StopCause::Finished);
        assert!(first.is_set() && !whole.is_set() && !second.is_set());
        whole.request_immediate(StopCause::Signal);
        assert_eq!(first.cause(), Some(StopCause::Finished));
        assert_eq!(second.cause(), Some(StopCause::Signal));
        assert!(first.is_immediate() && second.is_immediate());
    }

    #[test]
    fn every_cause_survives_the_atomic() {
        for cause in StopCause::ALL {
            let token = StopToken::new();
            token.request(cause);
            assert_eq!(token.cause(), Some(cause));
        }
    }

    #[test]
    fn waiting_ends_with_the_token_or_the_time() {
        let token = StopToken::new();
        assert_eq!(token.wait(Duration::from_millis(1)), None);
        token.request(StopCause::Finished);
        assert_eq!(
            token.wait(Duration::from_secs(3600)),
            Some(StopCause::Finished)
        );
    }
}
