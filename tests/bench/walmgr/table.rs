//! Medians, and ratios of the same round.

/// What one contestant did, one figure a round.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) figures: Vec<f64>,
}

impl Series {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), figures: Vec::new() }
    }

    pub(crate) fn median(&self) -> f64 {
        median(&self.figures)
    }

    /// The median of the rounds' ratios.
    pub(crate) fn over(&self, other: &Self) -> f64 {
        let ratios: Vec<f64> =
            self.figures.iter().zip(&other.figures).map(|(own, other)| own / other).collect();
        median(&ratios)
    }
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
