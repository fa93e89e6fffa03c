//! Which episode of one dataset is which of the other.
//!
//! First those whose rows are equal, wherever they stand. Then those that share rows, or columns of
//! rows: an episode that was trimmed shares all rows that are left, one whose actions were changed
//! shares its states. Then, if both have equally many episodes, those that stand at the same place and
//! are equally long. What is left is only in one of them.

use super::Both;
use crate::error::Result;
use crate::reader::Dataset;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Part of an episode's different rows that must be in the other for them to be one.
const SHARED: f64 = 0.5;
/// Episodes that may hold a row before it says nothing: arms rest in the same pose.
const COMMON_ROW: usize = 16;
/// Rows of unmatched episodes that are remembered.
const ROW_LIMIT: u64 = 2 << 20;

/// A matched episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) a: usize,
    pub(super) b: usize,
    /// Whether the rows are known to be equal.
    pub(super) same_rows: bool,
}

/// Who is who.
#[derive(Debug, Default)]
pub(super) struct Matching {
    /// In the order of `a`.
    pub(super) pairs: Vec<Pair>,
    pub(super) only_a: Vec<u64>,
    pub(super) only_b: Vec<u64>,
    pub(super) moved: Vec<(u64, u64)>,
}

impl Matching {
    pub(super) fn of(both: &mut Both, notes: &mut Vec<String>) -> Result<Self> {
        let (count_a, count_b) = (both.a.episodes().len(), both.b.episodes().len());
        let mut open = Open {
            a: (0..count_a).collect(),
            b: (0..count_b).collect(),
            pairs: Vec::new(),
        };
        for episode in 0..count_a.min(count_b) {
            if same_place(both, episode)? {
                open.pair(episode, episode, true);
            }
        }
        equal_rows(both, &mut open)?;
        shared_rows(both, &mut open, notes)?;
        if count_a == count_b {
            let length = |set: &Dataset, at: usize| set.episodes()[at].length;
            let alike =
                |at: &usize| open.b.contains(at) && length(&both.a, *at) == length(&both.b, *at);
            let alike: Vec<usize> = open.a.iter().copied().filter(alike).collect();
            alike.into_iter().for_each(|at| open.pair(at, at, false));
        }
        open.pairs.sort_by_key(|p| p.a);
        let places: Vec<usize> = open.pairs.iter().map(|p| p.b).collect();
        let in_order = longest_rising(&places);
        let strays = open.pairs.iter().zip(in_order).filter(|(_, fits)| !fits);
        Ok(Self {
            moved: strays.map(|(p, _)| (p.a as u64, p.b as u64)).collect(),
            pairs: open.pairs,
            only_a: open.a.iter().map(|at| *at as u64).collect(),
            only_b: open.b.iter().map(|at| *at as u64).collect(),
        })
    }
}

/// Episodes that are not matched yet, in order, and those that are.
#[derive(Debug)]
struct Open {
    a: std::collections::BTreeSet<usize>,
    b: std::collections::BTreeSet<usize>,
    pairs: Vec<Pair>,
}

impl Open {
    fn pair(&mut self, a: usize, b: usize, same_rows: bool) {
        self.a.remove(&a);
        self.b.remove(&b);
        self.pairs.push(Pair { a, b, same_rows });
    }
}

/// Whether an episode stands in the same rows of data files with the same bytes.
fn same_place(both: &mut Both, episode: usize) -> Result<bool> {
    let (a, b) = (&both.a.episodes()[episode], &both.b.episodes()[episode]);
    let same_rows = (a.from_index, a.to_index) == (b.from_index, b.to_index);
    let features = |d: &Dataset| -> Vec<(String, Vec<u64>)> {
        let all = d.info().features.iter();
        all.map(|(n, f)| (n.to_owned(), f.shape.clone())).collect()
    };
    // Numbers of tasks mean the same only in the same table.
    let alike = both.a.tasks() == both.b.tasks() && features(&both.a) == features(&both.b);
    if !same_rows || !alike {
        return Ok(false);
    }
    let path_a = both.a.root().join(both.a.info().data_file(a.data)?);
    let path_b = both.b.root().join(both.b.info().data_file(b.data)?);
    both.files.same(&path_a, &path_b)
}

/// Pairs the episodes whose rows are equal; of several equal ones the first with the first.
fn equal_rows(both: &Both, open: &mut Open) -> Result<()> {
    if open.a.is_empty() || open.b.is_empty() {
        return Ok(());
    }
    let mut by_rows: HashMap<u64, VecDeque<usize>> = HashMap::new();
    for at in &open.b {
        let print = fingerprint(&both.b, *at, &both.common)?;
        by_rows.entry(print).or_default().push_back(*at);
    }
    for at in open.a.clone() {
        let print = fingerprint(&both.a, at, &both.common)?;
        let Some(equal) = by_rows.get_mut(&print) else {
            continue;
        };
        // An episode that kept its place is rather the same than one elsewhere.
        let place = equal.iter().position(|b| *b == at).unwrap_or(0);
        if let Some(other) = equal.remove(place) {
            open.pair(at, other, true);
        }
    }
    Ok(())
}

/// A number for all rows of an episode.
fn fingerprint(dataset: &Dataset, episode: usize, common: &[String]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    dataset.episodes()[episode].length.hash(&mut hasher);
    for name in stored(dataset, common) {
        dataset.row_hashes(episode as u64, name)?.hash(&mut hasher);
    }
    super::rows::tasks(dataset, episode as u64)?.hash(&mut hasher);
    Ok(hasher.finish())
}

/// The features that are kept in parquet files.
fn stored<'a>(dataset: &Dataset, common: &'a [String]) -> Vec<&'a str> {
    let video = |name: &str| {
        dataset
            .info()
            .features
            .get(name)
            .is_none_or(|f| f.is_video())
    };
    let all = common.iter().map(String::as_str);
    all.filter(|name| !video(name)).collect()
}

/// Pairs the episodes that share enough rows of one feature, those that share most first.
fn shared_rows(both: &Both, open: &mut Open, notes: &mut Vec<String>) -> Result<()> {
    let rows = |set: &Dataset, open: &mut dyn Iterator<Item = &usize>| {
        open.map(|at| set.episodes()[*at].length)
            .fold(0, u64::saturating_add)
    };
    let total = rows(&both.a, &mut open.a.iter()).saturating_add(rows(&both.b, &mut open.b.iter()));
    if open.a.is_empty() || open.b.is_empty() {
        return Ok(());
    }
    if total > ROW_LIMIT {
        notes.push(format!(
            "{} and {} episodes are not the same; they are too long to look for shared rows",
            open.a.len(),
            open.b.len()
        ));
        return Ok(());
    }
    let mut best: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for name in stored(&both.a, &both.common) {
        // Times are the same in every episode.
        if name == "timestamp" {
            continue;
        }
        let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
        let mut distinct_a: HashMap<usize, usize> = HashMap::new();
        for at in &open.a {
            let rows: HashSet<u64> = both.a.row_hashes(*at as u64, name)?.into_iter().collect();
            distinct_a.insert(*at, rows.len());
            rows.into_iter()
                .for_each(|row| holders.entry(row).or_default().push(*at));
        }
        for other in &open.b {
            let rows: HashSet<u64> = both
                .b
                .row_hashes(*other as u64, name)?
                .into_iter()
                .collect();
            let mut shared: HashMap<usize, usize> = HashMap::new();
            let known = rows.iter().filter_map(|row| holders.get(row));
            for holder in known.filter(|h| h.len() <= COMMON_ROW).flatten() {
                *shared.entry(*holder).or_default() += 1;
            }
            for (at, count) in shared {
                let smaller = rows.len().min(distinct_a[&at]);
                // A value that never changes is no sign.
                if smaller > 1 {
                    let part = count as f64 / smaller as f64;
                    let known = best.entry((at, *other)).or_default();
                    *known = known.max(part);
                }
            }
        }
    }
    let mut candidates: Vec<((usize, usize), f64)> = best.into_iter().collect();
    candidates.retain(|(_, part)| *part >= SHARED);
    candidates.sort_by(|((a, b), part), ((c, d), other)| {
        let far = |a: &usize, b: &usize| a.abs_diff(*b);
        other.total_cmp(part).then(far(a, b).cmp(&far(c, d)))
    });
    for ((a, b), _) in candidates {
        if open.a.contains(&a) && open.b.contains(&b) {
            open.pair(a, b, false);
        }
    }
    Ok(())
}

/// Which of the numbers belong to a longest rising subsequence.
fn longest_rising(numbers: &[usize]) -> Vec<bool> {
    // Of the rising subsequences of each length the one with the smallest end, by place.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(numbers.len());
    for (place, number) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end] < *number);
        before.push(length.checked_sub(1).map(|l| ends[l]));
        match ends.get_mut(length) {
            Some(end) => *end = place,
            None => ends.push(place),
        }
    }
    let mut belongs = vec![false; numbers.len()];
    let mut next = ends.last().copied();
    while let Some(place) = next {
        belongs[place] = true;
        next = before[place];
    }
    belongs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_rising_subsequence_stays() {
        let belongs = longest_rising(&[3, 0, 1, 2, 5, 4]);
        assert_eq!(belongs, [false, true, true, true, false, true]);
        assert_eq!(longest_rising(&[]), Vec::<bool>::new());
        assert_eq!(longest_rising(&[2, 1]).iter().filter(|b| **b).count(), 1);
    }
}
