//! `sinew hub login`.

use super::args::Login;
use super::{Failure, Scene};
use crate::client::{HttpOptions, HubClient, Session};
use serde::Serialize;
use std::io::{BufRead, IsTerminal};

/// Longest line that is read as a token, bytes.
const LINE_LIMIT: u64 = 8192;

#[derive(Serialize)]
struct Report<'a> {
    endpoint: &'a str,
    user: &'a str,
    role: Option<&'a str>,
    organisations: Vec<&'a str>,
    token_file: String,
}

pub(super) fn login(args: &Login, scene: &mut Scene<'_>) -> Result<(), Failure> {
    // Whatever is stored for that hub is about to be replaced.
    let endpoint = Session::of(&scene.environment, args.hub.endpoint.as_deref())?.endpoint;
    let stranger = HubClient::new(&endpoint, None, HttpOptions::default())?;
    let token = match &args.token {
        Some(token) => token.trim().to_owned(),
        None => ask(&stranger, &endpoint)?,
    };
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Failure::Usage(
            "that is no token; make one with `sinew hub token add USER`, or on the hub's page"
                .into(),
        ));
    }
    let hub = HubClient::new(&endpoint, Some(token.clone()), HttpOptions::default())?;
    let me = hub.whoami()?;
    let stored = Session::store(&scene.environment, &endpoint, &me.name, &token)?;
    let report = Report {
        endpoint: &endpoint,
        user: &me.name,
        role: me.role(),
        organisations: me.orgs.iter().map(|org| org.name.as_str()).collect(),
        token_file: stored.token.display().to_string(),
    };
    if args.json {
        return scene.json(&report);
    }
    scene.say(&format!(
        "logged in to {endpoint} as {}; the token is in {}",
        super::text::shown(&me.name),
        stored.token.display()
    ))?;
    if scene
        .environment
        .get("HF_TOKEN")
        .is_some_and(|set| set != token)
    {
        scene.say("note: HF_TOKEN is set to another token, and goes before this one")?;
    }
    Ok(())
}

/// A token from stdin, or from the hub's page.
fn ask(hub: &HubClient, endpoint: &str) -> Result<String, Failure> {
    if !std::io::stdin().is_terminal() {
        return read_line();
    }
    let Some(login) = hub.begin_login()? else {
        return Err(Failure::Usage(format!(
            "{endpoint} has no page to log in with; give the token on stdin: sinew hub login < FILE"
        )));
    };
    let page = login
        .verification_uri_complete
        .as_ref()
        .unwrap_or(&login.verification_uri);
    eprintln!(
        "open {} and confirm the code {}",
        super::text::shown(page),
        super::text::shown(&login.user_code)
    );
    Ok(hub.finish_login(&login)?)
}

/// The first line of stdin.
pub(super) fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = std::io::Read::take(std::io::stdin().lock(), LINE_LIMIT).read_line(&mut line);
    read.map_err(|e| Failure::Failed(format!("cannot read stdin: {e}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
