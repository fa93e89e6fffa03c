//! What clients need to put a file together by themselves: the tables of the xorbs for Xet's own arithmetic.

use super::xorbs::Tables;
use crate::error::{Error, Result};
use crate::xet::Hash;
use crate::xet::reconstruction::{Reconstruction, touched};
use crate::xet::shard::Term;
use crate::xet::xorb::XorbTable;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What to fetch for a range of a file.
pub(crate) async fn plan(
    tables: &Tables,
    file: &Hash,
    terms: &[Term],
    range: Range<u64>,
) -> Result<Reconstruction> {
    let wanted = touched(terms, &range)?;
    let mut known: HashMap<Hash, Arc<XorbTable>> = HashMap::new();
    for term in terms.get(wanted).unwrap_or_default() {
        if let Some(table) = tables.get(&term.xorb).await? {
            known.insert(term.xorb, table);
        }
    }
    let table_of = |hash: &Hash| known.get(hash).map(Arc::as_ref);
    // The terms were checked when they came, so what does not fit now is damage.
    Reconstruction::plan(file, terms, range, table_of)
        .map_err(|error| Error::Damaged(error.to_string()))
}
