//! LFADS and ladder LFADS: models, bounds, training.
