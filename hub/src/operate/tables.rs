//! The database's rows as JSON lines: `["table", value, …]`, byte strings as `{"hex": "…"}`.

use crate::db::{Db, Row, from_hex, parameters};
use crate::error::{Error, Result};
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Row as _};
use std::io::Write;

/// Types of columns: `t` TEXT, `i` BIGINT, `b` bytes.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Names with their types: `id:t`.
    pub(super) columns: &'static str,
}

/// All tables but those that only hold what is under way, in the order in which they refer to each other.
pub(super) const TABLES: [Table; 21] = [
    Table {
        name: "settings",
        columns: "name:t value:t",
    },
    Table {
        name: "accounts",
        columns: "id:t name:t folded:t kind:t full_name:t email:t password:t is_site_admin:i is_disabled:i created_ms:i quota:i",
    },
    Table {
        name: "members",
        columns: "org:t account:t role:t",
    },
    Table {
        name: "tokens",
        columns: "id:t account:t digest:t name:t role:t expires_ms:i created_ms:i",
    },
    Table {
        name: "token_grants",
        columns: "token:t target:t right_level:i",
    },
    Table {
        name: "repos",
        columns: "id:t kind:t owner:t namespace:t name:t folded:t created_by:t is_private:i gated:t downloads:i likes:i \
                  created_ms:i modified_ms:i card:t tags:t sdk:t git_bytes:i",
    },
    Table {
        name: "moved",
        columns: "kind:t folded:t repo:t",
    },
    Table {
        name: "repo_tags",
        columns: "repo:t tag:t",
    },
    Table {
        name: "commits",
        columns: "repo:t oid:t tree:t parent:t author:t title:t message:t date_s:i raw:b request:t",
    },
    Table {
        name: "refs",
        columns: "repo:t name:t target:t message:t",
    },
    Table {
        name: "tag_objects",
        columns: "repo:t name:t oid:t raw:b",
    },
    Table {
        name: "pull_requests",
        columns: "repo:t number:i title:t description:t author:t created_ms:i",
    },
    Table {
        name: "trees",
        columns: "oid:t raw:b facts:b",
    },
    Table {
        name: "blobs",
        columns: "oid:t size:i pack:t start:i",
    },
    Table {
        name: "lfs_objects",
        columns: "sha256:t size:i xet:t is_stored:i created_ms:i",
    },
    Table {
        name: "repo_lfs",
        columns: "repo:t sha256:t is_committed:i created_ms:i",
    },
    Table {
        name: "xorbs",
        columns: "hash:t size:i chunks:b created_ms:i",
    },
    Table {
        name: "xorb_owners",
        columns: "xorb:t account:t",
    },
    Table {
        name: "dedup_chunks",
        columns: "chunk:t xorb:t",
    },
    Table {
        name: "xet_files",
        columns: "hash:t size:i sha256:t terms:b created_ms:i",
    },
    Table {
        name: "file_xorbs",
        columns: "file:t xorb:t",
    },
];
/// The audit log comes with them, under its own name, since it is long.
const AUDIT: Table = Table {
    name: "audit",
    columns: "id:t at_ms:i actor:t token:t action:t target:t detail:t",
};

fn all() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(std::iter::once(&AUDIT))
}

impl Table {
    fn columns(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.columns
            .split_whitespace()
            .filter_map(|column| column.split_once(':'))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.columns().map(|column| column.0).collect();
        names.join(", ")
    }
}

/// Writes every row, as the database stands at one moment, and returns how many there are.
pub(super) async fn dump(db: &Db, to: &mut (dyn Write + Send)) -> Result<u64> {
    let mut snapshot = db.snapshot().await?;
    let mut count = 0;
    for table in all() {
        let text = AssertSqlSafe(format!("SELECT {} FROM {}", table.names(), table.name));
        let mut rows = sqlx::query(text).fetch(&mut *snapshot);
        while let Some(row) = rows.try_next().await? {
            let line = line(table, &row)?;
            writeln!(to, "{line}").map_err(Error::io("write the backup"))?;
            count += 1;
        }
    }
    to.flush().map_err(Error::io("write the backup"))?;
    Ok(count)
}

fn line(table: &Table, row: &Row) -> Result<Value> {
    let mut values = vec![json!(table.name)];
    for (index, (_, kind)) in table.columns().enumerate() {
        values.push(match kind {
            "i" => json!(row.try_get::<Option<i64>, _>(index)?),
            "b" => json!({"hex": hex::encode(&row.try_get::<Vec<u8>, _>(index)?)}),
            _ => json!(row.try_get::<Option<String>, _>(index)?),
        });
    }
    Ok(Value::Array(values))
}

/// One row of a backup.
#[derive(Debug)]
pub(super) struct Line {
    table: usize,
    values: Vec<Value>,
}

/// Reads a line.
pub(super) fn parse(line: &[u8]) -> Result<Line> {
    let bad = || {
        Error::Setup(
            "the backup's database.jsonl has a line that is no row; use another backup".to_owned(),
        )
    };
    let mut values: Vec<Value> = serde_json::from_slice(line).map_err(|_| bad())?;
    if values.is_empty() {
        return Err(bad());
    }
    let name = values.remove(0);
    let found = all().enumerate().find(|(_, table)| name == table.name);
    let (index, table) = found.ok_or_else(bad)?;
    let fits = |(value, (_, kind)): (&Value, (&str, &str))| match kind {
        "i" => value.is_null() || value.is_i64(),
        "b" => value["hex"]
            .as_str()
            .is_some_and(|text| from_hex(text).is_some()),
        _ => value.is_null() || value.is_string(),
    };
    let is_whole = values.len() == table.columns().count();
    if !is_whole || !values.iter().zip(table.columns()).all(fits) {
        return Err(bad());
    }
    Ok(Line {
        table: index,
        values,
    })
}

/// Writes rows into an empty database, all or none.
pub(super) async fn fill(db: &Db, lines: impl Iterator<Item = Result<Line>>) -> Result<u64> {
    let mut transaction = db.write().await?;
    // A new database has a signing key; that of the backup takes its place.
    sqlx::query("DELETE FROM settings")
        .execute(&mut *transaction)
        .await?;
    let mut count = 0;
    for line in lines {
        let line = line?;
        let Some(table) = all().nth(line.table) else {
            continue;
        };
        let text = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            table.name,
            table.names(),
            parameters(1, line.values.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(text));
        for (value, (_, kind)) in line.values.iter().zip(table.columns()) {
            query = match kind {
                "i" => query.bind(value.as_i64()),
                "b" => query.bind(value["hex"].as_str().and_then(from_hex)),
                _ => query.bind(value.as_str().map(str::to_owned)),
            };
        }
        query.execute(&mut *transaction).await?;
        count += 1;
    }
    transaction.commit().await?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A new column that is forgotten here would be lost by a backup.
    #[tokio::test]
    async fn every_column_is_in_a_backup() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!(
            "sqlite://{}?mode=rwc",
            folder.path().join("hub.db").display()
        );
        let db = Db::open(&url).await.unwrap();
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
        )
        .fetch_all(db.pool())
        .await
        .unwrap();
        let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (table, column) in rows {
            there.entry(table).or_default().push(column);
        }
        for passing in ["device_logins", "gc_marks", "rates", "schema_version"] {
            there.remove(passing).unwrap();
        }
        for table in all() {
            let mut columns: Vec<String> =
                table.columns().map(|column| column.0.to_owned()).collect();
            let mut expected = there.remove(table.name).unwrap();
            columns.sort();
            expected.sort();
            assert_eq!(columns, expected, "{}", table.name);
        }
        assert!(there.is_empty(), "{there:?}");
    }

    proptest! {
        #[test]
        fn no_line_panics(bytes in prop::collection::vec(any::<u8>(), 0..99), text in "\\[\"members\"(,(null|1|\"a\"|\\{\\})){0,4}\\]") {
            let _ = parse(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
