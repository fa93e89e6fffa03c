//! `meta/tasks.parquet`: the task sentences, numbered by their row.

use crate::error::{Error, Result};
use crate::files::{Files, LocalFiles, ReadAt};
use crate::table;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The file, inside the dataset.
pub(crate) const TASKS_PATH: &str = "meta/tasks.parquet";
/// More sentences than any dataset has.
const TASK_LIMIT: usize = 1_000_000;

/// Task sentences in `task_index` order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tasks(Vec<String>);

impl Tasks {
    /// Where the file is, under the dataset's root.
    pub fn path(root: &Path) -> PathBuf {
        root.join(TASKS_PATH)
    }

    /// Sentences by number.
    pub(crate) fn of(sentences: Vec<String>) -> Self {
        Self(sentences)
    }

    /// Number of `task`, which is added if it is new; and whether it is.
    pub(crate) fn number(&mut self, task: &str) -> (u64, bool) {
        if let Some(known) = self.0.iter().position(|t| t == task) {
            return (known as u64, false);
        }
        self.0.push(task.to_owned());
        (self.0.len() as u64 - 1, true)
    }

    /// The sentences, by number.
    pub fn sentences(&self) -> &[String] {
        &self.0
    }

    /// Writes the table with the metadata by which pandas makes `task` the index.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let schema = Schema::new(vec![
            Field::new("task_index", DataType::Int64, true),
            Field::new("task", DataType::Utf8, true),
        ])
        .with_metadata([("pandas".to_owned(), pandas_metadata())]);
        let numbers = Int64Array::from_iter_values(0..self.0.len() as i64);
        let sentences = StringArray::from_iter_values(&self.0);
        let batch = table::batch(path, schema, vec![Arc::new(numbers), Arc::new(sentences)])?;
        table::write(path, &batch, &[("pandas", pandas_metadata())])
    }

    /// Reads the table; rows must be in `task_index` order, as LeRobot looks them up by position.
    pub fn read(root: &Path) -> Result<Self> {
        Self::read_from(root, &LocalFiles::new(root))
    }

    /// As [`Self::read`], from `files`; `root` is the dataset's name in messages.
    pub(crate) fn read_from(root: &Path, files: &dyn Files) -> Result<Self> {
        let path = Self::path(root);
        let file = files
            .open(Path::new(TASKS_PATH))
            .map_err(Error::io("open", &path))?;
        Self::read_file(&path, file)
    }

    /// As [`Self::read`], from a file that is open. `path` is for messages.
    pub(crate) fn read_file(path: &Path, file: Arc<dyn ReadAt>) -> Result<Self> {
        let mut tasks = Self::default();
        table::read_from(path, file, |_| true, |batch| tasks.add(path, batch))?;
        Ok(tasks)
    }

    fn add(&mut self, path: &Path, batch: &RecordBatch) -> Result<()> {
        let numbers = table::integers(path, batch, "task_index")?;
        // Writers with an unnamed pandas index leave this name.
        let sentences = match batch.column_by_name("task") {
            Some(column) => column,
            None => table::column(path, batch, "__index_level_0__")?,
        };
        for (row, number) in numbers.iter().enumerate() {
            if *number != self.0.len() as i64 || self.0.len() >= TASK_LIMIT {
                return Err(Error::corrupt(
                    path,
                    format!("row {} has task_index {number}", self.0.len()),
                ));
            }
            self.0.push(table::text(path, sentences, row)?);
        }
        Ok(())
    }
}

fn pandas_metadata() -> String {
    let column = |name: &str, pandas: &str, numpy: &str| json!({"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": null});
    json!({
        "index_columns": ["task"],
        "column_indexes": [{"name": null, "field_name": null, "pandas_type": "unicode",
            "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "attributes": {},
        "creator": {"library": "sinew", "version": env!("CARGO_PKG_VERSION")},
        "pandas_version": "2.0.0",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_survive_a_round_trip() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("meta")).unwrap();
        let mut tasks = Tasks::default();
        assert_eq!(tasks.number("pick the cube"), (0, true));
        assert_eq!(tasks.number("Würfel ablegen"), (1, true));
        assert_eq!(tasks.number("pick the cube"), (0, false));
        tasks.write(&Tasks::path(dir.path())).unwrap();
        assert_eq!(Tasks::read(dir.path()).unwrap(), tasks);
    }
}
