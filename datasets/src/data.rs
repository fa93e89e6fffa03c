//! One episode's rows, and the parquet file that they become.

use crate::episodes::lists_of;
use crate::error::{Error, Result};
use crate::features::{ACTION, DEFAULT_FEATURES, STATE};
use crate::journal::RowRecord;
use crate::journal::stream::StreamFile;
use crate::spec::{DatasetSpec, ExtraType};
use crate::stats::{FeatureStats, Stats};
use crate::table::TableWriter;
use crate::values::Values;
use arrow_array::builder::BinaryBuilder;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, StringArray, StructArray};
use arrow_schema::{DataType, Field, Fields, Schema};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// Rows whose pictures are in memory at a time.
const PICTURE_ROWS: usize = 64;
/// A row group with pictures ends when it has this many bytes: what a writer holds, and a quarter of
/// what a reader takes.
const GROUP_BYTES: usize = 256 << 20;

/// One feature's column.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    /// Lengths of its dimensions; `[1]` for a single value.
    shape: Vec<usize>,
    values: Values,
}

impl Column {
    fn new(name: &str, shape: Vec<usize>, values: Values) -> Self {
        Self {
            name: name.to_owned(),
            shape,
            values,
        }
    }

    fn width(&self) -> usize {
        self.shape.iter().product()
    }

    /// LeRobot stores one-entry features as plain columns, vectors as fixed-size lists and what has
    /// more dimensions as lists of lists.
    fn array(&self, path: &Path) -> Result<ArrayRef> {
        let mut array = self.values.array();
        if self.width() == 1 && self.shape.len() == 1 {
            return Ok(array);
        }
        let broken =
            |e: &dyn std::fmt::Display| Error::corrupt(path, format!("column {}: {e}", self.name));
        if let [width] = self.shape[..] {
            let element = Arc::new(Field::new("element", array.data_type().clone(), true));
            let width = i32::try_from(width).map_err(|e| broken(&e))?;
            let list = FixedSizeListArray::try_new(element, width, array, None);
            return Ok(Arc::new(list.map_err(|e| broken(&e))?));
        }
        for length in self.shape.iter().rev() {
            array = lists_of(path, array, *length)?;
        }
        Ok(array)
    }

    /// The type description that HF `datasets` keeps in the file.
    fn hf_type(&self) -> Value {
        let dtype = self.values.dtype().name();
        let value = json!({"dtype": dtype, "_type": "Value"});
        match self.shape[..] {
            [1] => value,
            [width] => json!({"feature": value, "length": width, "_type": "List"}),
            _ => {
                let kind = format!("Array{}D", self.shape.len());
                json!({"shape": self.shape, "dtype": dtype, "_type": kind})
            }
        }
    }

    fn stats(&self) -> Option<FeatureStats> {
        let numbers = self.values.numbers()?;
        // Of a matrix, LeRobot takes the values with the same place on the last axis together.
        let last = self.shape.last().copied().unwrap_or(1).max(1);
        let mut stats = FeatureStats::of_rows(&numbers, last);
        stats.count = numbers.len().checked_div(self.width()).unwrap_or(0) as u64;
        Some(stats)
    }
}

/// The rows of one episode in memory: some hundred bytes each, a few MB for an hour.
#[derive(Debug)]
pub(crate) struct EpisodeRows {
    /// State, action and the extra columns.
    columns: Vec<Column>,
    /// Sentences in the order of their first row.
    tasks: Vec<String>,
    /// Each row's place in `tasks`.
    task_of: Vec<u32>,
    /// Place of the task of the rows to come.
    task: u32,
}

/// A camera whose pictures go into the parquet file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PictureColumn<'a> {
    pub(crate) key: &'a str,
    /// The pictures, as many as there are rows.
    pub(crate) pictures: &'a StreamFile,
    /// Ending of the pictures' names, `png`.
    pub(crate) ending: &'a str,
}

/// What the default columns need to know about an episode.
#[derive(Debug, Clone)]
pub(crate) struct Numbering {
    pub(crate) episode: u64,
    pub(crate) first_index: u64,
    /// The dataset's numbers of the episode's tasks.
    pub(crate) tasks: Vec<u64>,
    pub(crate) fps: u32,
}

impl EpisodeRows {
    pub(crate) fn new(spec: &DatasetSpec, task: &str) -> Self {
        let joints = |name: &str, names: &[String]| {
            Column::new(name, vec![names.len()], Values::none(ExtraType::Float32))
        };
        let mut columns = vec![
            joints(STATE, &spec.state_names),
            joints(ACTION, &spec.action_names),
        ];
        columns.extend(spec.extras.iter().map(|extra| {
            let shape = extra.shape.iter().map(|n| *n as usize).collect();
            Column::new(&extra.name, shape, Values::none(extra.dtype))
        }));
        Self {
            columns,
            tasks: vec![task.to_owned()],
            task_of: Vec::new(),
            task: 0,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.task_of.len() as u64
    }

    /// The tasks of the rows, in the order of their first row.
    pub(crate) fn tasks(&self) -> Vec<String> {
        let mut seen = Vec::new();
        for place in &self.task_of {
            if !seen.contains(place) {
                seen.push(*place);
            }
        }
        let task = |place: u32| self.tasks.get(place as usize).cloned();
        seen.into_iter().filter_map(task).collect()
    }

    /// The task of the rows to come.
    pub(crate) fn task(&self) -> &str {
        &self.tasks[self.task as usize]
    }

    /// Sets the task of the rows to come.
    pub(crate) fn set_task(&mut self, task: &str) {
        let known = self.tasks.iter().position(|t| t == task);
        let place = known.unwrap_or_else(|| {
            self.tasks.push(task.to_owned());
            self.tasks.len() - 1
        });
        self.task = place as u32;
    }

    /// What of a row does not fit, in words.
    pub(crate) fn problem(&self, row: &RowRecord) -> Option<String> {
        let columns = self.columns.len();
        if row.values.len() != columns {
            return Some(format!(
                "values for {} extra columns; there are {}",
                row.values.len().saturating_sub(2),
                columns.saturating_sub(2)
            ));
        }
        let mut pairs = self.columns.iter().zip(&row.values);
        pairs.find_map(|(column, values)| {
            values.problem(&column.name, column.values.dtype(), column.width())
        })
    }

    /// Appends a row that [`Self::problem`] has nothing against.
    pub(crate) fn push(&mut self, row: &RowRecord) {
        for (column, values) in self.columns.iter_mut().zip(&row.values) {
            column.values.extend(values);
        }
        self.task_of.push(self.task);
    }

    /// Keeps the first `rows` rows.
    pub(crate) fn truncate(&mut self, rows: u64) {
        let rows = rows as usize;
        self.task_of.truncate(rows);
        for column in &mut self.columns {
            let width = column.width();
            column.values.truncate(rows * width);
        }
    }

    /// The five default columns.
    fn default_columns(&self, numbering: &Numbering) -> Vec<Column> {
        let rows = self.len() as i64;
        let values = |name: &str| match name {
            // Synthetic on purpose: LeRobot finds video frames by it.
            "timestamp" => {
                let time = |i: i64| (i as f64 / f64::from(numbering.fps)) as f32;
                Values::F32((0..rows).map(time).collect())
            }
            "frame_index" => Values::I64((0..rows).collect()),
            "index" => {
                let first = numbering.first_index as i64;
                Values::I64((first..first + rows).collect())
            }
            "episode_index" => Values::I64(vec![numbering.episode as i64; rows as usize]),
            _ => {
                let number = |place: &u32| numbering.tasks.get(*place as usize).copied();
                let numbers = self.task_of.iter().map(number);
                Values::I64(numbers.map(|n| n.unwrap_or(0) as i64).collect())
            }
        };
        DEFAULT_FEATURES
            .iter()
            .map(|(name, _)| Column::new(name, vec![1], values(name)))
            .collect()
    }

    /// The dataset's numbers of all sentences that rows refer to; `number` gives and, if need be,
    /// makes one.
    pub(crate) fn number_tasks(&self, mut number: impl FnMut(&str) -> u64) -> Vec<u64> {
        let used = |place: usize| self.task_of.contains(&(place as u32));
        let tasks = self.tasks.iter().enumerate();
        tasks
            .map(|(place, task)| if used(place) { number(task) } else { 0 })
            .collect()
    }

    /// Writes the episode's data file, flushed, and returns the statistics of its columns.
    pub(crate) fn write(
        &self,
        path: &Path,
        numbering: &Numbering,
        pictures: &[PictureColumn<'_>],
    ) -> Result<Stats> {
        let (own, defaults) = (&self.columns, self.default_columns(numbering));
        let (vectors, extras) = own.split_at(2.min(own.len()));
        let numeric: Vec<&Column> = vectors.iter().chain(extras).chain(&defaults).collect();
        let (mut fields, mut arrays, mut types) = (Vec::new(), Vec::new(), Map::new());
        for (place, column) in numeric.iter().enumerate() {
            if place == vectors.len() {
                // Cameras stand between the vectors and the rest.
                for camera in pictures {
                    fields.push(Field::new(camera.key, picture_type(), true));
                    types.insert(camera.key.to_owned(), json!({"_type": "Image"}));
                }
            }
            let array = column.array(path)?;
            fields.push(Field::new(&column.name, array.data_type().clone(), true));
            types.insert(column.name.clone(), column.hf_type());
            arrays.push(array);
        }
        let hf = json!({"info": {"features": types}}).to_string();
        let schema = Schema::new(fields).with_metadata([("huggingface".to_owned(), hf.clone())]);
        let mut writer = TableWriter::create(path, Arc::new(schema), &[("huggingface", hf)])?;
        let rows = self.task_of.len();
        let at_a_time = if pictures.is_empty() {
            rows.max(1)
        } else {
            PICTURE_ROWS
        };
        for start in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - start);
            let mut columns: Vec<ArrayRef> = arrays.iter().map(|a| a.slice(start, count)).collect();
            let cameras = pictures
                .iter()
                .map(|camera| camera.array(path, start, count))
                .collect::<Result<Vec<_>>>()?;
            columns.splice(vectors.len()..vectors.len(), cameras);
            let batch = writer.batch(path, columns)?;
            writer.write(&batch)?;
            if writer.pending_bytes() > GROUP_BYTES {
                writer.end_group()?;
            }
        }
        writer.finish()?;
        let stats = numeric
            .iter()
            .filter_map(|c| Some((c.name.clone(), c.stats()?)));
        Ok(Stats(stats.collect()))
    }
}

impl PictureColumn<'_> {
    /// HF's image type: the encoded bytes, and the name that the file had in LeRobot.
    fn array(&self, path: &Path, start: usize, count: usize) -> Result<ArrayRef> {
        let mut bytes = BinaryBuilder::new();
        for number in start..start + count {
            bytes.append_value(self.pictures.read(number as u64)?);
        }
        let names = (start..start + count).map(|n| format!("frame-{n:06}.{}", self.ending));
        let names = StringArray::from_iter_values(names);
        let columns: Vec<ArrayRef> = vec![Arc::new(bytes.finish()), Arc::new(names)];
        let cells = StructArray::try_new(picture_fields(), columns, None);
        let cells = cells.map_err(|e| Error::corrupt(path, format!("{}: {e}", self.key)))?;
        Ok(Arc::new(cells))
    }
}

fn picture_fields() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

fn picture_type() -> DataType {
    DataType::Struct(picture_fields())
}
