//! Files that are replaced as a whole: written beside their place, then renamed into it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// A file on its way: until [`commit`](Self::commit), what was at its path stays there; without it, nothing stays of
/// the new one.
#[derive(Debug)]
pub struct Replacement {
    path: PathBuf,
    beside: PathBuf,
    /// `None` when it has been committed.
    file: Option<File>,
}

impl Replacement {
    /// Starts a file that will be at `path`. Until then it is in the same folder, with a name of this process's own.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be created there.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let Some(name) = path.file_name() else {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file");
            return Err(failed(&path, "create", source));
        };
        if path.is_dir() {
            return Err(failed(&path, "create", io::ErrorKind::IsADirectory.into()));
        }
        // Two threads may write the same file; and a killed process of the same number may have left one.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let mut beside = name.to_owned();
            beside.push(format!(".{}-{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let beside = path.with_file_name(beside);
            match File::create_new(&beside) {
                Ok(file) => return Ok(Self { path, beside, file: Some(file) }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(failed(&path, "create", source)),
            }
        }
    }

    /// Where the file will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the file in its place, when it is safely on the disk.
    ///
    /// # Errors
    /// [`Error::Io`]; what was there before then stays.
    pub fn commit(mut self) -> Result<()> {
        if let Some(file) = &self.file {
            file.sync_all().map_err(|source| failed(&self.path, "write", source))?;
        }
        self.file = None; // closed, as some systems rename no open file
        fs::rename(&self.beside, &self.path).map_err(|source| {
            let _ = fs::remove_file(&self.beside);
            failed(&self.path, "write", source)
        })?;
        // The new name itself, where folders can be synced; if not, a power cut may bring back what was there before.
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().map_or(Ok(0), |file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.beside);
        }
    }
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = std::env::temp_dir().join(format!("pumice-replace-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("model");
        fs::write(&path, "old").unwrap();

        let mut file = Replacement::create(&path).unwrap();
        file.write_all(b"half").unwrap();
        drop(file);
        let names = || fs::read_dir(&folder).unwrap().count();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"old".to_vec(), 1));

        let mut file = Replacement::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"old".to_vec(), 2));
        file.commit().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"new".to_vec(), 1));

        // The one that is committed last stays.
        let mut files = [0, 1].map(|_| Replacement::create(&path).unwrap());
        for (file, text) in files.iter_mut().zip(["first", "second"]) {
            file.write_all(text.as_bytes()).unwrap();
        }
        for file in files {
            file.commit().unwrap();
        }
        assert_eq!((fs::read(&path).unwrap(), names()), (b"second".to_vec(), 1));

        assert!(matches!(Replacement::create(&folder), Err(Error::Io { action: "create", .. })));
        assert!(matches!(Replacement::create(folder.join("no/model")), Err(Error::Io { .. })));
        fs::remove_dir_all(&folder).unwrap();
    }
}
