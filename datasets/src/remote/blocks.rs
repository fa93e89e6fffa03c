//! Files in blocks: each is fetched once, kept while there is room, and waited for while somebody
//! else fetches it.

use super::disk::Disk;
use super::hub::Hub;
use super::object::Object;
use crate::error::Result;
use crate::reader::cache::ByteCache;
use bytes::Bytes;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Size of a block, bytes: as much as a line of 25 Mbit/s brings in the 20 ms that a request takes.
pub(super) const BLOCK_BYTES: u64 = 64 << 10;
/// Most blocks of one request; more are asked for side by side.
const RUN_BLOCKS: u64 = 64;
/// Blocks that are here already and that a request may bring again so as to save another request.
const GAP_BLOCKS: u64 = 2;

/// A file of the dataset by number, and the number of a block in it.
type Key = (u32, u64);

/// The blocks of a dataset's files.
#[derive(Debug)]
pub(super) struct Blocks {
    kept: ByteCache<Key, Bytes>,
    /// Blocks that are being fetched.
    flying: Mutex<HashSet<Key>>,
    landed: Condvar,
    disk: Option<Disk>,
}

/// Blocks that this thread fetches. They are free again when it has done so or failed.
struct Claim<'a> {
    blocks: &'a Blocks,
    file: u32,
    numbers: Vec<u64>,
}

impl Blocks {
    /// Keeps at most `limit` bytes in memory.
    pub(super) fn new(limit: u64, disk: Option<Disk>) -> Self {
        Self {
            kept: ByteCache::new(limit),
            flying: Mutex::default(),
            landed: Condvar::new(),
            disk,
        }
    }

    /// Blocks `wanted` of an object, which is the dataset's file number `file`.
    pub(super) fn get(
        &self,
        hub: &Hub,
        file: u32,
        object: &Object,
        wanted: Range<u64>,
    ) -> Result<BTreeMap<u64, Bytes>> {
        let mut found = BTreeMap::new();
        loop {
            let claim = self.claim(file, wanted.clone(), &mut found);
            if !claim.numbers.is_empty() {
                found.extend(self.fetch(hub, object, &claim)?);
            } else if found.len() as u64 == wanted.end - wanted.start {
                return Ok(found);
            } else {
                drop(claim);
                self.wait(file, &wanted, &found);
            }
        }
    }

    /// Brings blocks in, unless they are here or on their way.
    pub(super) fn bring(
        &self,
        hub: &Hub,
        file: u32,
        object: &Object,
        wanted: Range<u64>,
    ) -> Result<()> {
        let claim = self.claim(file, wanted, &mut BTreeMap::new());
        self.fetch(hub, object, &claim).map(drop)
    }

    fn flying(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.flying.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the blocks that are here to `found` and claims those that nobody fetches yet.
    fn claim(&self, file: u32, wanted: Range<u64>, found: &mut BTreeMap<u64, Bytes>) -> Claim<'_> {
        let mut flying = self.flying();
        let mut numbers = Vec::new();
        for number in wanted
            .filter(|n| !found.contains_key(n))
            .collect::<Vec<_>>()
        {
            if let Some(block) = self.kept.get(&(file, number)) {
                found.insert(number, block);
            } else if flying.insert((file, number)) {
                numbers.push(number);
            }
        }
        Claim {
            blocks: self,
            file,
            numbers,
        }
    }

    /// Waits until one of the blocks that others fetch has landed, or failed to.
    fn wait(&self, file: u32, wanted: &Range<u64>, found: &BTreeMap<u64, Bytes>) {
        let missing = wanted.clone().filter(|n| !found.contains_key(n));
        let missing: Vec<Key> = missing.map(|number| (file, number)).collect();
        let all_fly = |flying: &mut HashSet<Key>| missing.iter().all(|key| flying.contains(key));
        let woken = self.landed.wait_while(self.flying(), all_fly);
        drop(woken.unwrap_or_else(PoisonError::into_inner));
    }

    /// Fetches what is claimed, in few requests.
    fn fetch(&self, hub: &Hub, object: &Object, claim: &Claim<'_>) -> Result<Vec<(u64, Bytes)>> {
        let mut found = self.read_disk(object, claim);
        let missing = claim.numbers.iter().copied();
        let missing: Vec<u64> = missing
            .filter(|number| found.iter().all(|(n, _)| n != number))
            .collect();
        let mut runs = runs(&missing).into_iter();
        let Some(first) = runs.next() else {
            return Ok(found);
        };
        let mut outcome = Ok(());
        std::thread::scope(|scope| {
            let mut others = Vec::new();
            let mut own = vec![first];
            for run in runs {
                let builder = std::thread::Builder::new().name("sinew-fetch".into());
                let work = {
                    let run = run.clone();
                    move || self.fetch_run(hub, object, claim.file, run)
                };
                match builder.spawn_scoped(scope, work) {
                    Ok(thread) => others.push(thread),
                    // No thread to be had: this one does the work.
                    Err(_) => own.push(run),
                }
            }
            let own = own.into_iter();
            let own: Vec<_> = own
                .map(|run| self.fetch_run(hub, object, claim.file, run))
                .collect();
            let others = others.into_iter().filter_map(|thread| thread.join().ok());
            for result in own.into_iter().chain(others) {
                match result {
                    Ok(blocks) => found.extend(blocks),
                    Err(error) => outcome = Err(error),
                }
            }
        });
        outcome.map(|()| found)
    }

    /// What is claimed and lies on the disk.
    fn read_disk(&self, object: &Object, claim: &Claim<'_>) -> Vec<(u64, Bytes)> {
        let Some(disk) = &self.disk else {
            return Vec::new();
        };
        let numbers = claim.numbers.iter();
        let found = numbers.filter_map(|number| {
            let start = number * BLOCK_BYTES;
            let length = BLOCK_BYTES.min(object.size() - start);
            let block = disk.get(object.path(), *number, length as usize)?;
            self.kept.put((claim.file, *number), block.clone(), length);
            Some((*number, block))
        });
        found.collect()
    }

    fn fetch_run(
        &self,
        hub: &Hub,
        object: &Object,
        file: u32,
        run: Range<u64>,
    ) -> Result<Vec<(u64, Bytes)>> {
        let start = run.start * BLOCK_BYTES;
        let end = (run.end * BLOCK_BYTES).min(object.size());
        let bytes = object.fetch(hub, start..end)?;
        let mut found = Vec::new();
        for (number, chunk) in (run.start..).zip(bytes.chunks(BLOCK_BYTES as usize)) {
            // Each its own allocation, so that the cache frees what it drops.
            let block = Bytes::copy_from_slice(chunk);
            self.kept
                .put((file, number), block.clone(), chunk.len() as u64);
            if let Some(disk) = &self.disk {
                disk.put(object.path(), number, chunk);
            }
            found.push((number, block));
        }
        Ok(found)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if self.numbers.is_empty() {
            return;
        }
        let mut flying = self.blocks.flying();
        for number in &self.numbers {
            flying.remove(&(self.file, *number));
        }
        drop(flying);
        self.blocks.landed.notify_all();
    }
}

/// Groups ascending block numbers into requests.
fn runs(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if number - run.end <= GAP_BLOCKS && number + 1 - run.start <= RUN_BLOCKS => {
                run.end = number + 1;
            }
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn neighbours_share_a_request() {
        assert_eq!(runs(&[0, 1, 2, 5, 9]), [0..6, 9..10]);
        assert_eq!(
            runs(&(0..130).collect::<Vec<_>>()),
            [0..64, 64..128, 128..130]
        );
        assert!(runs(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn every_block_is_asked_for_once(wanted in prop::collection::btree_set(0_u64..400, 0..80)) {
            let numbers: Vec<u64> = wanted.iter().copied().collect();
            let runs = runs(&numbers);
            prop_assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(runs.iter().all(|run| run.end - run.start <= RUN_BLOCKS));
            for number in numbers {
                prop_assert_eq!(runs.iter().filter(|run| run.contains(&number)).count(), 1);
            }
        }
    }
}
