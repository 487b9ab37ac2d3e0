//! `cargo xtask deny`: licences, duplicate versions and sources of what is depended on, by deny.toml.
//!
//! What is built on this machine with default features, tests included. Advisories need their database:
//! `cargo deny check` knows it, and reads the same file.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use crate::bench::{cargo, workspace_root};

const REGISTRY: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";

/// Prints what is not allowed, a line each.
pub fn run() -> ExitCode {
    match problems() {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            for problem in problems {
                eprintln!("error: {problem}");
            }
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn problems() -> Result<Vec<String>, String> {
    let read = |name: &str| {
        let path = workspace_root().join(name);
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let allowed = Allowed::parse(&read("deny.toml")?);
    let packages = packages(&tree()?);
    let lock = read("Cargo.lock")?;
    let mut problems = allowed.licences_of(&packages);
    problems.extend(allowed.versions_of(&packages));
    problems.extend(foreign_sources(&lock));
    Ok(problems)
}

/// Every package that is built, as lines `name version|licence`.
fn tree() -> Result<String, String> {
    let mut tree = cargo();
    tree.args(["tree", "--workspace", "--locked", "--prefix", "none"]);
    let output = tree.args(["--format", "{p}|{l}"]).output();
    let output = output.map_err(|error| format!("cargo tree: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

struct Package {
    name: String,
    version: String,
    licence: String,
}

fn packages(tree: &str) -> Vec<Package> {
    let lines: BTreeSet<&str> = tree
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .collect();
    let package = |line: &str| {
        let (named, licence) = line.split_once('|')?;
        let mut words = named.split_whitespace();
        Some(Package {
            name: words.next()?.to_owned(),
            version: words.next()?.trim_start_matches('v').to_owned(),
            licence: licence.to_owned(),
        })
    };
    lines.into_iter().filter_map(package).collect()
}

/// What deny.toml lists.
struct Allowed {
    licences: BTreeSet<String>,
    /// Licences of single packages.
    exceptions: BTreeSet<(String, String)>,
    /// Older versions that may be built beside the newest, as `name@0.1`.
    versions: BTreeSet<String>,
}

impl Allowed {
    /// One entry a line.
    fn parse(text: &str) -> Self {
        let mut allowed = Self {
            licences: BTreeSet::new(),
            exceptions: BTreeSet::new(),
            versions: BTreeSet::new(),
        };
        let mut list = "";
        for line in text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with('#'))
        {
            if let Some(name) = line.strip_suffix(" = [") {
                list = name;
                continue;
            }
            let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            match (list, &quoted[..]) {
                ("allow", [licence]) => drop(allowed.licences.insert((*licence).to_owned())),
                ("exceptions", [name, licences @ ..]) => {
                    let named = licences
                        .iter()
                        .map(|l| ((*name).to_owned(), (*l).to_owned()));
                    allowed.exceptions.extend(named);
                }
                ("skip", [version, ..]) => drop(allowed.versions.insert((*version).to_owned())),
                _ => list = "",
            }
        }
        allowed
    }

    fn licences_of(&self, packages: &[Package]) -> Vec<String> {
        let is_allowed = |package: &&Package| {
            holds(&package.licence, &|licence| {
                let exception = (package.name.clone(), licence.to_owned());
                self.licences.contains(licence) || self.exceptions.contains(&exception)
            })
        };
        let refused = packages.iter().filter(|package| !is_allowed(package));
        let said = |package: &Package| {
            let Package {
                name,
                version,
                licence,
            } = package;
            format!("{name} {version}: its licence `{licence}` is not among those of deny.toml")
        };
        refused.map(said).collect()
    }

    fn versions_of(&self, packages: &[Package]) -> Vec<String> {
        let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Package { name, version, .. } in packages {
            versions.entry(name).or_default().push(version);
        }
        let is_listed = |name: &str, version: &str| {
            self.versions.iter().any(|listed| {
                let version = format!("{name}@{version}");
                version == *listed || version.starts_with(&format!("{listed}."))
            })
        };
        let unlisted = versions.into_iter().filter_map(|(name, versions)| {
            let mut found = versions.clone();
            found.retain(|version| !is_listed(name, version));
            (versions.len() > 1 && found.len() > 1).then(|| {
                format!(
                    "{name}: versions {}; list all but one in deny.toml",
                    found.join(", ")
                )
            })
        });
        unlisted.collect()
    }
}

/// Whether an SPDX expression holds where `is_allowed` says which licences are; `/` is an old word for OR.
/// AND binds closer than OR.
fn holds(licence: &str, is_allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = licence
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let holds_any = |alternatives: Vec<&[&str]>| {
        alternatives.into_iter().any(|all| {
            split(all, "AND").into_iter().all(|part| match part {
                ["(", inner @ .., ")"] => holds(&inner.join(" "), is_allowed),
                name => !name.is_empty() && is_allowed(&name.join(" ")),
            })
        })
    };
    holds_any(split(&words, "OR"))
}

/// The parts between such words that stand in no brackets.
fn split<'a>(words: &'a [&'a str], by: &str) -> Vec<&'a [&'a str]> {
    let mut depth = 0;
    words
        .split(|word| {
            match *word {
                "(" => depth += 1,
                ")" => depth -= 1,
                _ => {}
            }
            depth == 0 && *word == by
        })
        .collect()
}

fn foreign_sources(lock: &str) -> Vec<String> {
    let sources = lock.lines().filter(|line| line.starts_with("source = "));
    let foreign: BTreeSet<&str> = sources.filter(|line| *line != REGISTRY).collect();
    let said = foreign.into_iter();
    said.map(|line| format!("Cargo.lock: {line}: only crates.io is depended on"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTS: &str = "[licenses]\nallow = [\n    \"MIT\",\n    \"Zlib\",\n]\nexceptions = [\n    \
        # Why.\n    { crate = \"tint\", allow = [\"MPL-2.0\"] },\n]\n[bans]\nskip = [\n    \
        { crate = \"syn@2\", reason = \"derives\" },\n]\n[sources]\nunknown-git = \"deny\"\n";

    #[test]
    fn an_expression_of_licences_holds_where_one_way_through_it_is_allowed() {
        let mit = |licence: &str| ["MIT", "Unicode-3.0"].contains(&licence);
        for held in [
            "MIT",
            "Apache-2.0 OR MIT",
            "Unlicense/MIT",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "GPL-3.0 AND Zlib OR MIT",
        ] {
            assert!(holds(held, &mit), "{held}");
        }
        for refused in [
            "",
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "MIT WITH an-exception",
            "(GPL-3.0 OR Zlib) AND MIT",
        ] {
            assert!(!holds(refused, &mit), "{refused}");
        }
    }

    #[test]
    fn what_is_not_listed_is_named() {
        let allowed = Allowed::parse(LISTS);
        let found = packages(
            "a v1.0.0 (/here)|MIT\nsyn v2.0.1|Zlib OR GPL-3.0\nsyn v3.0.1 (*)|MIT\n\ntint v1.0.0|MPL-2.0\n",
        );
        assert!(allowed.licences_of(&found).is_empty());
        assert!(allowed.versions_of(&found).is_empty());
        let found = packages("b v1.0.0|MPL-2.0\nb v2.0.0|MIT\nsyn v20.0.0|MIT\nsyn v3.0.0|MIT");
        assert_eq!(
            allowed.licences_of(&found),
            ["b 1.0.0: its licence `MPL-2.0` is not among those of deny.toml"]
        );
        assert_eq!(
            allowed.versions_of(&found),
            [
                "b: versions 1.0.0, 2.0.0; list all but one in deny.toml",
                "syn: versions 20.0.0, 3.0.0; list all but one in deny.toml"
            ]
        );
        let lock = format!("{REGISTRY}\nsource = \"git+https://example.org/x\"\n");
        assert_eq!(foreign_sources(&lock).len(), 1);
    }
}
