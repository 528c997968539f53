//! How evenly things come.

/// The gaps between what one member gets, in whatever `add` is told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gaps {
    last: Option<u64>,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Gaps {
    /// The next one came, at this time or with this number.
    pub(crate) fn add(&mut self, at: u64) {
        if let Some(last) = self.last.replace(at) {
            let gap = (at - last) as f64;
            self.count += 1.0;
            self.sum += gap;
            self.squares += gap * gap;
        }
    }

    /// The standard deviation over the mean.
    pub(crate) fn variation(&self) -> f64 {
        let mean = self.sum / self.count.max(1.0);
        let variance = self.squares / self.count.max(1.0) - mean * mean;
        if mean > 0.0 { variance.max(0.0).sqrt() / mean } else { 0.0 }
    }
}
