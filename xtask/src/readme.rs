//! `cargo xtask readme`: copies the table of `results/table1.md` into the README, so that nobody types a number.

use std::path::Path;
use std::process::ExitCode;

const START: &str = "<!-- table 1: copied from results/table1.md by `cargo xtask readme` -->\n";
const END: &str = "<!-- end of table 1 -->\n";

/// Rewrites the README's copy of the table.
pub fn run(root: &Path) -> ExitCode {
    match update(root) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

fn update(root: &Path) -> Result<(), String> {
    let path = root.join("README.md");
    let readme = read(&path)?;
    let page = read(&root.join("results/table1.md"))?;
    let updated = with_table(&readme, first_table(&page)?)?;
    std::fs::write(&path, updated).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The first Markdown table of `page`: the r² of every row.
fn first_table(page: &str) -> Result<&str, String> {
    let start = page.find("\n|").ok_or("results/table1.md holds no table")? + 1;
    let end = page[start..]
        .find("\n\n")
        .map_or(page.len(), |end| start + end + 1);
    Ok(&page[start..end])
}

fn with_table(readme: &str, table: &str) -> Result<String, String> {
    let missing = || format!("README.md lacks the lines {START:?} and {END:?}");
    let start = readme.find(START).ok_or_else(missing)? + START.len();
    let end = readme.find(END).ok_or_else(missing)?;
    let (before, after) = (readme.get(..start), readme.get(end..));
    let (before, after) = (before.ok_or_else(missing)?, after.ok_or_else(missing)?);
    Ok(format!("{before}\n{table}\n{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_the_table_of_the_results() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let readme = read(&root.join("README.md")).unwrap();
        let page = read(&root.join("results/table1.md")).unwrap();
        let expected = with_table(&readme, first_table(&page).unwrap()).unwrap();
        assert!(readme == expected, "run `cargo xtask readme`");
    }

    #[test]
    fn only_the_first_table_is_taken() {
        let page = "# T\n\ntext\n\n| a |\n|---|\n| 1 |\n\nmore\n\n| b |\n";
        assert_eq!(first_table(page).unwrap(), "| a |\n|---|\n| 1 |\n");
        let readme = format!("x\n{START}old\n{END}y\n");
        let updated = with_table(&readme, "| a |\n").unwrap();
        assert_eq!(updated, format!("x\n{START}\n| a |\n\n{END}y\n"));
    }

    #[test]
    fn a_readme_without_markers_is_an_error() {
        assert!(with_table("no markers", "| a |\n").is_err());
    }
}
