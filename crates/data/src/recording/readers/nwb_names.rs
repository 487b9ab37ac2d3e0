//! What the names of NWB's series say: signal, neuropil or events, corrected or not, dF/F.

/// Words of a name that say that neuropil or crosstalk has been taken off already.
const CORRECTED: [&str; 4] = ["correct", "subtract", "demix", "denois"];
/// Words that say what a series is, and not of which plane or channel.
const KINDS: [&str; 3] = ["roiresponseseries", "neuropil", "fluorescence"];
/// What dF/F is called, in letters and digits alone.
const RATIOS: [&str; 4] = ["dff", "dfof", "dfoverf", "deltaf"];

/// What a series holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Signal,
    Neuropil,
    /// Deconvolved traces, or detected events.
    Events,
}

/// What a series holds, by its name and those of the groups that it lies in.
pub(super) fn kind(path: &str) -> Kind {
    let path = path.to_lowercase();
    if path.contains("deconv") || path.contains("event") {
        return Kind::Events;
    }
    // Less its neuropil, or apart from it, it is a signal.
    let parts: Vec<&str> = path.split('/').collect();
    match parts.iter().rposition(|part| part.contains("neuropil")) {
        Some(place) if !is_corrected(&parts[place..].join("/")) => Kind::Neuropil,
        _ => Kind::Signal,
    }
}

/// Whether neuropil has been taken off, by the names.
pub(super) fn is_corrected(path: &str) -> bool {
    let path = path.to_lowercase();
    // Correction for motion is another one.
    let path = path.replace("motion_correct", "");
    let path = path.replace("motioncorrect", "");
    CORRECTED.iter().any(|word| path.contains(word))
}

/// Whether a series is called dF/F.
pub(super) fn is_ratio(path: &str) -> bool {
    let name = plain(last(path));
    RATIOS.iter().any(|word| name.contains(word))
}

/// What is left of a series' name without what it holds: its plane and channel.
pub(super) fn whose(path: &str) -> String {
    let name = plain(last(path));
    KINDS.iter().fold(name, |name, kind| name.replace(kind, ""))
}

/// A series' own name.
pub(super) fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn plain(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.collect::<String>().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_series_holds() {
        for (path, wanted) in [
            ("processing/ophys/Fluorescence/plane0", Kind::Signal),
            ("processing/ophys/Neuropil/plane0", Kind::Neuropil),
            (
                "processing/motion_corrected/Neuropil/plane0",
                Kind::Neuropil,
            ),
            (
                "processing/ophys/Fluorescence/NeuropilChan1Plane0",
                Kind::Neuropil,
            ),
            (
                "processing/ophys/Fluorescence/neuropil_corrected",
                Kind::Signal,
            ),
            (
                "processing/ophys/Fluorescence/F_minus_neuropil_subtracted",
                Kind::Signal,
            ),
            ("processing/corrected/Neuropil/plane0", Kind::Neuropil),
            ("processing/neuropil_corrected/Fluorescence/F", Kind::Signal),
            ("processing/ophys/Deconvolved/plane0", Kind::Events),
            (
                "processing/ophys/EventDetection/neuropil_corrected",
                Kind::Events,
            ),
        ] {
            assert_eq!(kind(path), wanted, "{path}");
        }
    }

    #[test]
    fn correction_for_motion_is_none_for_neuropil() {
        assert!(is_corrected("processing/ophys/Fluorescence/Demixed"));
        assert!(!is_corrected("processing/ophys/motion_corrected/F"));
    }

    #[test]
    fn series_go_together_by_plane_and_channel() {
        let pair = [
            "Fluorescence/RoiResponseSeriesChan1Plane0",
            "Fluorescence/NeuropilChan1Plane0",
        ];
        assert_eq!(pair.map(whose), ["chan1plane0", "chan1plane0"]);
        assert_eq!(whose("Fluorescence/plane0"), whose("Neuropil/plane0"));
        assert_ne!(whose("Neuropil/plane1"), whose("Neuropil/plane0"));
    }

    #[test]
    fn ratios_are_known_by_name() {
        for name in ["dff", "dF_F", "dFoF", "DfOverF", "dF/dF_F0", "DeltaF"] {
            assert!(is_ratio(name), "{name}");
        }
        assert!(!is_ratio("DfOverF/plane0") && !is_ratio("diff") && !is_ratio("F"));
    }
}
