//! Cards: the YAML at the head of a README, and what is read from a repository's other files at commit.

use super::pending::Pending;
use super::refs::{AUTO_TAG, Ref};
use super::{Repo, refs};
use crate::accounts::Caller;
use crate::audit::{self, Event};
use crate::error::Result;
use crate::limits;
use serde_json::{Map, Value};
use sqlx::{Any, Transaction};
use std::collections::BTreeSet;

/// The YAML between the dashes at the head of a text, if there is any.
pub(crate) fn front_matter(text: &str) -> Option<&str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let rest = text.strip_prefix("---")?;
    let rest = rest
        .strip_prefix("\r\n")
        .or_else(|| rest.strip_prefix('\n'))?;
    let mut at = 0;
    for line in rest.split_inclusive('\n') {
        if line.trim_end() == "---" {
            return Some(&rest[..at]);
        }
        at += line.len();
    }
    None
}

/// A card's metadata.
///
/// # Errors
/// What is wrong, for its author.
pub(crate) fn parse(text: &str) -> std::result::Result<Map<String, Value>, String> {
    let Some(yaml) = front_matter(text) else {
        return Ok(Map::new());
    };
    if yaml.len() > limits::CARD {
        return Err("the metadata are larger than 1 MiB".to_owned());
    }
    if yaml.trim().is_empty() {
        return Ok(Map::new());
    }
    match serde_saphyr::from_str::<Value>(yaml) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("the metadata are no mapping of names to values".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Facets whose values become tags `facet:value`, and those that become tags by themselves.
const PREFIXED: [&str; 8] = [
    "license",
    "language",
    "task_categories",
    "task_ids",
    "size_categories",
    "annotations_creators",
    "base_model",
    "datasets",
];
const PLAIN: [&str; 3] = ["tags", "library_name", "pipeline_tag"];

/// The tags that a card gives a repository.
pub(crate) fn tags(card: &Map<String, Value>) -> BTreeSet<String> {
    let mut tags = BTreeSet::new();
    for (key, value) in card {
        let prefix = match key.as_str() {
            "base_model" => "base_model:",
            "datasets" => "dataset:",
            key if PLAIN.contains(&key) => "",
            key if PREFIXED.contains(&key) => {
                add(&mut tags, &format!("{key}:"), value);
                continue;
            }
            _ => continue,
        };
        add(&mut tags, prefix, value);
    }
    tags.into_iter()
        .filter(|tag| tag.len() <= 200)
        .take(200)
        .collect()
}

fn add(tags: &mut BTreeSet<String>, prefix: &str, value: &Value) {
    match value {
        Value::String(text) => {
            tags.insert(format!("{prefix}{text}"));
        }
        Value::Array(values) => {
            for value in values.iter().filter(|value| value.is_string()) {
                add(tags, prefix, value);
            }
        }
        _ => {}
    }
}

/// What the telling files of a commit say.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    card: Map<String, Value>,
    tags: BTreeSet<String>,
    /// Of a LeRobot data set.
    version: Option<String>,
}

/// Reads the card and the other telling files below a commit's tree.
pub(crate) async fn read(files: Pending<'_>, tree: &str) -> Result<Telling> {
    let readme = files.text(tree, "README.md").await?;
    let card = readme
        .and_then(|text| parse(&text).ok())
        .unwrap_or_default();
    let mut tags = tags(&card);
    let info = files.text(tree, "meta/info.json").await?;
    let version = info.as_deref().and_then(lerobot_version);
    if version.is_some() {
        tags.insert("LeRobot".to_owned());
    }
    Ok(Telling {
        card,
        tags,
        version,
    })
}

/// Notes what a new head of `main` says, with the head itself: whoever sees one sees the other.
pub(crate) async fn write(
    transaction: &mut Transaction<'static, Any>,
    caller: &Caller,
    repo: &Repo,
    commit: &str,
    telling: &Telling,
) -> Result<()> {
    if let Some(version) = &telling.version {
        tag_version(transaction, caller, repo, commit, version).await?;
    }
    store(transaction, repo, &telling.card, &telling.tags).await
}

/// The version that a LeRobot data set's description names.
fn lerobot_version(info: &str) -> Option<String> {
    let info: Value = serde_json::from_str(info).ok()?;
    let version = info.get("codebase_version")?.as_str()?;
    let digits = version.strip_prefix('v')?;
    let is_version = digits.len() <= 10
        && digits.contains('.')
        && digits
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    is_version.then(|| version.to_owned())
}

/// LeRobot refuses a data set without a tag of its version. Its own push sets the tag last, after steps that
/// need the internet, so a push may end before it; then the tag is ours to set, and to keep at the newest commit.
async fn tag_version(
    transaction: &mut Transaction<'static, Any>,
    caller: &Caller,
    repo: &Repo,
    commit: &str,
    version: &str,
) -> Result<()> {
    if repo.kind != super::names::Kind::Dataset {
        return Ok(());
    }
    let tag = Ref {
        name: format!("refs/tags/{version}"),
        target: commit.to_owned(),
    };
    if refs::insert(transaction, repo, &tag, AUTO_TAG).await? {
        let event = Event {
            action: "repo.ref.create",
            target: &repo.web_path(),
            detail: format!("{} {commit}", tag.name),
        };
        return audit::note(transaction, caller, event).await;
    }
    // Somebody else's stands.
    sqlx::query("UPDATE refs SET target = $1 WHERE repo = $2 AND name = $3 AND message = $4")
        .bind(tag.target)
        .bind(repo.id.clone())
        .bind(tag.name)
        .bind(AUTO_TAG.to_owned())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn store(
    transaction: &mut Transaction<'static, Any>,
    repo: &Repo,
    card: &Map<String, Value>,
    tags: &BTreeSet<String>,
) -> Result<()> {
    let tag_list: Vec<&String> = tags.iter().collect();
    sqlx::query("UPDATE repos SET card = $1, tags = $2 WHERE id = $3")
        .bind(Value::Object(card.clone()).to_string())
        .bind(serde_json::json!(tag_list).to_string())
        .bind(repo.id.clone())
        .execute(&mut **transaction)
        .await?;
    sqlx::query("DELETE FROM repo_tags WHERE repo = $1")
        .bind(repo.id.clone())
        .execute(&mut **transaction)
        .await?;
    let folded: BTreeSet<String> = tags.iter().map(|tag| super::names::fold(tag)).collect();
    for tag in folded {
        sqlx::query("INSERT INTO repo_tags (repo, tag) VALUES ($1, $2)")
            .bind(repo.id.clone())
            .bind(tag)
            .execute(&mut **transaction)
            .await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_card_gives_tags() {
        let card = parse("---\nlicense: mit\ntags:\n- LeRobot\n- so101\ntask_categories: [robotics]\n---\n# Hi\n").unwrap();
        let tags: Vec<String> = tags(&card).into_iter().collect();
        assert_eq!(
            tags,
            [
                "LeRobot",
                "license:mit",
                "so101",
                "task_categories:robotics"
            ]
        );
    }

    #[test]
    fn a_text_without_metadata_is_a_card() {
        assert_eq!(parse("# Hi\n---\n"), Ok(Map::new()));
        assert_eq!(parse("---\n---\n"), Ok(Map::new()));
        assert!(parse("---\na: [1\n---\n").is_err());
        assert!(parse("---\n- a\n---\n").is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_refused() {
        let mut text = String::from("---\na: &a [x,x,x,x,x,x,x,x,x]\n");
        for (now, before) in ('b'..='k').zip('a'..) {
            text.push_str(&format!(
                "{now}: &{now} [{}]\n",
                vec![format!("*{before}"); 9].join(",")
            ));
        }
        text.push_str("---\n");
        assert!(parse(&text).is_err());
    }

    #[test]
    fn only_versions_are_tagged() {
        assert_eq!(
            lerobot_version(r#"{"codebase_version":"v3.0"}"#).as_deref(),
            Some("v3.0")
        );
        assert_eq!(lerobot_version(r#"{"codebase_version":"v3.0/../x"}"#), None);
        assert_eq!(lerobot_version("[]"), None);
    }

    proptest! {
        #[test]
        fn no_card_panics(text in "(---\n)?[ -~\n]{0,200}(---\n)?") {
            let _ = parse(&text).map(|card| tags(&card));
        }
    }
}
