//! The weights of a checkpoint: safetensors files, mapped into memory and never copied as a whole.
//!
//! `model.safetensors`, or the shards that `model.safetensors.index.json` lists. Python pickles can
//! run any code when they are opened, so this program never opens one.

use super::header::{self, Dtype, Entry, shortened};
use super::json;
use crate::error::PolicyError;
use half::{bf16, f16};
use memmap2::Mmap;
use std::borrow::Cow;
use std::fs::File;
use std::path::{Path, PathBuf};

/// The file of unsharded weights.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The list of a sharded checkpoint's files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// Most files of a sharded checkpoint.
const SHARD_LIMIT: usize = 256;
/// Largest index file, bytes.
const INDEX_LIMIT: u64 = 16 << 20;

/// All tensors of a checkpoint, by name. The files must not be changed while this lives.
#[derive(Debug)]
pub struct Weights {
    files: Vec<Mapped>,
    /// Sorted by name.
    tensors: Vec<Located>,
}

#[derive(Debug)]
struct Mapped {
    path: PathBuf,
    bytes: Mmap,
    /// Where the header ends and the tensors begin.
    data: usize,
}

#[derive(Debug)]
struct Located {
    file: usize,
    /// Of the first byte, from the start of the file.
    offset: usize,
    entry: Entry,
}

/// One tensor, where it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct Weight<'a> {
    /// Name in the state dictionary, without the marks that `torch.compile` leaves.
    pub name: &'a str,
    /// Type of the elements.
    pub dtype: Dtype,
    /// Size of each axis; empty for a single number.
    pub shape: &'a [usize],
    /// Row-major, little-endian. They may lie at any alignment.
    pub bytes: &'a [u8],
    /// The file that holds them.
    pub file: &'a Path,
    /// Place of `bytes` in the file.
    pub offset: u64,
}

impl Weights {
    /// Maps the weights in the checkpoint folder `dir`.
    ///
    /// # Errors
    /// When there are none, when only pickles are there, and when a file is damaged.
    pub fn open(dir: &Path) -> Result<Self, PolicyError> {
        let single = dir.join(WEIGHTS_FILE);
        if single.exists() {
            return Self::open_files(&[single]);
        }
        let index = dir.join(INDEX_FILE);
        if index.exists() {
            return Self::open_sharded(dir, &index);
        }
        Err(absent(dir))
    }

    /// Maps one safetensors file, for example a processor's state.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub fn open_file(path: &Path) -> Result<Self, PolicyError> {
        Self::open_files(&[path.to_owned()])
    }

    /// No weights at all: the state of a step that has none.
    pub(super) fn none() -> Self {
        Self {
            files: Vec::new(),
            tensors: Vec::new(),
        }
    }

    fn open_files(paths: &[PathBuf]) -> Result<Self, PolicyError> {
        let mut all = Self::none();
        for path in paths {
            let (file, entries, data) = map(path)?;
            let number = all.files.len();
            all.files.push(file);
            all.tensors.extend(entries.into_iter().map(|entry| Located {
                file: number,
                offset: data + entry.start,
                entry,
            }));
            if all.tensors.len() > header::TENSOR_LIMIT {
                let limit = header::TENSOR_LIMIT;
                return Err(bad(
                    path,
                    format!("with it there are more than {limit} tensors"),
                ));
            }
        }
        all.tensors.sort_by(|a, b| a.entry.name.cmp(&b.entry.name));
        let twice = |pair: &&[Located]| pair[0].entry.name == pair[1].entry.name;
        match all.tensors.windows(2).find(twice) {
            Some(pair) => Err(bad(
                &all.files[pair[1].file].path,
                format!(
                    "tensor `{}` is there twice; it is also in {}",
                    shortened(&pair[0].entry.name),
                    all.files[pair[0].file].path.display()
                ),
            )),
            None => Ok(all),
        }
    }

    fn open_sharded(dir: &Path, index: &Path) -> Result<Self, PolicyError> {
        let mut fields = json::read_object(index, INDEX_LIMIT)?;
        let Some(serde_json::Value::Object(map)) = fields.remove("weight_map") else {
            return Err(bad(index, "`weight_map`, tensor by file, is missing"));
        };
        let mut names: Vec<&str> = Vec::new();
        for file in map.values() {
            let name = file.as_str().filter(|name| is_plain(name)).ok_or_else(|| {
                bad(
                    index,
                    format!(
                        "`weight_map` must hold names of files in the same folder, and it holds {}",
                        shortened(&file.to_string())
                    ),
                )
            })?;
            if !names.contains(&name) {
                if names.len() == SHARD_LIMIT {
                    return Err(bad(
                        index,
                        format!("it lists more than {SHARD_LIMIT} files"),
                    ));
                }
                names.push(name);
            }
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
        let weights = Self::open_files(&paths)?;
        let absent = map.keys().filter(|name| weights.get(name).is_none());
        let absent: Vec<String> = absent
            .map(|name| format!("tensor `{}` is in no shard", shortened(name)))
            .collect();
        if absent.is_empty() {
            Ok(weights)
        } else {
            Err(PolicyError::Weights {
                path: index.to_owned(),
                problems: capped(absent),
            })
        }
    }

    /// The names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|t| t.entry.name.as_str())
    }

    /// All tensors, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = Weight<'_>> {
        self.tensors.iter().map(|t| self.at(t))
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<Weight<'_>> {
        let found = self
            .tensors
            .binary_search_by(|t| t.entry.name.as_str().cmp(name));
        found.ok().map(|i| self.at(&self.tensors[i]))
    }

    /// Where the weights lie: the only file, or the first of several.
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |f| &f.path)
    }

    /// The files, in the order of the index.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|f| f.path.as_path())
    }

    /// Bytes of all files together.
    pub fn size(&self) -> u64 {
        self.files.iter().map(|f| f.bytes.len() as u64).sum()
    }

    /// Tells these weights from others: their size, and a hash of the files' headers and of samples
    /// from all over them. Training on changes nearly every weight, so samples show it; to read
    /// everything would take as long as to load it.
    pub fn fingerprint(&self) -> String {
        const SAMPLE: usize = 1024;
        const SAMPLES: usize = 64;
        // FNV-1a.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for file in &self.files {
            let (header, data) = file.bytes.split_at(file.data.min(file.bytes.len()));
            add(header);
            let apart = (data.len() / SAMPLES).max(SAMPLE);
            for part in data.chunks(apart) {
                add(&part[..part.len().min(SAMPLE)]);
            }
        }
        format!("{}-{hash:016x}", self.size())
    }

    fn at<'a>(&'a self, located: &'a Located) -> Weight<'a> {
        let Located {
            file,
            offset,
            entry,
        } = located;
        let file = &self.files[*file];
        Weight {
            name: &entry.name,
            dtype: entry.dtype,
            shape: &entry.shape,
            bytes: &file.bytes[*offset..offset + (entry.end - entry.start)],
            file: &file.path,
            offset: *offset as u64,
        }
    }
}

impl<'a> Weight<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The elements in single precision, row-major: borrowed when they are stored so and aligned,
    /// otherwise converted (rounded to the nearest).
    pub fn to_f32(&self) -> Cow<'a, [f32]> {
        fn each<const N: usize>(
            bytes: &[u8],
            value: impl Fn([u8; N]) -> f32,
        ) -> Cow<'static, [f32]> {
            let (elements, _) = bytes.as_chunks::<N>();
            elements.iter().map(|e| value(*e)).collect()
        }
        let bytes = self.bytes;
        match self.dtype {
            Dtype::F32 => match bytemuck::try_cast_slice(bytes) {
                Ok(floats) if cfg!(target_endian = "little") => Cow::Borrowed(floats),
                _ => each(bytes, f32::from_le_bytes),
            },
            Dtype::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            Dtype::F16 => each(bytes, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::Bf16 => each(bytes, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            Dtype::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            Dtype::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            Dtype::I8 => each(bytes, |b| f32::from(i8::from_le_bytes(b))),
            Dtype::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            Dtype::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            Dtype::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            Dtype::U8 => each(bytes, |[b]| f32::from(b)),
            Dtype::Bool => each(bytes, |[b]| f32::from(u8::from(b != 0))),
        }
    }

    /// The place of the first element that is NaN or infinite in single precision.
    pub fn first_not_finite(&self) -> Option<usize> {
        // All bits of the exponent set. Whole blocks are looked at without a branch in between, so
        // that the compiler uses vectors: 200 MB are checked at every start.
        fn scan<const N: usize>(bytes: &[u8], bad: impl Fn([u8; N]) -> bool) -> Option<usize> {
            let (elements, _) = bytes.as_chunks::<N>();
            let block = elements
                .chunks(4096)
                .position(|block| block.iter().fold(false, |any, e| any | bad(*e)))?;
            let rest = &elements[block * 4096..];
            rest.iter().position(|e| bad(*e)).map(|i| block * 4096 + i)
        }
        match self.dtype {
            Dtype::F32 => scan(self.bytes, |b| {
                u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000
            }),
            Dtype::Bf16 => scan(self.bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
            Dtype::F16 => scan(self.bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
            Dtype::F64 => scan(self.bytes, |b| !(f64::from_le_bytes(b) as f32).is_finite()),
            _ => None,
        }
    }

    /// What to say of a tensor with an element that is NaN or infinite.
    pub(super) fn not_finite(&self) -> Option<String> {
        let at = self.first_not_finite()?;
        Some(format!(
            "tensor `{}` {:?} holds NaN or an infinity (element {at})",
            shortened(self.name),
            self.shape
        ))
    }
}

/// Maps one file; also gives the place where its tensors begin.
fn map(path: &Path) -> Result<(Mapped, Vec<Entry>, usize), PolicyError> {
    let unreadable = |source| PolicyError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = std::fs::metadata(path).map_err(unreadable)?;
    if !kind.is_file() {
        return Err(bad(path, "it is no regular file"));
    }
    let file = File::open(path).map_err(unreadable)?;
    // SAFETY: the mapping is private and read-only. What the bytes are is checked before any use, and
    // no value that all bit patterns would not allow is made of them. A file that another process
    // shortens meanwhile ends this one with SIGBUS instead of giving wrong values; the docs ask
    // for files that stay as they are.
    let bytes = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
    let length = header::length(bytes.first_chunk().copied(), bytes.len() as u64)
        .map_err(|e| bad(path, e))?;
    let data = 8 + length;
    let mut entries =
        header::parse(&bytes[8..data], bytes.len() - data).map_err(|e| bad(path, e))?;
    for entry in &mut entries {
        if entry.name.contains("_orig_mod.") {
            entry.name = entry.name.replace("_orig_mod.", "");
        }
    }
    let path = path.to_owned();
    Ok((Mapped { path, bytes, data }, entries, data))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', '\0']) && name.ends_with(".safetensors")
}

fn bad(path: &Path, problem: impl Into<String>) -> PolicyError {
    PolicyError::Checkpoint {
        path: path.to_owned(),
        problem: problem.into(),
    }
}

/// At most so many problems as a person reads, and how many more there are.
pub(super) fn capped(mut problems: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 40;
    if problems.len() > SHOWN {
        let more = problems.len() - SHOWN;
        problems.truncate(SHOWN);
        problems.push(format!("and {more} more"));
    }
    problems
}

/// Why there are no weights in `dir`.
fn absent(dir: &Path) -> PolicyError {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = names
        .take(10_000)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let pickle = |name: &&String| {
        let ends = [".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"];
        ends.iter().any(|end| name.ends_with(end))
    };
    match names.iter().find(pickle) {
        Some(found) => PolicyError::OnlyPickle {
            path: dir.to_owned(),
            found: found.clone(),
        },
        None if names.iter().any(|n| n.starts_with("adapter_model.")) => bad(
            dir,
            "it holds only an adapter (PEFT); merge it into its base policy with `merge_and_unload()` and save that",
        ),
        None => bad(
            dir,
            format!("neither {WEIGHTS_FILE} nor {INDEX_FILE} is there; fetch the policy again"),
        ),
    }
}
