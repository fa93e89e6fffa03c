//! Shapes of operators' results.

/// Two shapes side by side, numpy's rule: axes are matched from the last one, and an axis of one
/// stretches.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        if axis < missing {
            1
        } else {
            shape[axis - missing]
        }
    };
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (x, y) if x == y => Some(x),
            (1, y) => Some(y),
            (x, 1) => Some(x),
            _ => None,
        })
        .collect()
}

/// `[…, m, k] × […, k, n]`; both have at least two axes.
pub(super) fn matmul(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    let [batch_a @ .., m, k] = a else { return None };
    let [batch_b @ .., k2, n] = b else {
        return None;
    };
    if k != k2 {
        return None;
    }
    let mut shape = broadcast(batch_a, batch_b)?;
    shape.extend([m, n]);
    Some(shape)
}

/// One axis of a window that slides: convolution or pooling. `None` where the window does not fit.
pub(super) fn slide(
    size: usize,
    kernel: usize,
    stride: usize,
    pads: [usize; 2],
    dilation: usize,
) -> Option<usize> {
    let span = dilation
        .checked_mul(kernel.checked_sub(1)?)?
        .checked_add(1)?;
    let padded = size.checked_add(pads[0])?.checked_add(pads[1])?;
    padded.checked_sub(span)?.checked_div(stride).map(|n| n + 1)
}
