//! How often somebody may ask. Windows are fixed and the same for everybody; each process counts what it answers, so
//! several processes together let through as many times more.

use crate::db::now_ms;
use axum::http::HeaderMap;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Length of a window, seconds: that of Hugging Face, which the clients expect.
const WINDOW_S: i64 = 300;
/// Callers that are told apart in one window; more share what is left.
const CALLERS: usize = 100_000;

/// Counts requests by caller.
#[derive(Debug)]
pub(super) struct Rates {
    /// Requests that each caller has in a window; `None` without a limit.
    quota: Option<u32>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    window: i64,
    counts: HashMap<String, u32>,
}

/// What is left to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowance {
    quota: u32,
    left: u32,
    /// Until the window ends.
    reset_s: i64,
    /// Whether this request was one too many.
    pub is_over: bool,
}

impl Rates {
    pub(super) fn new(quota: Option<u32>) -> Self {
        Self {
            quota,
            open: Mutex::default(),
        }
    }

    /// Counts a request; `None` when nothing is counted.
    pub(super) fn count(&self, caller: &str) -> Option<Allowance> {
        self.count_at(caller, now_ms() / 1000)
    }

    fn count_at(&self, caller: &str, now_s: i64) -> Option<Allowance> {
        let quota = self.quota?;
        let window = now_s.div_euclid(WINDOW_S);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.window != window {
            *open = Open {
                window,
                counts: HashMap::new(),
            };
        }
        let is_new = !open.counts.contains_key(caller);
        let key = if is_new && open.counts.len() >= CALLERS {
            "others"
        } else {
            caller
        };
        let count = open.counts.entry(key.to_owned()).or_default();
        *count = count.saturating_add(1);
        Some(Allowance {
            quota,
            left: quota.saturating_sub(*count),
            reset_s: WINDOW_S - now_s.rem_euclid(WINDOW_S),
            is_over: *count > quota,
        })
    }
}

impl Allowance {
    /// Tells the client. Source: the IETF's draft on rate-limit headers, in the form that Hugging Face sends.
    pub(super) fn describe(&self, headers: &mut HeaderMap) {
        let Self {
            quota,
            left,
            reset_s,
            ..
        } = self;
        super::reply::set(
            headers,
            "ratelimit",
            &format!("\"api\";r={left};t={reset_s}"),
        );
        let policy = format!("\"fixed window\";\"api\";q={quota};w={WINDOW_S}");
        super::reply::set(headers, "ratelimit-policy", &policy);
        if self.is_over {
            super::reply::set(headers, "retry-after", &reset_s.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_has_its_quota_for_everybody() {
        let rates = Rates::new(Some(2));
        let at = |who, now| rates.count_at(who, now).unwrap();
        assert_eq!(
            at("a", 600),
            Allowance {
                quota: 2,
                left: 1,
                reset_s: 300,
                is_over: false
            }
        );
        assert!(!at("a", 700).is_over);
        assert_eq!(
            at("a", 899),
            Allowance {
                quota: 2,
                left: 0,
                reset_s: 1,
                is_over: true
            }
        );
        assert!(!at("b", 899).is_over);
        assert!(!at("a", 900).is_over);
        assert_eq!(Rates::new(None).count("a"), None);
    }
}
