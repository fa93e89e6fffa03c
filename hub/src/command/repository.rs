//! `sinew hub create | ls | rm`.

use super::args::{Create, Ls, RepoType, Rm, Where};
use super::text::{bytes, count, shown};
use super::{Failure, Scene};
use crate::client::{
    Change, Content, Entry, HttpOptions, HubClient, Kind, Message, RepoHead, RepoId, RepoName,
    Session,
};
use serde::Serialize;
use serde_json::json;

/// The hub that is meant, as the user.
pub(super) fn client(scene: &Scene<'_>, hub: &Where) -> Result<HubClient, Failure> {
    let session = Session::of(&scene.environment, hub.endpoint.as_deref())?;
    Ok(session.client(HttpOptions::default())?)
}

/// A name with the type that `--type` gives it.
pub(super) fn with_type(name: &RepoName, kind: Option<RepoType>) -> Result<RepoName, Failure> {
    let named = kind.map(Kind::from);
    match (name.kind, named) {
        (Some(own), Some(named)) if own != named => Err(Failure::Usage(format!(
            "{name} is named a {own}, but --type says {named}"
        ))),
        _ => Ok(RepoName {
            kind: name.kind.or(named),
            ..name.clone()
        }),
    }
}

pub(super) fn create(args: &Create, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let hub = client(scene, &args.hub)?;
    let name = with_type(&args.repo, args.kind)?;
    let repo = RepoId {
        kind: name.kind.unwrap_or(Kind::Model),
        name: name.full(),
    };
    let is_new = hub.create_repo(&repo, args.private)?;
    if !is_new && !args.exist_ok {
        return Err(Failure::Usage(format!(
            "{repo} is on {} already",
            hub.endpoint()
        )));
    }
    if args.json {
        return scene.json(&json!({
            "repository": repo.name, "type": repo.kind.singular(), "endpoint": hub.endpoint(), "is_new": is_new,
        }));
    }
    scene.say(&format!(
        "{repo} {} on {}",
        if is_new { "made" } else { "was there" },
        hub.endpoint()
    ))
}

/// A file or folder, for scripts.
#[derive(Serialize)]
struct Line<'a> {
    path: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    size: u64,
    git_oid: Option<&'a str>,
    sha256: Option<&'a str>,
    xet_hash: Option<String>,
}

impl<'a> From<&'a Entry> for Line<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (git_oid, sha256) = match &entry.content {
            Content::Git(oid) => (Some(oid.as_str()), None),
            Content::Sha256(oid) => (None, Some(oid.as_str())),
        };
        Self {
            path: &entry.path,
            kind: if entry.is_folder { "folder" } else { "file" },
            size: entry.size,
            git_oid,
            sha256,
            xet_hash: entry.xet.map(|name| name.to_string()),
        }
    }
}

pub(super) fn ls(args: &Ls, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let hub = client(scene, &args.hub)?;
    match &args.repo {
        Some(text) if text.contains('/') => {
            let name = with_type(&text.parse()?, args.kind)?;
            ls_files(args, &hub, &name, scene)
        }
        author => ls_repos(args, &hub, author.as_deref(), scene),
    }
}

fn ls_files(
    args: &Ls,
    hub: &HubClient,
    name: &RepoName,
    scene: &mut Scene<'_>,
) -> Result<(), Failure> {
    let head = hub.find(name, &args.revision)?;
    let folder = args.path.as_deref().unwrap_or_default().trim_matches('/');
    let mut entries = match hub.tree(&head.repo, &head.commit, folder, args.recursive) {
        Err(error) if error.is_missing_entry() && !folder.is_empty() => {
            // Not a folder: perhaps a file.
            let found = hub.paths_info(&head.repo, &head.commit, &[folder.to_owned()])?;
            match found.is_empty() {
                true => return Err(error.into()),
                false => found,
            }
        }
        listed => listed?,
    };
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if args.json {
        let files: Vec<Line<'_>> = entries.iter().map(Line::from).collect();
        return scene.json(&json!({
            "repository": head.repo.name, "type": head.repo.kind.singular(), "commit": head.commit, "files": files,
        }));
    }
    for entry in &entries {
        match entry.is_folder {
            true => scene.say(&format!("{:>10}  {}/", "", shown(&entry.path)))?,
            false => scene.say(&format!(
                "{:>10}  {}",
                bytes(entry.size),
                shown(&entry.path)
            ))?,
        }
    }
    Ok(())
}

fn ls_repos(
    args: &Ls,
    hub: &HubClient,
    author: Option<&str>,
    scene: &mut Scene<'_>,
) -> Result<(), Failure> {
    let author = match author {
        Some(author) => author.to_owned(),
        None => hub.whoami()?.name,
    };
    let kinds = match args.kind {
        Some(kind) => vec![Kind::from(kind)],
        None => Kind::ALL.to_vec(),
    };
    let mut all = Vec::new();
    for kind in kinds {
        let found = hub.list_repos(kind, &author)?;
        all.extend(found.into_iter().map(|repo| (kind, repo)));
    }
    if args.json {
        let lines: Vec<_> = all
            .iter()
            .map(|(kind, repo)| {
                json!({
                    "repository": repo.id, "type": kind.singular(), "private": repo.private,
                    "last_modified": repo.last_modified, "tags": repo.tags,
                })
            })
            .collect();
        return scene.json(&lines);
    }
    for (kind, repo) in &all {
        let private = if repo.private { "  private" } else { "" };
        scene.say(&format!(
            "{:<8}{}{private}",
            kind.singular(),
            shown(&repo.id)
        ))?;
    }
    Ok(())
}

pub(super) fn rm(args: &Rm, scene: &mut Scene<'_>) -> Result<(), Failure> {
    let hub = client(scene, &args.hub)?;
    let name = with_type(&args.repo, args.kind)?;
    if args.paths.is_empty() && !args.repository {
        return Err(Failure::Usage(format!(
            "say which files of {name} to remove, or --repository to delete all of it with its history"
        )));
    }
    let head = hub.find(&name, &args.revision)?;
    if args.repository {
        hub.delete_repo(&head.repo)?;
        return match args.json {
            true => scene
                .json(&json!({"repository": head.repo.name, "type": head.repo.kind.singular()})),
            false => scene.say(&format!("{} deleted from {}", head.repo, hub.endpoint())),
        };
    }
    let changes = deletions(args, &hub, &head)?;
    let title = format!("Remove {}", count(changes.len() as u64, "path"));
    let message = Message {
        title: args.message.clone().unwrap_or(title),
        ..Message::default()
    };
    let done = hub.commit(&head.repo, &args.revision, &message, &changes)?;
    match args.json {
        true => scene.json(&json!({
            "repository": head.repo.name, "commit": done.commit, "url": done.url, "removed": args.paths,
        })),
        false => scene.say(&format!("{} removed from {}", count(changes.len() as u64, "path"), head.repo)),
    }
}

/// The paths as changes: what is not there is named, and then nothing is removed.
fn deletions(args: &Rm, hub: &HubClient, head: &RepoHead) -> Result<Vec<Change>, Failure> {
    let paths: Vec<String> = args
        .paths
        .iter()
        .map(|path| path.trim_matches('/').to_owned())
        .collect();
    let found = hub.paths_info(&head.repo, &head.commit, &paths)?;
    let change = |path: &String| {
        let entry = found.iter().find(|entry| entry.path == *path);
        match entry.map(|entry| entry.is_folder) {
            Some(true) => Ok(Change::DeleteFolder(path.clone())),
            Some(false) => Ok(Change::Delete(path.clone())),
            None => Err(Failure::Usage(format!(
                "{} has no {path}; nothing was removed",
                head.repo
            ))),
        }
    };
    paths.iter().map(change).collect()
}
