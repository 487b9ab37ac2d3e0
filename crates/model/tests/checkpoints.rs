//! Checkpoints: the same bits after any interruption, and nothing taken for what it is not.

mod common;

use std::path::Path;
use std::time::Duration;

use burn::tensor::Device;
use common::{Fragile, counts, fluorescence, ladder, lfads, training};
use model::train::{Event, Observer, StepReport};
use model::{
    Checkpoints, Fitted, ModelError, SequentialVae, TrainConfig, TrainData, check_checkpoint, fit,
    load_weights, posterior_mean,
};
use ndarray::{Array3, ArrayView3};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn device() -> Device {
    Device::flex().autodiff()
}

fn rates<M: SequentialVae>(fitted: &Fitted<M>, x: ArrayView3<'_, f32>) -> Array3<f32> {
    posterior_mean(&fitted.model, x, 3, 1).unwrap().rates_hz
}

/// Asks for an end at a step.
struct StopAt(usize, usize);

impl Observer for StopAt {
    fn on_step(&mut self, report: &StepReport) {
        self.1 = report.step;
    }

    fn wants_to_stop(&mut self) -> bool {
        self.0 == self.1
    }
}

/// Has no say over its folder any more from a step on.
struct Lost;

impl Observer for Lost {
    fn before_checkpoint(&mut self) -> Result<(), String> {
        Err("the folder is gone".into())
    }
}

/// Trains a model that `make` makes, with an end asked for at each of some steps; returns the outcome.
fn in_parts<M: SequentialVae>(
    make: impl Fn() -> M,
    data: &TrainData,
    config: &TrainConfig,
    stops: &[usize],
) -> Fitted<M> {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = || Some(Checkpoints::new(folder.path(), &Value::Null));
    for &stop in stops {
        let mut watch = StopAt(stop, 0);
        match fit(make(), data, config, 1, checkpoints(), &mut watch) {
            Err(ModelError::Interrupted { step, saved, .. }) => {
                assert_eq!((step, saved), (stop, true));
            }
            other => panic!("{:?}", other.map(|fitted| fitted.steps)),
        }
    }
    fit(make(), data, config, 1, checkpoints(), &mut ()).unwrap()
}

#[test]
fn a_training_that_is_stopped_anywhere_ends_with_the_same_bits() {
    let (data, config) = (fluorescence(), training(17));
    let whole = fit(ladder(&device()), &data, &config, 1, None, &mut ()).unwrap();
    // In the middle of epochs and at the end of one; in the deep level's time alone and after it.
    let parts = in_parts(|| ladder(&device()), &data, &config, &[3, 4, 9, 14]);
    assert_eq!(parts.history, whole.history);
    assert_eq!(rates(&parts, data.valid()), rates(&whole, data.valid()));
    let resumed = [3, 4, 9, 14].map(|step| Event::Resumed { step });
    assert_eq!(parts.events, resumed);
}

#[test]
fn a_finished_training_goes_on_for_more_steps_and_never_for_fewer() {
    let data = counts();
    let folder = tempfile::tempdir().unwrap();
    let of_steps = |n_steps| {
        let checkpoints = Some(Checkpoints::new(folder.path(), &Value::Null));
        fit(
            lfads(&device()),
            &data,
            &training(n_steps),
            1,
            checkpoints,
            &mut (),
        )
    };
    let short = of_steps(6).unwrap();
    let long = of_steps(15).unwrap();
    assert_eq!((short.steps, long.steps), (6, 15));
    assert_eq!(long.events, [Event::Resumed { step: 6 }]);
    assert!(long.history.starts_with(&short.history));
    assert!(long.history.len() > short.history.len());
    assert_ne!(rates(&long, data.valid()), rates(&short, data.valid()));
    let error = of_steps(9).err().unwrap().to_string();
    assert!(
        error.contains("`training.n_steps` is 15 there, 9 here"),
        "{error}"
    );
}

#[test]
fn the_way_back_and_what_happened_survive_an_interruption() {
    let (data, config) = (
        counts(),
        TrainConfig {
            validate_every: 100,
            ..training(12)
        },
    );
    // The sixth bound is NaN, in one process and in three.
    let whole = fit(Fragile::at(6), &data, &config, 1, None, &mut ()).unwrap();
    let model = Fragile::at(6);
    let parts = in_parts(|| model.clone(), &data, &config, &[2, 7]);
    let is_divergence = |event: &&Event| matches!(event, Event::Diverged { .. });
    let diverged = |fitted: &Fitted<Fragile>| -> Vec<Event> {
        fitted
            .events
            .iter()
            .filter(is_divergence)
            .cloned()
            .collect()
    };
    assert_eq!(diverged(&whole).len(), 1);
    assert_eq!(diverged(&parts), diverged(&whole));
    assert_eq!(rates(&parts, data.valid()), rates(&whole, data.valid()));
}

#[test]
fn time_alone_is_a_reason_for_a_checkpoint_and_a_lost_folder_against_it() {
    let (data, config) = (
        counts(),
        TrainConfig {
            validate_every: 1000,
            ..training(9)
        },
    );
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::new(folder.path(), &Value::Null).every(Duration::ZERO);
    let (last, before) = (
        folder.path().join("last.ckpt"),
        folder.path().join("previous.ckpt"),
    );
    let mut stop = StopAt(2, 0);
    let stopped = fit(
        lfads(&device()),
        &data,
        &config,
        1,
        Some(checkpoints),
        &mut stop,
    );
    assert!(stopped.is_err() && last.exists() && before.exists());
    let error = fit(
        lfads(&device()),
        &data,
        &config,
        1,
        Some(checkpoints),
        &mut Lost,
    );
    let error = error.unwrap_err().to_string();
    assert!(error.contains("the folder is gone"), "{error}");
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let (data, config) = (counts(), training(17));
    let whole = fit(lfads(&device()), &data, &config, 1, None, &mut ()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let resume = || {
        let checkpoints = Checkpoints::new(folder.path(), &Value::Null);
        fit(
            lfads(&device()),
            &data,
            &config,
            1,
            Some(checkpoints),
            &mut (),
        )
    };
    resume().unwrap();
    let flip = |name: &str| {
        let path = folder.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    };
    flip("last.ckpt");
    let again = resume().unwrap();
    assert!(
        again.events.contains(&Event::Resumed { step: 16 }),
        "{:?}",
        again.events
    );
    assert_eq!(rates(&again, data.valid()), rates(&whole, data.valid()));
    for name in ["last.ckpt", "previous.ckpt"] {
        check_checkpoint(&folder.path().join(name), None).unwrap();
        flip(name);
    }
    let error = resume().unwrap_err().to_string();
    assert!(
        error.contains("damaged") && error.contains("train again"),
        "{error}"
    );
}

#[test]
fn a_checkpoint_of_another_training_is_refused_by_the_field_that_differs() {
    let (data, config) = (counts(), training(5));
    let folder = tempfile::tempdir().unwrap();
    let name = json!({"model": "lfads"});
    let train = |data: &TrainData, config: &TrainConfig, seed: u64, of: &Value| {
        let checkpoints = Checkpoints::new(folder.path(), of);
        fit(
            lfads(&device()),
            data,
            config,
            seed,
            Some(checkpoints),
            &mut (),
        )
    };
    train(&data, &config, 1, &name).unwrap();
    let refused = |outcome: Result<Fitted<model::Lfads>, ModelError>, field: &str| {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    };
    refused(train(&data, &config, 2, &name), "`seed` is 1 there, 2 here");
    refused(
        train(&data, &training(4), 1, &name),
        "`training.n_steps` is 5 there, 4 here",
    );
    let other = json!({"model": "oasis-lfads"});
    refused(
        train(&data, &config, 1, &other),
        "`of.model` is \"lfads\" there",
    );
    let mut changed = data.train().to_owned();
    changed[[0, 0, 0]] += 1.0;
    let changed = TrainData::new(changed, data.valid().to_owned()).unwrap();
    refused(train(&changed, &config, 1, &name), "`data.train`");

    let last = folder.path().join("last.ckpt");
    check_checkpoint(&last, Some(&name)).unwrap();
    assert!(load_weights(lfads(&device()), &last, Some(&other)).is_err());
    assert!(check_checkpoint(Path::new("nothing.ckpt"), None).is_err());
}

#[test]
fn a_checkpoint_loads_into_a_fresh_model() {
    let data = counts();
    let folder = tempfile::tempdir().unwrap();
    let fitted = fit(
        lfads(&device()),
        &data,
        &training(20),
        1,
        Some(Checkpoints::new(folder.path(), &Value::Null)),
        &mut (),
    )
    .unwrap();
    let last = folder.path().join("last.ckpt");
    let model = model::load_weights(lfads(&device()), &last, None).unwrap();
    let rates = |model: &_| posterior_mean(model, data.valid(), 2, 1).unwrap().rates_hz;
    assert_eq!(rates(&model), rates(&fitted.model));

    let other = model::load_weights(ladder(&device()), &last, None).unwrap_err();
    assert!(other.to_string().contains("another model"), "{other}");
}

/// With the checksum made right again, so that all behind it is met.
#[test]
fn whatever_a_checkpoint_holds_is_read_or_refused_in_words() {
    let (data, config) = (counts(), training(5));
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Some(Checkpoints::new(folder.path(), &Value::Null));
    fit(lfads(&device()), &data, &config, 1, checkpoints, &mut ()).unwrap();
    let last = folder.path().join("last.ckpt");
    let whole = std::fs::read(&last).unwrap();
    let n_held = whole.len() - 32;
    let mut state = 7_u64;
    let mut below = |n: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % n
    };
    for _ in 0..300 {
        let mut bytes = whole[..n_held].to_vec();
        // Half of them in the header, which is a small part.
        let reach = if below(2) == 0 {
            n_held
        } else {
            4000.min(n_held)
        };
        for _ in 0..=below(3) {
            let place = below(reach);
            match below(3) {
                0 => bytes[place] = below(256) as u8,
                1 => bytes[place] ^= 1 << below(8),
                _ => drop(bytes.drain(place..(place + below(9)).min(n_held))),
            }
            bytes.resize(n_held, 0);
        }
        bytes.extend(Sha256::digest(&bytes));
        std::fs::write(&last, bytes).unwrap();
        if let Err(error) = load_weights(lfads(&device()), &last, None) {
            assert!(error.to_string().contains("last.ckpt"), "{error}");
        }
    }
}
