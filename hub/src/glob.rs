//! Patterns for paths: `*`, `?`, `[…]`. Source: git's documentation, `gitignore`, and Python's `fnmatch`, which differ in
//! whether a star stops at slashes.

/// Whether stars and question marks stop at slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stars {
    /// As git has it; `**` does not stop, and `**/` also stands for no folder at all.
    #[cfg_attr(
        not(feature = "server"),
        allow(dead_code, reason = "only the server reads git's patterns")
    )]
    Stop,
    /// As huggingface_hub's options have it.
    #[cfg_attr(
        not(feature = "client"),
        allow(dead_code, reason = "only the client has such options")
    )]
    Cross,
}

/// Whether a pattern means the whole of a text. Runs in time of the product of both lengths, and a set's.
pub(crate) fn glob(pattern: &[u8], text: &[u8], stars: Stars) -> bool {
    let may_stop = stars == Stars::Stop;
    let mut reach = vec![false; text.len() + 1];
    reach[0] = true;
    let mut rest = pattern;
    while !rest.is_empty() {
        let mut next = vec![false; text.len() + 1];
        let used = if may_stop && rest.starts_with(b"**/") {
            for end in 0..=text.len() {
                let is_border = end == 0 || text[end - 1] == b'/';
                next[end] = reach[end] || (is_border && reach[..=end].contains(&true));
            }
            3
        } else if rest[0] == b'*' {
            let is_deep = !may_stop || rest.starts_with(b"**");
            let mut open = false;
            for end in 0..=text.len() {
                open = reach[end] || (open && (is_deep || text[end - 1] != b'/'));
                next[end] = open;
            }
            if rest.starts_with(b"**") { 2 } else { 1 }
        } else {
            let (one, used) = One::read(rest);
            for end in 1..=text.len() {
                let byte = text[end - 1];
                next[end] = reach[end - 1] && one.fits(byte, may_stop);
            }
            used
        };
        reach = next;
        rest = &rest[used..];
    }
    reach[text.len()]
}

/// What stands for one byte.
enum One<'a> {
    Literal(u8),
    Any,
    /// The bytes between the brackets.
    Set {
        bytes: &'a [u8],
        is_negated: bool,
    },
}

impl<'a> One<'a> {
    /// Reads it from the front of a pattern that is not empty, with how long it is there.
    fn read(pattern: &'a [u8]) -> (Self, usize) {
        match pattern {
            [b'\\', escaped, ..] => (Self::Literal(*escaped), 2),
            [b'?', ..] => (Self::Any, 1),
            [b'[', rest @ ..] => Self::set(rest).unwrap_or((Self::Literal(b'['), 1)),
            [plain, ..] => (Self::Literal(*plain), 1),
            [] => (Self::Any, 0),
        }
    }

    /// A set, after its bracket; `None` when it does not end.
    fn set(rest: &'a [u8]) -> Option<(Self, usize)> {
        let is_negated = matches!(rest.first(), Some(b'!' | b'^'));
        let start = usize::from(is_negated);
        // A bracket that comes first is one of the bytes.
        let end = rest
            .get(start + 1..)?
            .iter()
            .position(|&byte| byte == b']')?;
        let bytes = rest.get(start..start + 1 + end)?;
        Some((Self::Set { bytes, is_negated }, start + end + 3))
    }

    fn fits(&self, byte: u8, may_stop: bool) -> bool {
        let is_open = !may_stop || byte != b'/';
        match self {
            Self::Literal(literal) => *literal == byte,
            Self::Any => is_open,
            Self::Set { bytes, is_negated } => is_open && in_set(bytes, byte) != *is_negated,
        }
    }
}

/// Whether a byte is one of a set with ranges: `a-z_`.
fn in_set(mut bytes: &[u8], byte: u8) -> bool {
    while let [first, rest @ ..] = bytes {
        if let [b'-', last, after @ ..] = rest {
            if (*first..=*last).contains(&byte) {
                return true;
            }
            bytes = after;
        } else {
            if *first == byte {
                return true;
            }
            bytes = rest;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_cross_slashes_where_huggingface_hub_has_them() {
        for (pattern, path, expected) in [
            ("*.bin", "a/b.bin", true),
            ("data/*", "data/a/b", true),
            ("data/*", "other/data/a", false),
            ("a?c", "a/c", true),
            ("file-00[0-4].mp4", "file-003.mp4", true),
            ("file-00[0-4].mp4", "file-005.mp4", false),
            ("[!a]x", "bx", true),
            ("[!a]x", "ax", false),
            ("[]]", "]", true),
            ("[", "[", true),
            ("[a-", "[a-", true),
            ("", "", true),
        ] {
            let found = glob(pattern.as_bytes(), path.as_bytes(), Stars::Cross);
            assert_eq!(found, expected, "{pattern} {path}");
        }
        assert!(!glob(b"a[./]b", b"a/b", Stars::Stop));
    }

    proptest! {
        #[test]
        fn nothing_panics(pattern in "[a-c*?!/\\[\\]\\\\-]{0,20}", text in "[a-c/]{0,20}") {
            for stars in [Stars::Stop, Stars::Cross] {
                let _ = glob(pattern.as_bytes(), text.as_bytes(), stars);
            }
        }

        #[test]
        fn what_means_itself_matches(text in "[a-z/._-]{0,40}") {
            prop_assert!(glob(text.as_bytes(), text.as_bytes(), Stars::Stop));
            prop_assert!(glob(b"*", text.as_bytes(), Stars::Cross));
        }
    }
}
