//! What the criterion benches left behind.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One bench's result.
pub struct Estimate {
    pub name: String,
    pub median_ms: f64,
}

/// All estimates below a criterion folder, by name; none if the benches have not run.
pub fn read(folder: &Path) -> Vec<Estimate> {
    let mut found: Vec<Estimate> = subfolders(folder)
        .iter()
        .flat_map(|group| subfolders(group))
        .filter_map(|bench| estimate(&bench.join("new")))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn estimate(folder: &Path) -> Option<Estimate> {
    let json = |file: &str| -> Option<Value> {
        serde_json::from_slice(&fs::read(folder.join(file)).ok()?).ok()
    };
    let name = json("benchmark.json")?.get("full_id")?.as_str()?.to_owned();
    let nanoseconds = json("estimates.json")?
        .pointer("/median/point_estimate")?
        .as_f64()?;
    Some(Estimate {
        name,
        median_ms: nanoseconds / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_found_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let new = folder.path().join("kernels/encoder_forward/new");
        fs::create_dir_all(&new).unwrap();
        fs::write(
            new.join("benchmark.json"),
            r#"{"full_id": "kernels/encoder forward"}"#,
        )
        .unwrap();
        let estimates = r#"{"median": {"point_estimate": 2500000.0}}"#;
        fs::write(new.join("estimates.json"), estimates).unwrap();
        fs::create_dir_all(folder.path().join("report/index")).unwrap();
        let found = read(folder.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "kernels/encoder forward");
        assert!((found[0].median_ms - 2.5).abs() < 1e-12);
    }

    #[test]
    fn without_benches_there_is_nothing() {
        assert!(read(Path::new("no/such/folder")).is_empty());
    }
}
