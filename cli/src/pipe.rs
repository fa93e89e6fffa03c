//! Closed pipes: `sinew dataset ls … | head`.

/// Lets the process end quietly when the reader of its output goes away, as other command-line tools
/// do, instead of with a panic. Only for commands that move no robot: those must come to their end
/// in order whatever becomes of their output.
#[allow(unsafe_code, reason = "the standard library has no stable way")]
pub(crate) fn end_with_reader() {
    // SAFETY: the default action runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
