//! What suite2p wrote of its settings: rate, neuropil coefficient, frames that it flagged.

use std::path::Path;

use crate::format::{npy, pickle};
use crate::recording::clock::Clock;
use crate::recording::options::Options;

/// What suite2p subtracts of the neuropil unless told otherwise.
pub(super) const USUAL_SHARE: f32 = 0.7;

/// What suite2p wrote of its settings, and of the frames that it flagged.
#[derive(Debug, Default)]
pub(super) struct Settings {
    /// Frames per second of each plane.
    pub(super) rate_hz: Option<f64>,
    /// Share of the neuropil that it subtracted itself.
    pub(super) neuropil: Option<f64>,
    /// A number a frame, not 0 of those that it flagged, and where it stands.
    pub(super) bad_frames: Option<(&'static str, Vec<f64>)>,
}

impl Settings {
    /// What can be found in the files of a plane; of a file that cannot be followed, nothing.
    pub(super) fn read(folder: &Path) -> Self {
        let mut found = Self::default();
        let mut look =
            |name: &'static str, rate: &[&[&str]], share: &[&[&str]], bad: &[&[&str]]| {
                let Ok(bytes) = std::fs::read(folder.join(name)) else {
                    return;
                };
                let Some(pickle) = npy::pickled(&bytes).and_then(pickle::Pickle::parse) else {
                    return;
                };
                let number = |paths: &[&[&str]]| paths.iter().find_map(|path| pickle.number(path));
                found.rate_hz = found.rate_hz.or_else(|| number(rate));
                found.neuropil = found.neuropil.or_else(|| number(share));
                let flags = || bad.iter().find_map(|path| pickle.numbers(path));
                if found.bad_frames.is_none() {
                    found.bad_frames = flags().map(|flags| (name, flags));
                }
            };
        let extraction: &[&str] = &["extraction", "neuropil_coefficient"];
        look(
            "ops.npy",
            &[&["fs"]],
            &[&["neucoeff"], &["neuropil_coefficient"], extraction],
            &[&["badframes"]],
        );
        look(
            "settings.npy",
            &[&["fs"]],
            &[extraction, &["neuropil_coefficient"], &["neucoeff"]],
            &[],
        );
        look("db.npy", &[&["fs"]], &[], &[]);
        look("reg_outputs.npy", &[], &[], &[&["badframes"]]);
        found
    }

    pub(super) fn clock(&self) -> Clock {
        self.rate_hz.map_or(Clock::Unstated, Clock::RateHz)
    }

    /// Share of the neuropil to subtract: the caller's, else the recording's, else suite2p's default.
    pub(super) fn share(&self, options: &Options) -> f32 {
        let own = self.neuropil.filter(|share| share.is_finite());
        let own = own.map_or(USUAL_SHARE, |share| share as f32);
        options.neuropil.unwrap_or(own)
    }

    pub(super) fn notes(
        &self,
        share: f32,
        kept: &[usize],
        n_regions: usize,
        options: &Options,
    ) -> Vec<String> {
        let whose = match (options.neuropil, self.neuropil) {
            (Some(_), _) => "",
            (None, Some(_)) => " (the recording's own coefficient)",
            (None, None) => " (suite2p's default coefficient: none is written)",
        };
        let subtracted = match share {
            0.0 => String::new(),
            share => format!(" - {share} Fneu{whose}"),
        };
        vec![format!(
            "F{subtracted} of {} of {n_regions} regions",
            kept.len()
        )]
    }

    /// The frames that suite2p flagged; a note of them, whether they are used or not.
    pub(super) fn flagged(
        &self,
        n_frames: usize,
        options: &Options,
        notes: &mut Vec<String>,
    ) -> Option<Vec<bool>> {
        let (file, flags) = self.bad_frames.as_ref()?;
        let n_flagged = flags.iter().filter(|flag| **flag != 0.0).count();
        if n_flagged == 0 {
            return None;
        }
        if flags.len() != n_frames {
            notes.push(format!(
                "badframes of {file} are for {} frames, not {n_frames}: not used",
                flags.len()
            ));
            return None;
        }
        let what = match options.flagged_frames {
            true => "kept, as asked for",
            false => "no data, NaN here (`flagged_frames` keeps them)",
        };
        notes.push(format!(
            "badframes of {file} flags {n_flagged} of {n_frames} frames: {what}"
        ));
        Some(flags.iter().map(|flag| *flag != 0.0).collect())
    }
}
