//! What is taken for granted where a file does not say, said aloud.

use std::path::Path;

use calcium::Discretisation;

/// How the `tau` of this file becomes g, as stated, else the usual way with a warning.
pub fn discretisation(stated: Option<Discretisation>, file: &Path) -> Discretisation {
    stated.unwrap_or_else(|| {
        let assumed = Discretisation::default();
        tracing::warn!(
            "{}: it has `tau` but no `discretisation`; \"{assumed}\", g = exp(-dt/tau), is assumed; if it was made with g = 1 - dt/tau, give it the attribute `discretisation` = \"euler\"",
            file.display()
        );
        assumed
    })
}
