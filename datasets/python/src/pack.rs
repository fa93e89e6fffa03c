//! Items → named buffers with a type and a shape, one frame or a batch of them.

use crate::buffer::Buffer;
use crate::errors::DatasetError;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use sinew_datasets::{Image, Item, Numbers, Pixels, Value};
use std::sync::Arc;

/// How values are given to Python.
#[derive(Debug)]
pub(crate) struct Form {
    /// Features whose pictures are in videos.
    pub(crate) videos: Vec<String>,
    /// Colours of videos as bytes instead of numbers from 0 to 1.
    pub(crate) uint8: bool,
    /// Numbers in the types of the file. Otherwise in those to which PyTorch turns Python's: whole
    /// numbers int64, all others float32, as LeRobot's items have them.
    pub(crate) exact: bool,
}

/// What one feature of a frame, or of a batch, becomes.
enum Column {
    Array {
        numbers: Numbers,
        shape: Vec<usize>,
    },
    /// One text a frame.
    Text(Vec<String>),
    /// The same, as JSON.
    Json(Vec<String>),
}

/// Frames, packed.
pub(crate) struct Packed {
    columns: Vec<(String, Column)>,
    batched: bool,
}

/// A named column for Python: name, element type or `"text"` or `"json"`, shape (empty for text of
/// a single frame), and either a buffer or a list of strings.
pub(crate) type Entry = (String, &'static str, Vec<usize>, Py<PyAny>);

impl Packed {
    /// One frame.
    pub(crate) fn single(form: &Form, item: &Item) -> PyResult<Self> {
        Self::new(form, std::slice::from_ref(item), false)
    }

    /// A batch: every tensor has the number of frames in front.
    pub(crate) fn batch(form: &Form, items: &[Item]) -> PyResult<Self> {
        Self::new(form, items, true)
    }

    fn new(form: &Form, items: &[Item], batched: bool) -> PyResult<Self> {
        let mut columns = Vec::new();
        let Some(first) = items.first() else {
            return Ok(Self { columns, batched });
        };
        let lead = || {
            if batched {
                vec![items.len()]
            } else {
                Vec::new()
            }
        };
        for (place, (name, value)) in first.values.iter().enumerate() {
            // All items come from one reader, so that each has the same features in the same order.
            let values = items.iter().filter_map(|item| item.values.get(place));
            let values: Vec<&Value> = values.map(|(_, value)| value).collect();
            let column = match value {
                Value::Tensor(_) => numbers(form, name, &values, lead())?,
                Value::Image(_) | Value::Images(_) => pictures(form, name, &values, lead())?,
                Value::Text(_) => Column::Text(texts(&values)),
                Value::Json(_) => Column::Json(texts(&values)),
            };
            columns.push((name.to_string(), column));
        }
        for (place, (name, flags)) in first.pads.iter().enumerate() {
            let all = items.iter().filter_map(|item| item.pads.get(place));
            let mut shape = lead();
            shape.push(flags.len());
            let numbers = Numbers::Bool(all.flat_map(|(_, flags)| flags.iter().copied()).collect());
            columns.push((format!("{name}_is_pad"), Column::Array { numbers, shape }));
        }
        let tasks = items.iter().map(|item| item.task.clone()).collect();
        columns.push(("task".into(), Column::Text(tasks)));
        Ok(Self { columns, batched })
    }

    /// Gives everything to Python.
    pub(crate) fn into_entries(self, py: Python<'_>) -> PyResult<Vec<Entry>> {
        let lead = |count: usize| {
            if self.batched {
                vec![count]
            } else {
                Vec::new()
            }
        };
        let entry = |(name, column): (String, Column)| -> PyResult<Entry> {
            Ok(match column {
                Column::Array { numbers, shape } => {
                    let dtype = numbers.dtype();
                    let buffer = Py::new(py, buffer(numbers))?.into_any();
                    (name, dtype, shape, buffer)
                }
                Column::Text(texts) => {
                    let shape = lead(texts.len());
                    (name, "text", shape, texts.into_pyobject(py)?.unbind())
                }
                Column::Json(texts) => {
                    let shape = lead(texts.len());
                    (name, "json", shape, texts.into_pyobject(py)?.unbind())
                }
            })
        };
        self.columns.into_iter().map(entry).collect()
    }
}

fn texts(values: &[&Value]) -> Vec<String> {
    let text = |value: &&Value| match value {
        Value::Json(json) => json.to_string(),
        other => other.text().unwrap_or_default().to_owned(),
    };
    values.iter().map(text).collect()
}

fn numbers(form: &Form, name: &str, values: &[&Value], lead: Vec<usize>) -> PyResult<Column> {
    let mut all: Option<Numbers> = None;
    let mut shape = lead;
    for value in values {
        let Some(tensor) = value.tensor() else {
            return Err(mixed(name));
        };
        let own = if form.exact {
            tensor.numbers.clone()
        } else {
            widened(name, &tensor.numbers)?
        };
        match &mut all {
            None => {
                shape.extend(&tensor.shape);
                all = Some(own);
            }
            Some(all) => {
                if !append(all, own) {
                    return Err(mixed(name));
                }
            }
        }
    }
    let numbers = all.ok_or_else(|| mixed(name))?;
    if shape.iter().product::<usize>() != numbers.len() {
        return Err(mixed(name));
    }
    Ok(Column::Array { numbers, shape })
}

fn pictures(form: &Form, name: &str, values: &[&Value], lead: Vec<usize>) -> PyResult<Column> {
    let video = form.videos.iter().any(|v| v == name);
    let images: Vec<&Arc<Image>> = values.iter().flat_map(|v| v.images()).collect();
    let Some(first) = images.first() else {
        return Err(mixed(name));
    };
    let like_first = |i: &&Arc<Image>| {
        let sides = |i: &Image| (i.channels(), i.height, i.width);
        sides(i) == sides(first)
    };
    if !images.iter().all(like_first) {
        return Err(mixed(name));
    }
    let mut shape = lead;
    let per_frame = images.len() / values.len();
    // LeRobot drops the time of a video window that has one picture.
    if matches!(values[0], Value::Images(_)) && !(video && per_frame == 1) {
        shape.push(per_frame);
    }
    shape.extend([first.channels(), first.height, first.width]);
    let bytes = form.uint8 && video && matches!(first.pixels, Pixels::Rgb(_));
    let numbers = if bytes {
        Numbers::U8(planes(&images, Image::planar_u8).ok_or_else(|| mixed(name))?)
    } else {
        Numbers::F32(planes(&images, Image::planar_f32).ok_or_else(|| mixed(name))?)
    };
    Ok(Column::Array { numbers, shape })
}

/// The planes of all pictures, which have the same sides.
fn planes<T: Copy + Default>(
    images: &[&Arc<Image>],
    fill: impl Fn(&Image, &mut [T]) -> bool,
) -> Option<Vec<T>> {
    let each = images.first()?.planar_len();
    let mut all = vec![T::default(); each * images.len()];
    let mut places = all.chunks_exact_mut(each.max(1)).zip(images);
    places.all(|(out, image)| fill(image, out)).then_some(all)
}

fn mixed(name: &str) -> PyErr {
    DatasetError::new_err(format!(
        "the frames of a batch or window have different types or sizes in {name}"
    ))
}

/// The numbers as PyTorch makes tensors of Python's: bool, int64 or float32.
fn widened(name: &str, numbers: &Numbers) -> PyResult<Numbers> {
    macro_rules! whole {
        ($values:ident) => {
            Numbers::I64($values.iter().map(|v| i64::from(*v)).collect())
        };
    }
    Ok(match numbers {
        Numbers::Bool(v) => Numbers::Bool(v.clone()),
        Numbers::I64(v) => Numbers::I64(v.clone()),
        Numbers::F32(v) => Numbers::F32(v.clone()),
        Numbers::I8(v) => whole!(v),
        Numbers::I16(v) => whole!(v),
        Numbers::I32(v) => whole!(v),
        Numbers::U8(v) => whole!(v),
        Numbers::U16(v) => whole!(v),
        Numbers::U32(v) => whole!(v),
        Numbers::U64(v) => {
            let all: Result<Vec<i64>, _> = v.iter().map(|v| i64::try_from(*v)).collect();
            Numbers::I64(all.map_err(|_| {
                PyValueError::new_err(format!(
                    "{name} holds numbers beyond int64; open the dataset with exact_dtypes=True"
                ))
            })?)
        }
        Numbers::F64(v) => Numbers::F32(v.iter().map(|v| *v as f32).collect()),
        Numbers::F16Bits(_) => {
            Numbers::F32(numbers.to_f64().into_iter().map(|v| v as f32).collect())
        }
    })
}

/// Appends `more`, unless it is of another type.
fn append(all: &mut Numbers, more: Numbers) -> bool {
    macro_rules! same {
        ($($variant:ident),*) => {
            match (all, more) {
                $((Numbers::$variant(all), Numbers::$variant(more)) => all.extend(more),)*
                _ => return false,
            }
        };
    }
    same!(
        Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16Bits, F32, F64
    );
    true
}

fn buffer(numbers: Numbers) -> Buffer {
    match numbers {
        Numbers::Bool(v) => Buffer::new(v),
        Numbers::I8(v) => Buffer::new(v),
        Numbers::I16(v) => Buffer::new(v),
        Numbers::I32(v) => Buffer::new(v),
        Numbers::I64(v) => Buffer::new(v),
        Numbers::U8(v) => Buffer::new(v),
        Numbers::U16(v) | Numbers::F16Bits(v) => Buffer::new(v),
        Numbers::U32(v) => Buffer::new(v),
        Numbers::U64(v) => Buffer::new(v),
        Numbers::F32(v) => Buffer::new(v),
        Numbers::F64(v) => Buffer::new(v),
    }
}
