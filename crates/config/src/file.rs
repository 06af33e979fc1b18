//! Reads the files that a configuration names, within bounds.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The most that a file of the configuration may hold.
pub const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// What a file holds. A pipe or a device is refused before it is opened: it may keep its reader waiting, and holds nothing
/// that could be read a second time.
///
/// # Errors
/// When it cannot be read, is no regular file, or holds more than [`MOST_BYTES`].
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    read_at_most(File::open(path)?)
}

/// As [`read_file`], of UTF-8.
///
/// # Errors
/// As [`read_file`], and when it is not UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    text(read_file(path)?)
}

/// What may be a pipe, too: the main file, whose reader wants to wait for it.
pub(crate) fn read_text_or_pipe(path: &Path) -> io::Result<String> {
    text(read_at_most(File::open(path)?)?)
}

fn read_at_most(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it holds more than 64 MiB"));
    }
    Ok(bytes)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_utf8| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_or_has_no_end_is_refused_in_words() {
        let refused = read_file(Path::new("/dev/null")).unwrap_err();
        assert_eq!(refused.to_string(), "it is not a regular file");
        let endless = read_text_or_pipe(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(endless.to_string(), "it holds more than 64 MiB");
        assert_eq!(read_text_or_pipe(Path::new("/dev/null")).unwrap(), "");
    }
}
