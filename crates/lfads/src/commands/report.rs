//! `lfads report`: a run as one page.

use std::path::{Path, PathBuf};

use anyhow::Result;
use pipeline::RunFolder;
use runs::output::check_file;
use runs::store::write_atomically;
use serde_json::json;

use super::Session;

/// One self-contained HTML page about a run: traces, rasters, factors, fits, losses.
///
/// It needs no network and can be mailed. Example: `lfads report run` writes run/report.html.
#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// Folder that `fit` wrote
    run: PathBuf,

    /// File to write [default: report.html in the folder]
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
}

impl ReportArgs {
    pub fn run(&self, session: &Session<'_>) -> Result<()> {
        let (folder, record) = RunFolder::open(&self.run)?;
        let page = report::page(&folder, &record)?;
        let output = self.output.clone();
        let output = output.unwrap_or_else(|| folder.file("report.html"));
        let own = RunFolder::FILES.map(|name| self.run.join(name));
        let mut own: Vec<&Path> = own.iter().map(PathBuf::as_path).collect();
        // What the fit read is not read again, but is as precious.
        own.push(&record.source.path);
        check_file(&output, &own)?;
        write_atomically(&output, page.as_bytes())?;
        let text = format!("{}: {} kB\n", output.display(), page.len() / 1000);
        session.print(
            &json!({"output": output.to_string_lossy(), "bytes": page.len()}),
            &text,
        )
    }
}
