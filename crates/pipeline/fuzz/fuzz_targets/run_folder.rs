//! The JSON of a run folder: read as `report`, `infer` and a fit that is gone on with read it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pipeline::{History, RunFolder, RunResult};
use pipeline_fuzz::{assert_in_words, run_folder};

fuzz_target!(|bytes: &[u8]| {
    let folder = run_folder(bytes);
    let said = |error: String| assert_in_words(&error, folder.path());
    match RunFolder::open(folder.path()) {
        Err(error) => said(format!("{error:#}")),
        Ok((run, record)) => {
            // What was read can be written and read again.
            let identity = record.identity().expect("what was read is JSON");
            let again = serde_json::from_value(identity).expect("what was written can be read");
            assert!(record == again);
            for problem in [
                run.read::<History>("history.json").err(),
                run.read::<RunResult>("result.json").err(),
                run.complete(&record).err(),
                RunFolder::begin(folder.path(), &record).err(),
            ] {
                problem.map_or((), |error| said(format!("{error:#}")));
            }
        }
    }
});
