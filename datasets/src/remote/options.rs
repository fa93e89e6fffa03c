//! Where the hub is, who asks, and how much memory and patience there is.

use crate::error::{Error, HubFault, Result};
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The hub that is asked when nothing else is said.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Longest token, bytes.
const TOKEN_LIMIT: u64 = 4096;

/// A secret that proves who asks. It never appears in messages.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token in this text; `None` if there is none or if it cannot be sent.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let printable = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
        printable.then(|| Self(text.to_owned()))
    }

    pub(super) fn header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// How a hub is read.
#[derive(Debug, Clone)]
pub struct HubOptions {
    /// Address of the hub, such as `https://huggingface.co`.
    pub endpoint: String,
    /// Sent to the hub itself and to nobody else.
    pub token: Option<Token>,
    /// Folder that keeps metadata, and blocks of other files if `disk_bytes` allows, by commit. It
    /// may be deleted whenever nobody reads.
    pub cache: PathBuf,
    /// Most bytes of data and video files that are kept in memory.
    pub memory_bytes: u64,
    /// Most bytes of each dataset's data and video files that are kept in `cache`; 0 for none.
    pub disk_bytes: u64,
    /// Most requests at once.
    pub connections: usize,
    /// How long a server may be silent, and how long connecting may take.
    pub patience: Duration,
    /// How often a request that failed for a passing reason is tried again.
    pub retries: u32,
    /// Wait before the first new try; each further one waits twice as long.
    pub backoff: Duration,
}

impl HubOptions {
    /// What the environment says, by the names that huggingface_hub uses: the hub from
    /// `HF_ENDPOINT`; the token from `HF_TOKEN`, or the file `HF_TOKEN_PATH`, or `$HF_HOME/token`.
    /// Metadata is kept in `$XDG_CACHE_HOME/sinew`, or else `~/.cache/sinew`.
    ///
    /// # Errors
    /// If there is no home folder and none of these variables takes its place.
    pub fn from_env() -> Result<Self> {
        let cache = folder("XDG_CACHE_HOME", ".cache")?;
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| DEFAULT_ENDPOINT.to_owned());
        Ok(Self {
            endpoint,
            token: find_token(&cache),
            cache: cache.join("sinew"),
            memory_bytes: 128 << 20,
            disk_bytes: 0,
            connections: 8,
            patience: Duration::from_secs(20),
            retries: 5,
            backoff: Duration::from_millis(500),
        })
    }
}

fn set(name: &str) -> Option<String> {
    let value = env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The folder that a variable names, or one in the home folder.
fn folder(name: &str, in_home: &str) -> Result<PathBuf> {
    let named = set(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = || env::home_dir().filter(|home| home.is_absolute());
    let found = named.or_else(|| Some(home()?.join(in_home)));
    found.ok_or_else(|| Error::Hub {
        place: "hub".into(),
        fault: HubFault::Cache,
        problem: format!("there is no home folder to keep metadata in; set {name}"),
    })
}

fn find_token(cache: &Path) -> Option<Token> {
    if let Some(token) = set("HF_TOKEN").and_then(|text| Token::new(&text)) {
        return Some(token);
    }
    let home = || set("HF_HOME").map_or_else(|| cache.join("huggingface"), PathBuf::from);
    let file = set("HF_TOKEN_PATH").map_or_else(|| home().join("token"), PathBuf::from);
    let size = fs::metadata(&file).ok()?.len();
    let text = (size <= TOKEN_LIMIT).then(|| fs::read_to_string(&file).ok())??;
    Token::new(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hide_themselves_and_hold_nothing_that_splits_a_header() {
        let token = Token::new(" hf_secret\n").unwrap();
        assert_eq!(token.header(), "Bearer hf_secret");
        assert!(!format!("{token:?}").contains("secret"));
        for wrong in ["", " \n", "a b", "a\r\nHost: evil", "ä"] {
            assert_eq!(Token::new(wrong), None, "{wrong:?}");
        }
    }
}
