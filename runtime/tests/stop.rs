//! Signals and panics are process-wide, so their test has a process of its own.

use sinew_runtime::{StopCause, StopToken};
use std::time::Duration;

#[test]
fn signals_and_panics_set_the_token() {
    let token = StopToken::new();
    token.on_signals().expect("handlers can be set");
    // SAFETY: the signal has a handler.
    unsafe { libc::raise(libc::SIGINT) };
    assert_eq!(token.wait(Duration::from_secs(10)), Some(StopCause::Signal));
    assert!(!token.is_immediate());
    // SAFETY: the signal has a handler.
    unsafe { libc::raise(libc::SIGTERM) };
    assert!(token.is_immediate(), "the second signal is in earnest");

    let token = StopToken::new();
    token.on_panic();
    let ended = std::thread::scope(|scope| scope.spawn(|| panic!("on purpose")).join());
    assert!(ended.is_err());
    assert_eq!(token.cause(), Some(StopCause::Panic));
}
