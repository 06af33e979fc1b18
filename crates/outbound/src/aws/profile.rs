//! The files in which AWS' tools keep profiles (AWS SDKs and Tools Reference, "Shared config and credentials files").

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use writegate_config as config;

use super::AwsError;
use crate::sigv4::Keys;

/// Ways to keys that a profile may name and that are not gone here.
const NOT_FOLLOWED: [&str; 6] =
    ["role_arn", "source_profile", "credential_source", "credential_process", "web_identity_token_file", "sso_session"];

/// Where the files are.
#[derive(Debug)]
pub(super) struct ProfileFiles {
    credentials: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// What both say about one profile.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) keys: Option<Keys>,
    /// Instead of keys.
    pub(super) way: Option<&'static str>,
    pub(super) region: Option<String>,
}

impl ProfileFiles {
    pub(super) fn of_environment(variable: &impl Fn(&str) -> Option<String>) -> Self {
        let file = |name: &str, default: &str| {
            let at_home = || Some(PathBuf::from(variable("HOME")?).join(".aws").join(default));
            variable(name).map(PathBuf::from).or_else(at_home)
        };
        Self {
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            config: file("AWS_CONFIG_FILE", "config"),
        }
    }

    /// The profile, as the files are at this moment; `None` if neither has it.
    pub(super) fn read(&self, name: &str) -> Result<Option<Profile>, AwsError> {
        let in_config = if name == "default" { name.to_owned() } else { format!("profile {name}") };
        let from_config = section(self.config.as_deref(), &in_config, name)?;
        let from_credentials = section(self.credentials.as_deref(), name, name)?;
        if from_config.is_none() && from_credentials.is_none() {
            return Ok(None);
        }
        let mut all = from_config.unwrap_or_default();
        all.extend(from_credentials.unwrap_or_default());
        let keys = all.remove("aws_access_key_id").zip(all.remove("aws_secret_access_key"));
        let keys = keys.map(|(access_key, secret_key)| Keys {
            access_key,
            secret_key: config::Secret::new(secret_key),
            token: all.remove("aws_session_token").map(config::Secret::new),
        });
        let way = NOT_FOLLOWED.into_iter().find(|way| all.contains_key(*way));
        Ok(Some(Profile { keys, way, region: all.remove("region") }))
    }

    pub(super) fn not_followed(name: &str, way: &str) -> AwsError {
        let why = format!("gets its keys by `{way}`, which is not followed here; use keys, or `role_arn` of sigv4");
        AwsError::Profile { name: name.to_owned(), why }
    }

    pub(super) fn no_keys(&self, name: &str) -> AwsError {
        let file = self.credentials.as_ref().map_or_else(|| "any file".to_owned(), |file| file.display().to_string());
        let why = format!("has no aws_access_key_id and aws_secret_access_key in {file}");
        AwsError::Profile { name: name.to_owned(), why }
    }
}

/// The keys of a section, in lower case; `None` without the file or the section.
fn section(file: Option<&Path>, wanted: &str, profile: &str) -> Result<Option<BTreeMap<String, String>>, AwsError> {
    let Some(file) = file else { return Ok(None) };
    let text = match config::read_text(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let why = format!("cannot be read from {}: {error}", file.display());
            return Err(AwsError::Profile { name: profile.to_owned(), why });
        }
    };
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_wanted = false;
    for line in text.lines() {
        // What is indented belongs to the key above, which is none of those that are read here.
        if line.starts_with(['#', ';', ' ', '\t']) {
            continue;
        }
        if let Some(name) = line.trim().strip_prefix('[').and_then(|line| line.split(']').next()) {
            is_wanted = name.split_whitespace().collect::<Vec<_>>().join(" ") == wanted;
            if is_wanted {
                found.get_or_insert_default();
            }
        } else if let (true, Some((key, value))) = (is_wanted, line.split_once('=')) {
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok(found)
}
