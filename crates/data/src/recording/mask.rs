//! A file of frames that are no data.

use std::path::Path;

use super::source::Source;
use crate::Problem;
use crate::format::npy;

/// Which of `n_frames` a file marks: with a number a frame, those where it is not 0; else those that
/// it lists, counted from 0.
///
/// # Errors
/// [`Problem::Mask`], naming the file; a problem of the disk or of its format.
pub(crate) fn read(
    path: &Path,
    n_frames: usize,
    notes: &mut Vec<String>,
) -> Result<Vec<bool>, Problem> {
    let name = path.display().to_string();
    let numbers = numbers(path).map_err(|problem| problem.of_member(&name))?;
    let refused = |found: String| Problem::Mask {
        name: name.clone(),
        found,
        n_frames,
    };
    let mut hidden = vec![false; n_frames];
    let is_one = |v: f32| (v - 1.0).abs() < f32::EPSILON;
    if numbers.len() == n_frames && numbers.iter().all(|&v| v == 0.0 || is_one(v)) {
        for (to, value) in hidden.iter_mut().zip(&numbers) {
            *to = is_one(*value);
        }
    } else {
        for &number in &numbers {
            let frame = Some(number).filter(|n| *n >= 0.0 && n.fract() == 0.0);
            let place = frame.and_then(|frame| hidden.get_mut(frame as usize));
            *place.ok_or_else(|| {
                refused(format!("{} numbers, {number} among them", numbers.len()))
            })? = true;
        }
    }
    let n_hidden = hidden.iter().filter(|hidden| **hidden).count();
    if n_hidden == n_frames {
        return Err(refused("every frame".to_owned()));
    }
    notes.push(format!(
        "the mask takes {n_hidden} of {n_frames} frames out: NaN here (1 is no data)"
    ));
    Ok(hidden)
}

fn numbers(path: &Path) -> Result<Vec<f32>, Problem> {
    let source = Source::probe(path)?;
    if source.head.starts_with(npy::MAGIC) {
        return Ok(npy::read_array(path, "array")?.into_iter().collect());
    }
    text(path, &source)
}

#[cfg(feature = "csv")]
fn text(path: &Path, source: &Source) -> Result<Vec<f32>, Problem> {
    if !source.is_text() {
        return Err(source.unknown());
    }
    let bytes = std::fs::read(path).map_err(crate::whole_file::cannot_read)?;
    let table = crate::format::csv::parse(&bytes)?;
    let first = table.first.iter().filter_map(|cell| cell.parse().ok());
    Ok(first.chain(table.cells.iter().map(|v| *v as f32)).collect())
}

#[cfg(not(feature = "csv"))]
fn text(_: &Path, source: &Source) -> Result<Vec<f32>, Problem> {
    Err(source.unknown())
}
