//! Files that appear whole or not at all, and what is said when the disk refuses.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Problem;

/// The files that this process has begun and not finished, by the names that they have until then.
static BEGUN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn all_begun() -> MutexGuard<'static, Vec<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One of them, while it lives.
#[derive(Debug)]
struct Begun(PathBuf);

impl Drop for Begun {
    fn drop(&mut self) {
        all_begun().retain(|path| *path != self.0);
    }
}

/// Removes every file that was begun and not finished, and has no other begun: for a process that ends at
/// once, on a signal.
pub fn abandon_unfinished() {
    let begun = all_begun();
    for path in begun.iter() {
        // What cannot be removed is swept another time.
        let _ = std::fs::remove_file(path);
    }
    std::mem::forget(begun);
}

/// A file that is written beside its place and renamed when it is finished, so that no reader ever
/// sees half of it. Dropped before, it leaves nothing.
///
/// Its permissions are those of an ordinary new file: what the umask says.
///
/// # Example
/// ```
/// use data::WholeFile;
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("numbers.txt");
/// let mut file = WholeFile::create(&path)?;
/// file.write_all(b"1 2 3")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read(&path)?, b"1 2 3");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WholeFile {
    file: tempfile::NamedTempFile,
    path: PathBuf,
    begun: Begun,
}

impl WholeFile {
    /// Begins a file in a folder that is there. Where its name is a link to a file, that file is meant, and the link stays.
    ///
    /// # Errors
    /// What the system says; a device, a pipe or a socket in its place, which would be lost.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            let problem = "it is a device or a pipe, no file; give another name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut all = all_begun();
        let file = builder.tempfile_in(folder_of(path))?;
        let begun = Begun(file.path().to_owned());
        all.push(begun.0.clone());
        Ok(Self {
            file,
            path: path.to_owned(),
            begun,
        })
    }

    /// The file as it is until then.
    pub(crate) fn file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Puts the file in its place, in the stead of one that is there, to outlast a power cut.
    ///
    /// # Errors
    /// What the system says; then all is as before.
    pub fn finish(self) -> io::Result<()> {
        let Self { file, path, begun } = self;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        drop(begun);
        // The rename itself, where the system can: not every network drive does, and the file is there.
        if cfg!(unix) {
            let _ = File::open(folder_of(&path)).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }

    /// Writes a file of these bytes.
    ///
    /// # Errors
    /// What the system says; then all is as before.
    pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = Self::create(path)?;
        file.write_all(bytes)?;
        file.finish()
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for WholeFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Names of files that are not finished begin and end so.
const PREFIX: &str = ".unfinished-";
const SUFFIX: &str = ".tmp";

/// Removes what killed processes left unfinished in a folder in which no other process is at work.
pub fn sweep(folder: &Path) {
    // A folder that cannot be read or cleaned will be met again by whoever writes there.
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    WholeFile::write(path, bytes).map_err(cannot_write)
}

pub(crate) fn cannot_write(source: io::Error) -> Problem {
    Problem::Io {
        action: "write the file",
        source,
    }
}

pub(crate) fn cannot_read(source: io::Error) -> Problem {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let taken = folder.path().join("taken");
        std::fs::create_dir(&taken).unwrap();
        assert!(WholeFile::write(&taken, b"x").is_err());
        let kept = folder.path().join("kept");
        WholeFile::write(&kept, b"old").unwrap();
        let mut half = WholeFile::create(&kept).unwrap();
        half.write_all(b"ne").unwrap();
        drop(half);
        assert_eq!(std::fs::read(&kept).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("numbers.txt");
        WholeFile::write(&path, b"1").unwrap();
        std::fs::write(folder.path().join("own.tmp"), b"1").unwrap();
        let left = WholeFile::create(&path).unwrap();
        std::mem::forget(left);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
        sweep(folder.path());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(path.exists());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_and_what_is_no_file_is_not_replaced() {
        use std::os::unix::net::UnixListener;
        let folder = tempfile::tempdir().unwrap();
        let [file, link, socket] = ["file", "link", "socket"].map(|name| folder.path().join(name));
        WholeFile::write(&file, b"old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        WholeFile::write(&link, b"new").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = WholeFile::write(&socket, b"x").unwrap_err();
        assert!(error.to_string().contains("no file"), "{error}");
        assert!(!std::fs::metadata(&socket).unwrap().is_file());
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_those_of_an_ordinary_file() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let [whole, ordinary] = ["whole", "ordinary"].map(|name| folder.path().join(name));
        WholeFile::write(&whole, b"x").unwrap();
        std::fs::write(&ordinary, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&whole), mode(&ordinary));
    }
}
