//! `cargo xtask readme`: copies tables of `results` into the pages that show them, so that nobody types a number.

use std::path::Path;
use std::process::ExitCode;

/// Pages with copies.
const PAGES: [&str; 2] = ["README.md", "results/README.md"];

/// Before a copy, with the page's path, the table's number on it and, unless all, the rows between these.
const START: &str = "<!-- copied from ";
const NUMBER: &str = ", table ";
const ROWS: &str = ", rows ";
const START_END: &str = ", by `cargo xtask readme` -->\n";
const END: &str = "<!-- end of copy -->\n";

/// Rewrites every copy.
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
    for page in PAGES {
        let path = root.join(page);
        let updated = with_tables(&read(&path)?, |source| read(&root.join(source)))
            .map_err(|error| format!("{page}: {error}"))?;
        std::fs::write(&path, updated).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// `text` with every copy renewed from the page that `read` returns.
fn with_tables(
    text: &str,
    read: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut pieces = text.split(START);
    let mut updated = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let wrong = || format!("'{START}' without '{NUMBER}', '{START_END}' or '{END}'");
        let (source, rest) = piece.split_once(START_END).ok_or_else(wrong)?;
        let (page, number) = source.split_once(NUMBER).ok_or_else(wrong)?;
        let (_, after) = rest.split_once(END).ok_or_else(wrong)?;
        let (number, rows) = match number.split_once(ROWS) {
            Some((number, rows)) => (number, Some(rows)),
            None => (number, None),
        };
        let number: usize = number.parse().map_err(|_| wrong())?;
        let source_text = read(page)?;
        let missing = || format!("{page} holds no table {number}");
        let mut table = nth_table(&source_text, number).ok_or_else(missing)?;
        if let Some(rows) = rows {
            table = rows_of(&table, rows)
                .ok_or_else(|| format!("table {number} of {page} has no rows {rows}"))?;
        }
        for part in [START, source, START_END, "\n", &table, "\n", END, after] {
            updated.push_str(part);
        }
    }
    Ok(updated)
}

/// The Markdown table number `number`, counted from 1.
fn nth_table(page: &str, number: usize) -> Option<String> {
    let mut blocks = page.split("\n\n").filter(|block| block.starts_with('|'));
    let table = blocks.nth(number.checked_sub(1)?)?;
    Some(format!("{}\n", table.trim_end()))
}

/// The head of a table and some of its rows, as `1-11 19`, counted from 1.
fn rows_of(table: &str, rows: &str) -> Option<String> {
    let lines: Vec<&str> = table.split_inclusive('\n').collect();
    let (head, body) = lines.split_at_checked(2)?;
    let mut kept = head.concat();
    for range in rows.split(' ') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        kept.push_str(&body.get(first.checked_sub(1)?..last)?.concat());
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_show_the_tables_of_the_results() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for page in PAGES {
            let text = read(&root.join(page)).unwrap();
            let expected = with_tables(&text, |source| read(&root.join(source))).unwrap();
            assert!(text.contains(START), "{page}");
            assert!(text == expected, "{page}: run `cargo xtask readme`");
        }
    }

    #[test]
    fn each_copy_is_the_table_of_its_number() {
        let page = |name: &str| match name {
            "p.md" => Ok("# T\n\ntext\n\n| a |\n|---|\n| 1 |\n\nmore\n\n| b |\n".to_owned()),
            other => Err(format!("no {other}")),
        };
        let copy = |number: usize, text: &str| {
            format!("x\n{START}p.md{NUMBER}{number}{START_END}{text}{END}y\n")
        };
        let updated = with_tables(&(copy(1, "old") + &copy(2, "")), page).unwrap();
        let expected = copy(1, "\n| a |\n|---|\n| 1 |\n\n") + &copy(2, "\n| b |\n\n");
        assert_eq!(updated, expected);
        let rows = |rows: &str| {
            with_tables(
                &copy(1, "").replace("table 1", &format!("table 1{ROWS}{rows}")),
                page,
            )
        };
        assert!(rows("1").unwrap().contains("| 1 |"));
        assert!(rows("2").is_err() && rows("0").is_err() && rows("x").is_err());
        assert_eq!(
            rows_of("| a |\n|-|\n| 1 |\n| 2 |\n| 3 |\n| 4 |\n", "1-2 4").unwrap(),
            "| a |\n|-|\n| 1 |\n| 2 |\n| 4 |\n"
        );
        assert!(with_tables(&copy(3, ""), page).is_err());
        assert!(with_tables(&copy(1, "").replace("p.md", "q.md"), page).is_err());
        assert!(with_tables(&copy(1, "").replace(END, ""), page).is_err());
    }
}
