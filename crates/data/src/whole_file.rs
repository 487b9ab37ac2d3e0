//! Files that appear whole or not at all, and what is said when the disk refuses.

use std::io::Write;
use std::path::Path;

use crate::Problem;

pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let folder = folder_of(path);
    let write = || {
        let mut file = temporary_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().map_err(cannot_write)
}

pub(crate) fn cannot_write(source: std::io::Error) -> Problem {
    Problem::Io {
        action: "write the file",
        source,
    }
}

pub(crate) fn cannot_read(source: std::io::Error) -> Problem {
    Problem::Io {
        action: "read the file",
        source,
    }
}

/// Where the file is.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// A temporary file with the permissions of an ordinary one (the umask applies).
pub(crate) fn temporary_in(folder: &Path) -> std::io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Makes the rename itself last through a power cut, where the system can.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}
