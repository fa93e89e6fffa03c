//! What an ONNX file says about itself: names of inputs and outputs, and the exporter's notes
//! (`metadata_props`).

use super::onnx_scan::descend;
use super::protobuf::{Field, Fields, Value};
use std::collections::{BTreeMap, HashSet};

/// Notes in one file.
const MAX_NOTES: usize = 256;
/// Bytes of all notes together; a baked-in experiment configuration takes some ten thousand.
const MAX_BYTES: usize = 4 << 20;
/// Inputs and outputs together.
const MAX_TENSORS: usize = 4096;

/// The names in a model file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelCard {
    /// Inputs that are no constants, in file order.
    pub inputs: Vec<String>,
    /// Outputs, in file order.
    pub outputs: Vec<String>,
    /// Sizes of each output's axes, by name; `None` where the graph leaves one open.
    pub output_shapes: BTreeMap<String, Vec<Option<usize>>>,
    /// Notes by key.
    pub notes: BTreeMap<String, String>,
}

impl ModelCard {
    /// Reads the card of a model; the error says what is wrong and at which byte.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut card = Self::default();
        let mut size = 0;
        for field in Fields::new(bytes, 0) {
            let Field {
                number,
                value: Value::Bytes(inner, at),
            } = field?
            else {
                continue;
            };
            match number {
                7 => card.graph(inner, at)?,
                14 => {
                    size += inner.len();
                    if size > MAX_BYTES || card.notes.len() >= MAX_NOTES {
                        return Err(format!(
                            "its metadata has more than {MAX_NOTES} entries or {MAX_BYTES} bytes (at byte {at})"
                        ));
                    }
                    let (key, value) = note(inner, at)?;
                    if card.notes.insert(key.clone(), value).is_some() {
                        return Err(format!("its metadata has `{key}` twice (at byte {at})"));
                    }
                }
                _ => {}
            }
        }
        Ok(card)
    }

    fn graph(&mut self, bytes: &[u8], base: usize) -> Result<(), String> {
        let mut constants = HashSet::new();
        for field in Fields::new(bytes, base) {
            let Field {
                number,
                value: Value::Bytes(inner, at),
            } = field?
            else {
                continue;
            };
            match number {
                // An initializer may be listed among the inputs too; it is none.
                5 => constants.extend(name(inner, at, 8)?),
                11 => self.inputs.extend(name(inner, at, 1)?),
                12 => {
                    if let Some(name) = name(inner, at, 1)? {
                        self.output_shapes.insert(name.clone(), shape(inner, at)?);
                        self.outputs.push(name);
                    }
                }
                _ => {}
            }
            if self.inputs.len() + self.outputs.len() > MAX_TENSORS {
                return Err(format!("it has more than {MAX_TENSORS} inputs and outputs"));
            }
        }
        self.inputs.retain(|name| !constants.contains(name));
        Ok(())
    }
}

/// Axes of a ValueInfoProto.
fn shape(bytes: &[u8], base: usize) -> Result<Vec<Option<usize>>, String> {
    let mut axes = Vec::new();
    descend(bytes, base, &[2, 1, 2, 1], &mut |dim, at| {
        let mut size = None;
        for field in Fields::new(dim, at) {
            if let Field {
                number: 1,
                value: Value::Varint(value),
            } = field?
            {
                size = usize::try_from(value).ok();
            }
        }
        axes.push(size);
        Ok(())
    })?;
    Ok(axes)
}

/// StringStringEntryProto.
fn note(bytes: &[u8], base: usize) -> Result<(String, String), String> {
    let key = name(bytes, base, 1)?.unwrap_or_default();
    let value = name(bytes, base, 2)?.unwrap_or_default();
    Ok((key, value))
}

/// The text in a field of a message.
fn name(bytes: &[u8], base: usize, wanted: u64) -> Result<Option<String>, String> {
    for field in Fields::new(bytes, base) {
        if let Field {
            number,
            value: Value::Bytes(text, at),
        } = field?
            && number == wanted
        {
            let text = std::str::from_utf8(text);
            let text = text.map_err(|_| format!("a name or note at byte {at} is not text"))?;
            return Ok(Some(text.to_owned()));
        }
    }
    Ok(None)
}
