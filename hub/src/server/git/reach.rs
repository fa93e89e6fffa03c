//! Which objects a client lacks: commits by walking parents, then what their trees lead to.

use super::packets::Fetch;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::repos::Repo;
use crate::repos::refs;
use crate::repos::trees::load_many;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A commit as git has it.
#[derive(Debug, Clone)]
pub(super) struct RawCommit {
    pub tree: String,
    pub raw: Vec<u8>,
}

/// Commits to be sent, and what the client is told about the edges of its history.
#[derive(Debug, Default)]
pub(super) struct Commits {
    pub send: Vec<RawCommit>,
    /// Ids of annotated tags to be sent.
    pub tags: Vec<String>,
    /// Of what the client has: what is known here.
    pub common: Vec<String>,
    /// Trees of those, which the client has with everything in them.
    common_trees: Vec<String>,
    pub shallow: Vec<String>,
    pub unshallow: Vec<String>,
}

impl Commits {
    pub(super) async fn find(db: &Db, repo: &Repo, request: &Fetch) -> Result<Self> {
        let all = History::load(db, repo).await?;
        let mut tags = Tags::list(db, repo, request, &all).await?;
        let wants = tags.peel(&request.wants);
        if let Some(unknown) = wants.iter().find(|oid| !all.0.contains_key(*oid)) {
            return Err(Error::refused(404, format!("there is no commit {unknown}")));
        }
        let mut found = Self::default();
        let known = request.haves.iter().filter(|oid| all.0.contains_key(*oid));
        found.common = known.cloned().collect();
        let edges: HashSet<&str> = request.shallow.iter().map(String::as_str).collect();
        let has = all.ancestors(&found.common, &edges);
        let trees = found.common.iter().filter_map(|oid| all.0.get(oid));
        found.common_trees = trees.map(|commit| commit.0.clone()).collect();
        let mut wanted = all.wanted(wants, request.depth, &has);
        if request.depth.is_some() {
            found.shallow = wanted.edges.drain(..).collect();
            let deeper = edges.iter().filter(|oid| wanted.inner.contains(**oid));
            found.unshallow = deeper.map(|oid| (*oid).to_owned()).collect();
        }
        if request.includes_tags {
            tags.add_on(&wanted.send);
        }
        found.tags = tags.send.into_iter().collect();
        found.send = read_commits(db, repo, &wanted.send).await?;
        Ok(found)
    }
}

/// Annotated tags of a fetch.
#[derive(Default)]
struct Tags {
    /// All of the repository, with the commits that they are on.
    all: BTreeMap<String, String>,
    /// Ids of those that are sent.
    send: BTreeSet<String>,
}

impl Tags {
    /// Lists them if the request has a use for them.
    async fn list(db: &Db, repo: &Repo, request: &Fetch, all: &History) -> Result<Self> {
        let mut found = Self::default();
        if request.includes_tags || request.wants.iter().any(|oid| !all.0.contains_key(oid)) {
            let listed = refs::all(db, repo).await?;
            let tags = listed
                .into_iter()
                .filter_map(|one| Some((one.tag?, one.target)));
            found.all = tags.collect();
        }
        Ok(found)
    }

    /// Takes the tags among what is wanted, and returns the commits that are wanted then.
    fn peel(&mut self, wants: &[String]) -> Vec<String> {
        let mut commits = Vec::with_capacity(wants.len());
        for oid in wants {
            match self.all.get(oid) {
                Some(commit) => {
                    self.send.insert(oid.clone());
                    commits.push(commit.clone());
                }
                None => commits.push(oid.clone()),
            }
        }
        commits
    }

    /// Takes the tags on these commits.
    fn add_on(&mut self, commits: &[String]) {
        let commits: HashSet<&String> = commits.iter().collect();
        let on = self
            .all
            .iter()
            .filter(|(_, commit)| commits.contains(commit));
        self.send.extend(on.map(|(oid, _)| oid.clone()));
    }
}

/// Tree and parents of every commit of a repository.
struct History(HashMap<String, (String, Vec<String>)>);

#[derive(Default)]
struct Walked {
    send: Vec<String>,
    /// Commits whose parents are cut off.
    edges: Vec<String>,
    /// Commits whose parents are wanted too.
    inner: HashSet<String>,
}

impl History {
    async fn load(db: &Db, repo: &Repo) -> Result<Self> {
        let rows: Vec<(String, String, Option<String>)> =
            sqlx::query_as("SELECT oid, tree, parent FROM commits WHERE repo = $1")
                .bind(repo.id.clone())
                .fetch_all(db.pool())
                .await?;
        let commits = rows.into_iter().map(|(oid, tree, parents)| {
            // A merge's parents stand in one column, apart by spaces.
            let parents = parents.unwrap_or_default();
            let parents = parents.split_whitespace().map(str::to_owned).collect();
            (oid, (tree, parents))
        });
        Ok(Self(commits.collect()))
    }

    fn parents(&self, oid: &str) -> &[String] {
        self.0.get(oid).map_or(&[], |commit| commit.1.as_slice())
    }

    /// These commits and all before them; not beyond `edges`.
    fn ancestors(&self, from: &[String], edges: &HashSet<&str>) -> HashSet<String> {
        let mut seen: HashSet<String> = HashSet::new();
        let mut open: Vec<String> = from.to_vec();
        while let Some(oid) = open.pop() {
            if !edges.contains(oid.as_str()) {
                open.extend(
                    self.parents(&oid)
                        .iter()
                        .filter(|oid| !seen.contains(*oid))
                        .cloned(),
                );
            }
            seen.insert(oid);
        }
        seen
    }

    /// What is wanted and not there, generation by generation.
    fn wanted(&self, wants: Vec<String>, most: Option<usize>, has: &HashSet<String>) -> Walked {
        let mut walked = Walked::default();
        let mut seen: HashSet<String> = HashSet::new();
        let mut level = wants;
        let mut depth = 0;
        while !level.is_empty() {
            depth += 1;
            let is_last = most == Some(depth);
            let mut next = Vec::new();
            for oid in level {
                // Without a depth, what the client has leads nowhere new.
                if !seen.insert(oid.clone()) || (most.is_none() && has.contains(&oid)) {
                    continue;
                }
                let parents = self.parents(&oid);
                if is_last && !parents.is_empty() {
                    walked.edges.push(oid.clone());
                } else {
                    walked.inner.insert(oid.clone());
                    next.extend(parents.iter().cloned());
                }
                if !has.contains(&oid) {
                    walked.send.push(oid);
                }
            }
            level = if is_last { Vec::new() } else { next };
        }
        walked
    }
}

async fn read_commits(db: &Db, repo: &Repo, oids: &[String]) -> Result<Vec<RawCommit>> {
    let head = "SELECT tree, raw FROM commits WHERE repo = $1 AND oid IN";
    let rows = db.in_list(head, "", &[&repo.id], oids).await?;
    let mut commits = Vec::new();
    for row in rows {
        commits.push(RawCommit {
            tree: row.try_get("tree")?,
            raw: row.try_get("raw")?,
        });
    }
    Ok(commits)
}

/// Trees and blobs to be sent.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub trees: Vec<String>,
    pub blobs: Vec<String>,
}

impl Objects {
    pub(super) async fn find(db: &Db, commits: &Commits) -> Result<Self> {
        let mut seen = HashSet::new();
        descend(db, commits.common_trees.clone(), &mut seen).await?;
        let roots = commits
            .send
            .iter()
            .map(|commit| commit.tree.clone())
            .collect();
        descend(db, roots, &mut seen).await
    }
}

/// Everything below trees that was not seen before.
async fn descend(db: &Db, roots: Vec<String>, seen: &mut HashSet<String>) -> Result<Objects> {
    let mut found = Objects::default();
    let mut level = roots;
    while !level.is_empty() {
        level.retain(|oid| seen.insert(oid.clone()));
        let mut next = Vec::new();
        for part in level.chunks(64) {
            for entries in load_many(db, part).await?.into_values() {
                for entry in entries {
                    if entry.is_folder() {
                        next.push(entry.oid);
                    } else if seen.insert(entry.oid.clone()) {
                        found.blobs.push(entry.oid);
                    }
                }
            }
        }
        found.trees.append(&mut level);
        level = next;
    }
    Ok(found)
}
