//! Several frames at once, for a training batch.

use super::items::Reader;
use super::value::Item;
use crate::error::{Error, Result};

impl Reader {
    /// The frames with the dataset-wide numbers `indices`, in that order, read by up to `threads`
    /// threads side by side. Frames near each other in time share one thread and what it decodes.
    ///
    /// # Errors
    /// As for [`Self::get`], for the first frame of `indices` that cannot be read.
    pub fn get_many(&self, indices: &[u64], threads: usize) -> Result<Vec<Item>> {
        let threads = threads.min(indices.len());
        if threads < 2 {
            return indices.iter().map(|index| self.get(*index)).collect();
        }
        let mut order: Vec<usize> = (0..indices.len()).collect();
        order.sort_by_key(|position| indices[*position]);
        let mut found: Vec<Option<Result<Item>>> = indices.iter().map(|_| None).collect();
        let read = |positions: &[usize]| -> Vec<(usize, Result<Item>)> {
            let one = |p: &usize| (*p, self.read(indices[*p], false));
            positions.iter().map(one).collect()
        };
        let mut shares = order.chunks(order.len().div_ceil(threads));
        let own = shares.next().unwrap_or_default();
        let read = &read;
        std::thread::scope(|scope| -> Result<()> {
            let mut running = Vec::new();
            for share in shares {
                let builder = std::thread::Builder::new().name("sinew-batch".into());
                // Without a thread to be had, the rest is read below, by this one.
                if let Ok(thread) = builder.spawn_scoped(scope, move || read(share)) {
                    running.push(thread);
                }
            }
            let mut keep = |(position, item): (usize, Result<Item>)| found[position] = Some(item);
            read(own).into_iter().for_each(&mut keep);
            for thread in running {
                let items = thread.join().map_err(|_| Error::Thread {
                    problem: "a reading thread panicked".into(),
                })?;
                items.into_iter().for_each(&mut keep);
            }
            Ok(())
        })?;
        let all = found.into_iter().zip(indices);
        all.map(|(item, index)| item.unwrap_or_else(|| self.read(*index, false)))
            .collect()
    }
}
