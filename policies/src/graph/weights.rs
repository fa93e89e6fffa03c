//! Where a graph's weights come from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// Named f32 tensors, usually a memory-mapped checkpoint.
pub trait WeightSource: fmt::Debug + Send + Sync {
    /// All names.
    fn names(&self) -> Vec<&str>;

    /// Size of each axis.
    fn shape(&self, name: &str) -> Option<&[usize]>;

    /// The elements, row-major. Borrowed where the tensor is stored as aligned f32: then graphs
    /// refer to it in place, and it must not move for the source's life.
    fn values(&self, name: &str) -> Option<Cow<'_, [f32]>>;

    /// Bytes that all of it takes where it is stored.
    fn bytes(&self) -> u64 {
        let elements = |name| self.shape(name).map_or(0, |s| s.iter().product::<usize>());
        4 * self.names().into_iter().map(elements).sum::<usize>() as u64
    }
}

/// Weights in memory, for tests and for graphs without a checkpoint.
#[derive(Debug, Default, Clone)]
pub struct MemoryWeights {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl MemoryWeights {
    /// Adds a tensor.
    ///
    /// # Panics
    /// When `values` has not as many elements as `shape` says.
    pub fn insert(&mut self, name: &str, shape: &[usize], values: Vec<f32>) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{name}");
        self.tensors
            .insert(name.to_owned(), (shape.to_vec(), values));
    }
}

impl WeightSource for MemoryWeights {
    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|(shape, _)| shape.as_slice())
    }

    fn values(&self, name: &str) -> Option<Cow<'_, [f32]>> {
        self.tensors
            .get(name)
            .map(|(_, values)| Cow::Borrowed(values.as_slice()))
    }
}

/// The memory of a slice of floats.
#[allow(unsafe_code)]
pub(crate) fn as_bytes(values: &[f32]) -> &[u8] {
    // SAFETY: every f32 is four initialised bytes, u8 has no alignment, and the lifetime is kept.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

impl WeightSource for crate::lerobot::Weights {
    fn names(&self) -> Vec<&str> {
        Self::names(self).collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).map(|weight| weight.shape)
    }

    fn values(&self, name: &str) -> Option<Cow<'_, [f32]>> {
        self.get(name).map(|weight| weight.to_f32())
    }

    fn bytes(&self) -> u64 {
        self.size()
    }
}

impl WeightSource for crate::lerobot::Checkpoint {
    fn names(&self) -> Vec<&str> {
        self.weights.names().collect()
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        WeightSource::shape(&self.weights, name)
    }

    fn values(&self, name: &str) -> Option<Cow<'_, [f32]>> {
        self.weights.values(name)
    }

    fn bytes(&self) -> u64 {
        self.weights.size()
    }
}
