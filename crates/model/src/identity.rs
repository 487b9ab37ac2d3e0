//! What a file belongs to: descriptions in JSON, and where two of them differ.

use std::fmt;

use serde_json::Value;

/// Longest value that is shown in full.
const SHOWN: usize = 40;

/// The first field in which two descriptions differ.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The field by its path, such as `config.seed`; empty if they are not even both objects.
    pub field: String,
    /// Its value in the first; null if absent.
    pub there: Value,
    /// Its value in the second.
    pub here: Value,
}

impl Difference {
    /// Compares two descriptions, field by field; where something lies (`path`) does not matter.
    pub fn between(there: &Value, here: &Value) -> Option<Self> {
        let (Value::Object(a), Value::Object(b)) = (there, here) else {
            return (there != here).then(|| Self {
                field: String::new(),
                there: there.clone(),
                here: here.clone(),
            });
        };
        let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
        keys.filter(|key| *key != "path").find_map(|key| {
            let [a, b] = [a, b].map(|object| object.get(key).unwrap_or(&Value::Null));
            let inner = Self::between(a, b)?;
            let field = match inner.field.as_str() {
                "" => key.clone(),
                field => format!("{key}.{field}"),
            };
            Some(Self { field, ..inner })
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, there, here } = self;
        match [there, here].map(ToString::to_string) {
            [there, here] if there.len() <= SHOWN && here.len() <= SHOWN => {
                write!(f, "`{field}` is {there} there, {here} here")
            }
            _ => write!(f, "`{field}` differs"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_by_its_path() {
        let a = json!({"seed": 1, "source": {"path": "a", "sha256": "x"}});
        let moved = json!({"seed": 1, "source": {"path": "b", "sha256": "x"}});
        let other = json!({"seed": 1, "source": {"path": "a", "sha256": "y"}});
        let more = json!({"seed": 1, "source": {"path": "a", "sha256": "x"}, "t": 2});
        let between = |b| Difference::between(&a, b).map(|found| found.to_string());
        assert_eq!(between(&moved), None);
        let text = "`source.sha256` is \"x\" there, \"y\" here";
        assert_eq!(between(&other), Some(text.into()));
        assert_eq!(between(&more), Some("`t` is null there, 2 here".into()));
        let long = json!({"seed": "s".repeat(50)});
        let found = Difference::between(&long, &json!({"seed": 1})).unwrap();
        assert_eq!(found.to_string(), "`seed` differs");
    }
}
