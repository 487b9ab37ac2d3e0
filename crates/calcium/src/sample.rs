//! The number types a trace may be stored in.

/// A fluorescence sample: `f32` or `f64`. All arithmetic is in `f64` whatever the storage.
pub trait Sample: sealed::Sealed + Copy + Default + Send + Sync {
    /// The mark of a frame without data.
    const MISSING: Self;
    /// Rounds to the storage type.
    fn from_f64(value: f64) -> Self;
    /// Exact.
    fn to_f64(self) -> f64;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

impl Sample for f32 {
    const MISSING: Self = Self::NAN;

    #[inline]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Sample for f64 {
    const MISSING: Self = Self::NAN;

    #[inline]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline]
    fn to_f64(self) -> f64 {
        self
    }
}
