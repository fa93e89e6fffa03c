//! The values of an episode, on their way from messages back into a data file.

use super::arrays;
use super::scan::Channel;
use super::topics::UNITS_KEY;
use super::units::Unit;
use crate::error::{Error, Result};
use crate::features::Feature;
use crate::fsio;
use crate::info::Info;
use crate::reader::batch::nested;
use crate::reader::value::Numbers;
use crate::table;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float32Array, Float64Array, Int8Array, Int16Array,
    Int32Array, Int64Array, StringArray, StructArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array, make_array,
};
use arrow_schema::{DataType, Field, Schema};
use sinew_runtime::ros::messages::{CompressedImageMsg, JointStateMsg, Message, StringMsg};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A feature's values.
pub(super) struct Column {
    values: Values,
    /// Numbers in a row.
    width: usize,
    pub(super) rows: u64,
    /// Whether a row is missing; what follows is of no use.
    broken: bool,
}

enum Values {
    Numbers(Numbers),
    Texts(Vec<String>),
    Pictures(Vec<Vec<u8>>),
}

impl Column {
    pub(super) fn of(feature: &Feature) -> Option<Self> {
        let width = feature
            .shape
            .iter()
            .try_fold(1_u64, |n, side| n.checked_mul(*side))?;
        let values = match feature.dtype.as_str() {
            "string" => Values::Texts(Vec::new()),
            "image" => Values::Pictures(Vec::new()),
            dtype => Values::Numbers(arrays::empty(dtype)?),
        };
        Some(Self {
            values,
            width: usize::try_from(width).ok()?,
            rows: 0,
            broken: false,
        })
    }

    /// Takes the message of a row; what is out of turn or damaged ends the column.
    pub(super) fn take(&mut self, row: u64, channel: &Channel, data: &[u8]) {
        if self.broken || row < self.rows {
            return;
        }
        self.broken = row > self.rows || self.append(channel, data).is_none();
        if self.broken {
            return;
        }
        self.rows += 1;
    }

    fn append(&mut self, channel: &Channel, data: &[u8]) -> Option<()> {
        match &mut self.values {
            Values::Texts(all) => all.push(StringMsg::decode(data).ok()?.data),
            Values::Pictures(all) => all.push(CompressedImageMsg::decode(data).ok()?.data),
            Values::Numbers(numbers) => {
                if channel.schema == JointStateMsg::ros_name() {
                    joints(numbers, channel, data)?;
                } else {
                    arrays::append(numbers, data).ok()?;
                }
                let wanted = self.width.checked_mul(self.rows as usize + 1)?;
                if numbers.len() != wanted {
                    arrays::truncate(numbers, self.width * self.rows as usize);
                    return None;
                }
            }
        }
        Some(())
    }

    fn array(&self, path: &Path, feature: &Feature, rows: u64) -> Result<ArrayRef> {
        let rows = rows as usize;
        match &self.values {
            Values::Texts(all) => Ok(Arc::new(StringArray::from_iter_values(
                all.iter().take(rows),
            ))),
            Values::Pictures(all) => pictures(path, all, rows),
            Values::Numbers(numbers) => {
                let mut numbers = numbers.clone();
                arrays::truncate(&mut numbers, self.width * rows);
                let sides: Vec<usize> = feature.shape.iter().map(|s| *s as usize).collect();
                let sides = if sides == [1] { Vec::new() } else { sides };
                nested(path, flat(path, numbers)?, &sides)
            }
        }
    }
}

/// Appends the positions of a JointState in the dataset's units.
fn joints(numbers: &mut Numbers, channel: &Channel, data: &[u8]) -> Option<()> {
    let message = JointStateMsg::decode(data).ok()?;
    let units = channel.metadata.get(UNITS_KEY)?.split(',');
    let units: Vec<Unit> = units.map(Unit::named).collect::<Option<_>>()?;
    if units.len() != message.position.len() {
        return None;
    }
    let values = units.iter().zip(&message.position);
    let values = values.map(|(unit, value)| unit.of_si(*value));
    match numbers {
        Numbers::F32(all) => all.extend(values.map(|v| v as f32)),
        Numbers::F64(all) => all.extend(values),
        _ => return None,
    }
    Some(())
}

/// Pictures as HF's image type, under LeRobot's names.
fn pictures(path: &Path, all: &[Vec<u8>], rows: usize) -> Result<ArrayRef> {
    let broken = |e: arrow_schema::ArrowError| Error::corrupt(path, e.to_string());
    let all = &all[..rows.min(all.len())];
    let ending = |bytes: &Vec<u8>| match image::guess_format(bytes) {
        Ok(image::ImageFormat::Tiff) => "tiff",
        Ok(image::ImageFormat::Jpeg) => "jpg",
        _ => "png",
    };
    let numbered = all.iter().enumerate();
    let names = numbered.map(|(i, bytes)| format!("frame-{i:06}.{}", ending(bytes)));
    let fields = vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from_iter_values(all)),
        Arc::new(StringArray::from_iter_values(names)),
    ];
    Ok(Arc::new(
        StructArray::try_new(fields.into(), columns, None).map_err(broken)?,
    ))
}

/// Where an episode's rows stand in the dataset.
pub(super) struct Place<'a> {
    pub(super) episode: u64,
    /// Number of the first row.
    pub(super) first: u64,
    pub(super) rows: u64,
    /// Task number of each row.
    pub(super) tasks: &'a [i64],
}

/// Writes an episode's data file with the features that are `known`.
pub(super) fn write_rows(
    info: &Info,
    known: &BTreeSet<String>,
    columns_in: &BTreeMap<String, Column>,
    place: &Place<'_>,
    path: &Path,
) -> Result<()> {
    let rows = place.rows;
    let counted = |from: u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(
            (from..from + rows).map(|v| v as i64),
        ))
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (name, feature) in info.features.iter().filter(|(_, f)| !f.is_video()) {
        let array = match (name, columns_in.get(name)) {
            ("frame_index", _) => counted(0),
            ("index", _) => counted(place.first),
            ("episode_index", _) => {
                Arc::new(Int64Array::from(vec![place.episode as i64; rows as usize]))
            }
            ("task_index", _) => Arc::new(Int64Array::from(place.tasks.to_vec())),
            // Another episode may have needed its own; this one has the usual times.
            ("timestamp", column) if column.is_none_or(|c| c.rows < rows) => {
                let fps = f64::from(info.fps);
                let times = (0..rows).map(|row| (row as f64 / fps) as f32);
                Arc::new(Float32Array::from_iter_values(times))
            }
            (_, Some(column)) => column.array(path, feature, rows)?,
            (_, None) if known.contains(name) => {
                return Err(Error::corrupt(path, format!("{name} has no rows")));
            }
            (_, None) => continue,
        };
        columns.push((name.to_owned(), array));
    }
    if let Some(parent) = path.parent() {
        fsio::create_dir(parent)?;
    }
    let field =
        |(name, array): &(String, ArrayRef)| Field::new(name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    table::write(path, &table::batch(path, schema, arrays)?, &[])
}

/// The numbers as an Arrow column of their type.
fn flat(path: &Path, numbers: Numbers) -> Result<ArrayRef> {
    let broken = |e: arrow_schema::ArrowError| Error::corrupt(path, e.to_string());
    Ok(match numbers {
        Numbers::Bool(v) => Arc::new(BooleanArray::from(v)),
        Numbers::I8(v) => Arc::new(Int8Array::from(v)),
        Numbers::I16(v) => Arc::new(Int16Array::from(v)),
        Numbers::I32(v) => Arc::new(Int32Array::from(v)),
        Numbers::I64(v) => Arc::new(Int64Array::from(v)),
        Numbers::U8(v) => Arc::new(UInt8Array::from(v)),
        Numbers::U16(v) => Arc::new(UInt16Array::from(v)),
        Numbers::U32(v) => Arc::new(UInt32Array::from(v)),
        Numbers::U64(v) => Arc::new(UInt64Array::from(v)),
        Numbers::F32(v) => Arc::new(Float32Array::from(v)),
        Numbers::F64(v) => Arc::new(Float64Array::from(v)),
        Numbers::F16Bits(v) => {
            let halves = UInt16Array::from(v).into_data().into_builder();
            make_array(
                halves
                    .data_type(DataType::Float16)
                    .build()
                    .map_err(broken)?,
            )
        }
    })
}
