//! What a file in a repository may be called: one rule for the server, which refuses to store anything else, and
//! for the client, which refuses to write anything else to a disk.

/// Longest path in a repository, bytes.
pub(crate) const PATH_LIMIT: usize = 1024;

/// What is wrong with a path, as the end of a sentence that begins with it.
pub(crate) fn problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > PATH_LIMIT {
        return Some("is longer than 1024 bytes");
    }
    path.split('/').find_map(part_problem)
}

fn part_problem(part: &str) -> Option<&'static str> {
    let is_control =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match part {
        "" => Some("has an empty part; write it without leading, doubled and trailing slashes"),
        "." | ".." => Some("has a part '.' or '..'"),
        _ if part.len() > 255 => Some("has a part longer than 255 bytes"),
        _ if part.contains('\\') => Some("has a backslash; use '/'"),
        _ if part.chars().any(is_control) => Some("has control characters"),
        _ if is_git_folder(part) => Some("has a part that means git's own folder"),
        _ if is_device(part) => Some("has a part that is a device on some systems"),
        _ => None,
    }
}

/// `.git` in any spelling that some file system takes for it.
fn is_git_folder(part: &str) -> bool {
    let plain: String = part
        .chars()
        .filter(|c| !matches!(c, '\u{200b}'..='\u{200f}' | '\u{feff}'))
        .collect();
    let plain = plain.trim_end_matches(['.', ' ']).to_lowercase();
    plain == ".git" || plain == "git~1" || plain.starts_with(".git:")
}

/// Windows' device names, with or without an ending.
fn is_device(part: &str) -> bool {
    let stem = part
        .split('.')
        .next()
        .unwrap_or(part)
        .trim_end()
        .to_lowercase();
    let numbered = |head: &str| {
        stem.strip_prefix(head)
            .is_some_and(|n| n.len() == 1 && matches!(n.as_bytes()[0], b'1'..=b'9'))
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}
