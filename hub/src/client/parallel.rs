//! The same work for many things, on several threads.

use super::error::{ClientError, ClientResult};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does `work` for every item on up to `threads` threads; the results in the items' order. After a failure nothing
/// new is begun, and the first failure is returned.
///
/// # Errors
/// The first that `work` returns, or if the system gives no threads.
pub(crate) fn for_each<I: Sync, T: Send>(
    name: &str,
    threads: usize,
    items: &[I],
    work: impl Fn(&I) -> ClientResult<T> + Sync,
) -> ClientResult<Vec<T>> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let failure = Mutex::new(None);
    let run = || {
        while !failed.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(number) else {
                return;
            };
            match work(item) {
                Ok(done) => lock(&results).push((number, done)),
                Err(error) => {
                    failed.store(true, Ordering::Relaxed);
                    lock(&failure).get_or_insert(error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for number in 1..threads.min(items.len()) {
            let thread = std::thread::Builder::new().name(format!("{name}-{number}"));
            let spawned = thread.spawn_scoped(scope, run);
            spawned.map_err(|e| ClientError::io("start a thread", e))?;
        }
        run();
        Ok::<_, ClientError>(())
    })?;
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut results = std::mem::take(&mut *lock(&results));
    results.sort_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, done)| done).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_failures_stop_the_rest() {
        let items: Vec<usize> = (0..1000).collect();
        let doubled = for_each("test", 4, &items, |item| Ok(2 * item)).unwrap();
        assert_eq!(doubled[999], 1998);
        let done = AtomicUsize::new(0);
        let result = for_each("test", 2, &items, |item| match item {
            3 => Err(ClientError::Usage("three".into())),
            _ => {
                done.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(std::time::Duration::from_millis(1));
                Ok(())
            }
        });
        assert!(result.is_err());
        assert!(done.load(Ordering::Relaxed) < 500);
    }
}
