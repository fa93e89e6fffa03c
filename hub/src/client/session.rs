//! Which hub, and who asks: from the command line, the environment, or what `login` stored. Tokens lie where
//! huggingface_hub looks for them, so that a login of one is a login of the other.

use super::error::{ClientError, ClientResult};
use super::http::HttpOptions;
use super::hub::{HubClient, check_endpoint};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The hub that is asked when nothing says another.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";
/// Longest token, and largest file with one, bytes.
const TOKEN_LIMIT: u64 = 4096;
/// Largest file with logins, bytes.
const LOGINS_LIMIT: u64 = 1 << 20;

/// Variables of the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// Those of this process; what is not UTF-8 is left out.
    pub fn of_process() -> Self {
        let all = std::env::vars_os();
        let variables = all.filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self {
            variables: variables.collect(),
        }
    }

    /// Some.
    pub fn of<const N: usize>(variables: [(&str, String); N]) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value));
        Self {
            variables: variables.collect(),
        }
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name)?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// The folder that a variable names, or one in the home folder.
    fn folder(&self, name: &str, in_home: &str) -> ClientResult<PathBuf> {
        let named = self
            .get(name)
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute());
        let home = || Some(Path::new(self.get("HOME")?).join(in_home));
        let missing = || ClientError::Usage(format!("there is no home folder; set HOME or {name}"));
        named.or_else(home).ok_or_else(missing)
    }

    /// The file with the token that huggingface_hub uses.
    fn token_file(&self) -> ClientResult<PathBuf> {
        if let Some(file) = self.get("HF_TOKEN_PATH") {
            return Ok(PathBuf::from(file));
        }
        match self.get("HF_HOME") {
            Some(home) => Ok(Path::new(home).join("token")),
            None => Ok(self
                .folder("XDG_CACHE_HOME", ".cache")?
                .join("huggingface/token")),
        }
    }

    /// The file with our logins.
    fn logins_file(&self) -> ClientResult<PathBuf> {
        Ok(self
            .folder("XDG_CONFIG_HOME", ".config")?
            .join("sinew/hub.json"))
    }
}

/// What `login` stores.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Logins {
    /// The hub of the last login, asked unless told otherwise.
    endpoint: Option<String>,
    /// By endpoint.
    #[serde(default)]
    logins: BTreeMap<String, Login>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Login {
    user: String,
    token: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// A hub and who asks it.
pub struct Session {
    /// Its address.
    pub endpoint: String,
    token: Option<String>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Where a login was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Ours, with every hub's.
    pub logins: PathBuf,
    /// The one that huggingface_hub reads as well.
    pub token: PathBuf,
}

impl Session {
    /// The hub from `endpoint`, or else `HF_ENDPOINT`, or else the last login, or else huggingface.co; the token from
    /// `HF_TOKEN`, or else the login at that hub, or else huggingface_hub's file, unless its token is of a login at
    /// another hub.
    ///
    /// # Errors
    /// If the address is none, or what is stored cannot be read.
    pub fn of(environment: &Environment, endpoint: Option<&str>) -> ClientResult<Self> {
        let logins = Logins::read(environment)?;
        let named = endpoint.or_else(|| environment.get("HF_ENDPOINT"));
        let endpoint = named
            .or(logins.endpoint.as_deref())
            .unwrap_or(DEFAULT_ENDPOINT);
        let endpoint = check_endpoint(endpoint)?;
        let token = match environment
            .get("HF_TOKEN")
            .or_else(|| environment.get("HUGGING_FACE_HUB_TOKEN"))
        {
            Some(token) => Some(check_token(token)?),
            None => logins
                .token(&endpoint)
                .map_or_else(|| shared_token(environment, &logins), |own| Ok(Some(own)))?,
        };
        Ok(Self { endpoint, token })
    }

    /// A client for it.
    ///
    /// # Errors
    /// If the address is none.
    pub fn client(&self, options: HttpOptions) -> ClientResult<HubClient> {
        HubClient::new(&self.endpoint, self.token.clone(), options)
    }

    /// Stores a token that the hub has confirmed to be `user`'s, and makes that hub the one that is asked.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn store(
        environment: &Environment,
        endpoint: &str,
        user: &str,
        token: &str,
    ) -> ClientResult<Stored> {
        let token = check_token(token)?;
        let endpoint = check_endpoint(endpoint)?;
        let mut logins = Logins::read(environment)?;
        let login = Login {
            user: user.to_owned(),
            token: token.clone(),
        };
        logins.logins.insert(endpoint.clone(), login);
        logins.endpoint = Some(endpoint.clone());
        let stored = Stored {
            logins: environment.logins_file()?,
            token: environment.token_file()?,
        };
        let text = serde_json::to_string_pretty(&logins);
        let text = text.map_err(|e| ClientError::protocol("storing the login", e.to_string()))?;
        write_secret(&stored.logins, &text)?;
        keep_named(&stored.token, &endpoint, &token)?;
        write_secret(&stored.token, &token)?;
        Ok(stored)
    }
}

impl Logins {
    fn read(environment: &Environment) -> ClientResult<Self> {
        // Without a home folder there are no logins.
        let Ok(file) = environment.logins_file() else {
            return Ok(Self::default());
        };
        let Some(text) = read_small(&file, LOGINS_LIMIT)? else {
            return Ok(Self::default());
        };
        Self::parse(&text).map_err(|problem| {
            ClientError::Usage(format!(
                "{} is damaged ({problem}); remove it and log in again",
                file.display()
            ))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    fn token(&self, endpoint: &str) -> Option<String> {
        self.logins.get(endpoint).map(|login| login.token.clone())
    }
}

/// The token in huggingface_hub's file, unless it was given to us by another hub.
fn shared_token(environment: &Environment, logins: &Logins) -> ClientResult<Option<String>> {
    let Ok(file) = environment.token_file() else {
        return Ok(None);
    };
    let Some(text) = read_small(&file, TOKEN_LIMIT)? else {
        return Ok(None);
    };
    let token = text.trim();
    let is_foreign = logins.logins.values().any(|login| login.token == token);
    match token.is_empty() || is_foreign {
        true => Ok(None),
        false => check_token(token).map(Some),
    }
}

/// A token that can be sent: nothing in it that would end a header.
fn check_token(text: &str) -> ClientResult<String> {
    let text = text.trim();
    let is_fine = !text.is_empty()
        && text.len() <= TOKEN_LIMIT as usize
        && text.chars().all(|c| c.is_ascii_graphic());
    match is_fine {
        true => Ok(text.to_owned()),
        false => Err(ClientError::Usage(
            "the token is none: it has spaces or other characters that tokens do not have".into(),
        )),
    }
}

/// A text file, if it is there.
fn read_small(file: &Path, limit: u64) -> ClientResult<Option<String>> {
    let io = |e| ClientError::io(format!("read {}", file.display()), e);
    match fs::metadata(file) {
        Ok(known) if known.len() > limit => Err(ClientError::Usage(format!(
            "{} is larger than {limit} bytes; remove it",
            file.display()
        ))),
        Ok(_) => fs::read_to_string(file).map(Some).map_err(io),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(io(e)),
    }
}

/// Writes a file that only its owner may read, at once or not at all.
fn write_secret(file: &Path, text: &str) -> ClientResult<()> {
    let io = |e| ClientError::io(format!("write {}", file.display()), e);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = file.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut out = options.open(&new).map_err(io)?;
    let written = out.write_all(text.as_bytes()).and_then(|()| out.sync_all());
    let done = written.and_then(|()| fs::rename(&new, file));
    if done.is_err() {
        let _ = fs::remove_file(&new);
    }
    done.map_err(io)
}

/// Adds the token to those that `hf auth switch` knows by name, and the one that it replaces, which would be lost.
fn keep_named(token_file: &Path, endpoint: &str, token: &str) -> ClientResult<()> {
    let file = token_file.with_file_name("stored_tokens");
    let mut text = read_small(&file, LOGINS_LIMIT)?.unwrap_or_default();
    if let Some(before) = read_small(token_file, TOKEN_LIMIT)? {
        let before = before.trim();
        if !before.is_empty() && !text.contains(before) {
            text = with_token(&text, "before-sinew", before);
        }
    }
    let name: String = endpoint
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect();
    write_secret(&file, &with_token(&text, &name, token))
}

/// An INI text in which the section `name` has this token.
fn with_token(text: &str, name: &str, token: &str) -> String {
    let header = format!("[{name}]");
    let mut out = String::new();
    let mut is_inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            is_inside = trimmed == header;
        }
        if !is_inside {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.push_str(&format!("{header}\nhf_token = {token}\n\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn environment(home: &Path) -> Environment {
        Environment::of([("HOME", home.display().to_string())])
    }

    #[test]
    fn a_login_is_shared_with_huggingface_hub_and_kept_from_other_hubs() {
        let home = tempfile::tempdir().unwrap();
        let environment = environment(home.path());
        let token_file = home.path().join(".cache/huggingface/token");
        fs::create_dir_all(token_file.parent().unwrap()).unwrap();
        fs::write(&token_file, "hf_old\n").unwrap();
        let before = Session::of(&environment, None).unwrap();
        assert_eq!(
            (before.endpoint.as_str(), before.token.as_deref()),
            (DEFAULT_ENDPOINT, Some("hf_old"))
        );
        Session::store(&environment, "http://hub:8010/", "ada", "hf_new").unwrap();
        assert_eq!(fs::read_to_string(&token_file).unwrap(), "hf_new");
        let named = fs::read_to_string(token_file.with_file_name("stored_tokens")).unwrap();
        assert!(
            named.contains("[before-sinew]\nhf_token = hf_old"),
            "{named}"
        );
        assert!(
            named.contains("[http---hub-8010]\nhf_token = hf_new"),
            "{named}"
        );
        let now = Session::of(&environment, None).unwrap();
        assert_eq!(
            (now.endpoint.as_str(), now.token.as_deref()),
            ("http://hub:8010", Some("hf_new"))
        );
        let other = Session::of(&environment, Some("http://evil")).unwrap();
        assert_eq!(other.token, None);
        assert!(!format!("{now:?}").contains("hf_new"));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_what_is_stored() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let stored =
            Session::store(&environment(home.path()), "http://hub", "ada", "hf_x").unwrap();
        for file in [stored.logins, stored.token] {
            assert_eq!(
                fs::metadata(file).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }

    #[test]
    fn the_environment_comes_before_what_is_stored() {
        let home = tempfile::tempdir().unwrap();
        Session::store(&environment(home.path()), "http://hub", "ada", "hf_x").unwrap();
        let set = Environment::of([
            ("HOME", home.path().display().to_string()),
            ("HF_ENDPOINT", "http://other:1/".into()),
            ("HF_TOKEN", " hf_y ".into()),
        ]);
        let session = Session::of(&set, None).unwrap();
        assert_eq!(
            (session.endpoint.as_str(), session.token.as_deref()),
            ("http://other:1", Some("hf_y"))
        );
        assert_eq!(
            Session::of(&set, Some("http://third")).unwrap().endpoint,
            "http://third"
        );
        let wrong = Environment::of([("HF_TOKEN", "a\r\nb".into())]);
        assert!(Session::of(&wrong, None).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,200}", name in "[a-z]{1,5}") {
            let _ = Logins::parse(&text);
            let once = with_token(&text, &name, "hf_a");
            let twice = with_token(&once, &name, "hf_b");
            prop_assert_eq!(twice.matches(&format!("\n[{name}]\n")).count() + usize::from(twice.starts_with(&format!("[{name}]\n"))), 1);
        }
    }
}
