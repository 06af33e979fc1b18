//! The file for the gateway and the secrets beside it: each written whole or not at all, readable by nobody else. Secrets come
//! before the file that names them, and go after it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use targets::file::{Previous, Rendered};

/// What the file is called among objects that could not be written.
pub(crate) const OBJECT: &str = "File";

/// A file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} {path}: {source}", path = path.display())]
pub(crate) struct WriteError {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The entries of the file as it is; none if there is none.
pub(crate) fn previous(path: &Path) -> BTreeMap<String, Previous> {
    match writegate_config::read_text(path) {
        Ok(text) => targets::file::previous(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "the last file for the gateway cannot be read; a new one is made");
            BTreeMap::new()
        }
    }
}

pub(crate) fn write(
    path: &Path,
    secrets: &Path,
    rendered: &Rendered,
    previous: &BTreeMap<String, Previous>,
) -> Result<(), WriteError> {
    for (name, bytes) in &rendered.secrets {
        whole(&secrets.join(name), bytes)?;
    }
    whole(path, rendered.text.as_bytes())?;
    // Only files that the last one named are taken away: what else is there is not ours.
    let mut stale = BTreeSet::new();
    for last in previous.values() {
        named(&last.entry, secrets, &mut stale);
    }
    let wanted = |name: &PathBuf| {
        let name = name.to_string_lossy();
        rendered.secrets.contains_key(name.as_ref()) || rendered.kept.contains(name.as_ref())
    };
    for name in stale.into_iter().filter(|name| !wanted(name)) {
        let path = secrets.join(&name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(WriteError { attempt: "remove", path, source });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Writes a file under another name and moves it into place. One that holds these bytes already is left alone, so that the
/// gateway does not read it again.
fn whole(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    if fs::read(path).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let at = |attempt: &'static str, path: &Path| {
        let path = path.to_owned();
        move |source| WriteError { attempt, path, source }
    };
    let directory =
        path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(at("create the directory", directory))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let temporary = directory.join(format!(".{name}.{:08x}.tmp", fastrand::u32(..)));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(directory)?.sync_all()
    })();
    if written.is_err() {
        fs::remove_file(&temporary).ok();
    }
    written.map_err(at("write", path))
}

/// Every file below the directory of secrets that an entry names.
fn named(value: &Json, secrets: &Path, found: &mut BTreeSet<PathBuf>) {
    match value {
        Json::String(text) => {
            let name = Path::new(text).strip_prefix(secrets).ok();
            let plain = |name: &&Path| name.components().all(|part| matches!(part, std::path::Component::Normal(_)));
            found.extend(name.filter(plain).map(Path::to_owned));
        }
        Json::Array(items) => items.iter().for_each(|item| named(item, secrets, found)),
        Json::Object(entries) => entries.values().for_each(|value| named(value, secrets, found)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn secrets_are_readable_by_nobody_else_and_go_when_nothing_names_them() {
        let directory = tempfile::tempdir().unwrap();
        let (file, secrets) = (directory.path().join("e.yaml"), directory.path().join("secrets"));
        let line = |names: &[&str]| {
            let files: Vec<String> = names.iter().map(|name| format!("\"{}\"", secrets.join(name).display())).collect();
            format!("- {{\"name\":\"a\",\"x\":[{}]}}\n", files.join(","))
        };
        let rendered = |names: &[&str]| Rendered {
            text: line(names),
            secrets: names.iter().map(|name| ((*name).to_owned(), b"s".to_vec())).collect(),
            kept: BTreeSet::new(),
        };
        write(&file, &secrets, &rendered(&["n/a/k", "n/b/k"]), &BTreeMap::new()).unwrap();
        for (path, mode) in [(&file, 0o600), (&secrets.join("n/a/k"), 0o600), (&secrets.join("n/a"), 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
        fs::write(secrets.join("theirs"), "x").unwrap();
        write(&file, &secrets, &rendered(&["n/b/k"]), &previous(&file)).unwrap();
        let left = |name: &str| secrets.join(name).exists();
        assert_eq!([left("n/a/k"), left("n/b/k"), left("theirs")], [false, true, true]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing temporary is left");
    }
}
