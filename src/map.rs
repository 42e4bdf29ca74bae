//! Immutable bytes: a file mapping, a file read into memory, or what the caller has.
#![allow(unsafe_code)] // mapping a file, and holding a slice beside the owner of its memory

use std::any::Any;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::{Mmap, MmapMut};

use crate::error::{Error, Result};

/// Immutable bytes that can be shared: a file mapping, a buffer, static data, or anything that owns bytes.
///
/// A clone shares the bytes; they are released with the last clone.
#[derive(Clone)]
pub struct Bytes {
    bytes: NonNull<[u8]>,
    /// What the memory belongs to; `None` for static data. Never looked at again, only dropped.
    _owner: Option<Arc<dyn Any + Send + Sync>>,
}

// SAFETY: `bytes` is only ever read, and the owner it lies in is itself Send and Sync.
unsafe impl Send for Bytes {}
// SAFETY: as above.
unsafe impl Sync for Bytes {}

/// Memory of which the first `len` bytes are in use.
struct Filled {
    map: MmapMut,
    len: usize,
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.map[..self.len]
    }
}

impl Bytes {
    /// Maps a file into memory, read-only. Nothing is read before it is used, and processes that map the same file
    /// share its pages.
    ///
    /// **While the mapping lives, the file must not be truncated or written to.** Reading a page that was cut off
    /// raises SIGBUS (on Windows, an exception), which ends the process; changed bytes are simply seen, and what was
    /// checked when a model was opened no longer holds. Replacing the file by renaming another over it is safe.
    /// Where others may write to the file, or where it lies on a network or removable drive, use [`Bytes::read`].
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened or mapped, or is not a regular file. An empty file is no error.
    pub fn map(path: &Path) -> Result<Bytes> {
        let (file, len) = open(path)?;
        if len == 0 {
            return Ok(Bytes::from_static(&[])); // not every system maps nothing
        }
        // SAFETY: the mapping is read-only and private to this module; that nobody shrinks or changes the file
        // meanwhile is the promise the documentation above asks for, as every file mapping must.
        let map = unsafe { Mmap::map(&file) }.map_err(|source| io_error(path, "map", source))?;
        // Weights are read from one end to the other for each token, some hundredths to a tenth faster in pages of 2 MB than
        // of 4 kB, and faults are fewer. Linux has them if it reads the file now; what is in memory already stays as it is.
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::HugePage);
        Ok(Bytes::from_owner(map))
    }

    /// Reads a whole file into memory of its own. What then happens to the file does not matter.
    ///
    /// The first byte lies on a page, so tensors in it are aligned as in a mapping. On Linux these are pages of 2 MB, if the
    /// system has such, which weights are read from faster than from the usual ones.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be opened or read to its end, or is not a regular file; [`Error::NoMemory`] if
    /// it does not fit into memory.
    pub fn read(path: &Path) -> Result<Bytes> {
        let (mut file, len) = open(path)?;
        let len = usize::try_from(len).map_err(|_| Error::NoMemory { bytes: usize::MAX, what: "a file" })?;
        Bytes::filled(len, "a file", |buffer| file.read_exact(buffer).map_err(|source| io_error(path, "read", source)))
    }

    /// Takes `len` bytes of memory, aligned as in [`Bytes::read`], and has them written: they are zeros before. `what` it
    /// is for is said if there is no memory.
    ///
    /// # Errors
    /// [`Error::NoMemory`], and what `fill` says.
    pub fn filled(len: usize, what: &'static str, fill: impl FnOnce(&mut [u8]) -> Result<()>) -> Result<Bytes> {
        // (Not every system maps nothing.)
        let mut map = MmapMut::map_anon(len.max(1)).map_err(|_| Error::NoMemory { bytes: len, what })?;
        #[cfg(target_os = "linux")]
        let _ = map.advise(Advice::HugePage); // as in `Bytes::map`
        fill(&mut map[..len])?;
        Ok(Bytes::from_owner(Filled { map, len }))
    }

    /// Bytes that live as long as the program, such as `include_bytes!`.
    pub fn from_static(bytes: &'static [u8]) -> Bytes {
        Bytes { bytes: NonNull::from(bytes), _owner: None }
    }

    /// Takes over a buffer.
    pub fn from_vec(bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(bytes)
    }

    /// Takes over anything that owns bytes, such as another library's mapping. `as_ref` is called once.
    pub fn from_owner<T: AsRef<[u8]> + Send + Sync + 'static>(owner: T) -> Bytes {
        let owner = Arc::new(owner); // first to its final address, since a T may hold its bytes inline
        let bytes = NonNull::from((*owner).as_ref());
        Bytes { bytes, _owner: Some(owner) }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the slice came from a shared borrow of static data or of the owner, which stays borrowed, unmoved
        // and alive for as long as `self`.
        unsafe { self.bytes.as_ref() }
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({})", self.len())
    }
}

/// The open file and its size. Looks before it opens, since opening a pipe would wait for a writer.
pub(crate) fn open(path: &Path) -> Result<(File, u64)> {
    let refuse = |source| io_error(path, "open", source);
    let meta = std::fs::metadata(path).map_err(refuse)?;
    if meta.is_dir() {
        return Err(refuse(io::ErrorKind::IsADirectory.into()));
    }
    if !meta.is_file() {
        return Err(refuse(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let file = File::open(path).map_err(refuse)?;
    let len = file.metadata().map_err(refuse)?.len();
    Ok((file, len))
}

pub(crate) fn io_error(path: &Path, action: &'static str, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_with_inline_bytes_is_read_where_it_ends_up() {
        let bytes = Bytes::from_owner([1u8, 2, 3]);
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!(*clone, [1, 2, 3]);
        assert_eq!(*std::thread::spawn(move || clone.to_vec()).join().unwrap(), [1, 2, 3]);
    }

    #[test]
    fn the_owner_is_dropped_with_the_last_clone() {
        struct Shared(Arc<[u8]>);
        impl AsRef<[u8]> for Shared {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        let count: Arc<[u8]> = Arc::from(*b"xy");
        let bytes = Bytes::from_owner(Shared(count.clone()));
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!((Arc::strong_count(&count), &*clone), (2, &b"xy"[..]));
        drop(clone);
        assert_eq!(Arc::strong_count(&count), 1);
    }

    #[test]
    fn mapping_and_reading_give_the_same_bytes() {
        let dir = std::env::temp_dir().join(format!("pumice-map-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for len in [0usize, 1, 63, 64, 65, 10_000] {
            let path = dir.join(len.to_string());
            let content: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            assert_eq!(*Bytes::map(&path).unwrap(), content);
            let read = Bytes::read(&path).unwrap();
            assert_eq!(*read, content);
            assert_eq!(read.as_ptr().addr() % 64, 0);
        }
        let missing = dir.join("missing");
        for bad in [&dir, &missing] {
            for result in [Bytes::map(bad), Bytes::read(bad)] {
                let error = result.unwrap_err();
                assert!(matches!(&error, Error::Io { path, action: "open", .. } if path == bad), "{error}");
            }
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
