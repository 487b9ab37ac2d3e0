//! What every command says of its results in the same way.

use std::path::Path;

use data::Arrays;

/// Results without arrays yet: where they come from.
pub fn heading(path: &Path, dt_s: f64, neuron_ids: &[String]) -> Arrays {
    let mut heading = Arrays::default();
    heading.numbers.insert("dt".into(), dt_s);
    let source = path.display().to_string();
    heading.texts.insert("source".into(), source);
    let ids = neuron_ids.to_vec();
    heading.lists.insert("neuron_ids".into(), ids);
    heading
}

/// The value in the middle, of an even number the upper; none of none.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
