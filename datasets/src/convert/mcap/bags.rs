//! Which MCAP files an input is made of.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// Files looked at in one folder.
const FOLDER_LIMIT: usize = 100_000;

/// The MCAP files of each bag in `input`, in order: of a file, of a rosbag2 folder, or of a folder
/// of files or rosbag2 folders, each of which is a bag.
///
/// # Errors
/// [`Error::Convert`] if there are none, with what to do about other kinds of bags.
pub(crate) fn bags(input: &Path) -> Result<Vec<Vec<PathBuf>>> {
    if input.is_file() {
        check_kind(input)?;
        return Ok(vec![vec![input.to_owned()]]);
    }
    let own = mcaps(input)?;
    if !own.is_empty() {
        // A bag that was split, or files that stand for themselves.
        let together = input.join("metadata.yaml").exists();
        return Ok(if together {
            vec![own]
        } else {
            own.into_iter().map(|file| vec![file]).collect()
        });
    }
    let mut all = Vec::new();
    for folder in entries(input)?.into_iter().filter(|path| path.is_dir()) {
        let files = mcaps(&folder)?;
        if !files.is_empty() {
            all.push(files);
        }
    }
    if all.is_empty() {
        return Err(Error::convert(
            input,
            "it holds no MCAP files; give an .mcap file, a rosbag2 folder, or a folder of these",
        ));
    }
    Ok(all)
}

/// The MCAP files in a folder.
fn mcaps(folder: &Path) -> Result<Vec<PathBuf>> {
    let files: Vec<PathBuf> = entries(folder)?
        .into_iter()
        .filter(|path| path.is_file())
        .collect();
    let found: Vec<PathBuf> = files
        .iter()
        .filter(|path| has_ending(path, "mcap"))
        .cloned()
        .collect();
    if found.is_empty() {
        files.iter().try_for_each(|file| check_kind(file))?;
    }
    Ok(found)
}

/// Refuses bags in formats that are not read, with the way out.
fn check_kind(file: &Path) -> Result<()> {
    let refuse = |problem: &str| Err(Error::convert(file, problem));
    if has_ending(file, "db3") {
        return refuse(
            "SQLite bags are not read; make an MCAP bag of it with `ros2 bag convert -i BAG -o options.yaml` (storage_id: mcap), or with `rosbags-convert --src BAG --dst NEW --dst-storage mcap`",
        );
    }
    if has_ending(file, "zstd") || has_ending(file, "zst") {
        return refuse("decompress the file first, with `zstd -d`");
    }
    if has_ending(file, "bag") {
        return refuse(
            "ROS 1 bags are not read; make a ROS 2 bag of it with `rosbags-convert --src BAG --dst NEW --dst-storage mcap`",
        );
    }
    Ok(())
}

fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case(ending))
}

/// What is in a folder, in the order of people: `bag_2` before `bag_10`.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = std::fs::read_dir(folder).map_err(Error::io("list", folder))?;
    let mut all = list
        .take(FOLDER_LIMIT)
        .map(|entry| entry.map(|e| e.path()).map_err(Error::io("list", folder)))
        .collect::<Result<Vec<_>>>()?;
    all.sort_by_cached_key(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        sortable(&name)
    });
    Ok(all)
}

/// A name with its numbers in front of as many zeros as any has.
fn sortable(name: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    for c in name.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            out.push_str(&format!("{digits:0>24}"));
            digits.clear();
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    #[test]
    fn inputs_become_bags() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for number in [10, 2, 1] {
            touch(&root.join(format!("day/bag_{number}/bag_{number}_0.mcap")));
        }
        let found = bags(&root.join("day")).unwrap();
        let names: Vec<_> = found
            .iter()
            .map(|b| b[0].file_stem().unwrap().to_owned())
            .collect();
        assert_eq!(names, ["bag_1_0", "bag_2_0", "bag_10_0"]);
        for number in [10, 9] {
            touch(&root.join(format!("split/split_{number}.mcap")));
        }
        assert_eq!(bags(&root.join("split")).unwrap().len(), 2);
        touch(&root.join("split/metadata.yaml"));
        let found = bags(&root.join("split")).unwrap();
        assert_eq!((found.len(), found[0].len()), (1, 2));
        assert!(found[0][0].ends_with("split_9.mcap"));
    }

    #[test]
    fn other_kinds_of_bags_are_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        for (file, word) in [
            ("a/a_0.db3", "ros2 bag convert"),
            ("b/b_0.mcap.zstd", "zstd -d"),
            ("c/c.bag", "rosbags-convert"),
        ] {
            let path = dir.path().join(file);
            touch(&path);
            for input in [&path, path.parent().unwrap()] {
                let error = bags(input).unwrap_err().to_string();
                assert!(error.contains(word), "{error}");
            }
        }
        assert!(bags(&dir.path().join("none")).is_err());
    }
}
