//! What files say of the indicator.

use calcium::Discretisation;

use crate::Problem;

/// How tau becomes the AR(1) coefficient, by its name in files.
pub(crate) fn discretisation(name: Option<String>) -> Result<Option<Discretisation>, Problem> {
    let parsed = name.map(|name| {
        name.parse().map_err(|_unknown| Problem::BadParameter {
            name: "discretisation",
            found: format!("{name:?}"),
            expected: "\"euler\" (1 - dt/tau) or \"exact\" (exp(-dt/tau))",
        })
    });
    parsed.transpose()
}
