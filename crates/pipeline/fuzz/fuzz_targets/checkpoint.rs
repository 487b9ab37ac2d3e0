//! A checkpoint whose checksum holds: read for what it belongs to, and for the weights of a small model.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::{Device, DynamicsConfig, LfadsConfig, check_checkpoint, load_weights};
use pipeline_fuzz::{assert_in_words, checkpoint};

fuzz_target!(|bytes: &[u8]| {
    let folder = checkpoint(bytes);
    let path = folder.path().join("last.ckpt");
    let said = |error: String| assert_in_words(&error, folder.path());
    if let Err(error) = check_checkpoint(&path, None) {
        return said(error.to_string());
    }
    // As `lfads fit` makes it of the recording and the settings that the seeds come from.
    let dynamics = DynamicsConfig {
        n_factors: 3,
        n_encoder: 8,
        n_generator: 8,
        n_ic: 8,
        ..DynamicsConfig::default()
    };
    let model = LfadsConfig { dynamics }.init(&[0.1; 6], 0.1, 1, &Device::flex());
    let model = model.expect("a small model");
    if let Err(error) = load_weights(model, &path, None) {
        said(error.to_string());
    }
});
