//! Stored numbers of every width, kind and byte order, decoded.

/// How one number is laid out in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number {
    pub(crate) kind: Kind,
    /// In bytes.
    pub(crate) size: u8,
    pub(crate) big_endian: bool,
}

/// What the bits of a number mean.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Float,
    Signed,
    Unsigned,
}

impl Number {
    /// The layout, if it is one that [`Number::decode`] knows.
    pub(crate) fn known(kind: Kind, size: u8, big_endian: bool) -> Option<Self> {
        let known = match kind {
            Kind::Float => matches!(size, 2 | 4 | 8),
            Kind::Signed | Kind::Unsigned => matches!(size, 1 | 2 | 4 | 8),
        };
        known.then_some(Self {
            kind,
            size,
            big_endian,
        })
    }

    pub(crate) fn is_f32(self) -> bool {
        matches!(self.kind, Kind::Float) && self.size == 4
    }

    /// Every number in `bytes`, cast; bytes left over are ignored.
    pub(crate) fn decode<T>(self, bytes: &[u8], cast: impl Fn(f64) -> T) -> Vec<T> {
        let mut values = Vec::with_capacity(bytes.len() / usize::from(self.size));
        self.decode_into(bytes, cast, &mut values);
        values
    }

    /// The same, behind what `values` holds.
    #[allow(
        clippy::cast_lossless,
        reason = "64-bit integers have no lossless cast, and one macro serves all types"
    )]
    pub(crate) fn decode_into<T>(self, bytes: &[u8], cast: impl Fn(f64) -> T, values: &mut Vec<T>) {
        macro_rules! each {
            ($number:ty) => {
                self.decode_each(bytes, values, |b| cast(<$number>::from_le_bytes(b) as f64))
            };
        }
        match (self.kind, self.size) {
            (Kind::Float, 2) => {
                self.decode_each(bytes, values, |b| cast(half(u16::from_le_bytes(b))));
            }
            (Kind::Float, 4) => each!(f32),
            (Kind::Float, _) => each!(f64),
            (Kind::Signed, 1) => each!(i8),
            (Kind::Signed, 2) => each!(i16),
            (Kind::Signed, 4) => each!(i32),
            (Kind::Signed, _) => each!(i64),
            (Kind::Unsigned, 1) => each!(u8),
            (Kind::Unsigned, 2) => each!(u16),
            (Kind::Unsigned, 4) => each!(u32),
            (Kind::Unsigned, _) => each!(u64),
        }
    }

    fn decode_each<const N: usize, T>(
        self,
        bytes: &[u8],
        values: &mut Vec<T>,
        f: impl Fn([u8; N]) -> T,
    ) {
        let (chunks, _) = bytes.as_chunks::<N>();
        if self.big_endian {
            let swapped = |mut chunk: [u8; N]| {
                chunk.reverse();
                chunk
            };
            values.extend(chunks.iter().map(|&chunk| f(swapped(chunk))));
        } else {
            values.extend(chunks.iter().map(|&chunk| f(chunk)));
        }
    }
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    sign * match exponent {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction) * 2_f64.powi(exponent - 15),
    }
}
