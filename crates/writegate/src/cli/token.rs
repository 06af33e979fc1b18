//! `writegate token`: tenants' keys and tokens, in Opstrace's form: files only, no gateway is asked.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use identity::issue::{self, LastKey, NewToken};
use identity::revocation;
use writegate_config::TenantName;

use crate::clock::now_ms;

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a key pair: the private key, PEM, readable for its owner only
    #[command(after_help = "Example:\n  writegate token keypair blue.pem")]
    Keypair {
        /// A file that does not exist yet
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Prints a token for a tenant's senders
    #[command(after_help = "Example:\n  writegate token create demo team-blue blue.pem > blue.token")]
    Create {
        /// The instance the token is for: `audience` in the configuration is opstrace-cluster-INSTANCE
        instance: String,
        /// The tenant
        tenant: String,
        /// The private key
        #[arg(value_name = "KEYFILE")]
        key_file: PathBuf,
        /// For how long it is taken
        #[arg(long, value_name = "DURATION", default_value = "1y", value_parser = super::duration)]
        lifetime: Duration,
    },
    /// Prints the ids of the keys of a key set
    #[command(after_help = "Example:\n  writegate token list keys.json")]
    List {
        /// The key set
        #[arg(value_name = "KEYSET")]
        key_set: PathBuf,
        /// Print one JSON array
        #[arg(long)]
        json: bool,
    },
    /// Adds a key to a key set, which is made if it does not exist, and prints its id
    #[command(after_help = "Example:\n  writegate token add keys.json blue.pem")]
    Add {
        /// The key set
        #[arg(value_name = "KEYSET")]
        key_set: PathBuf,
        /// The private or the public key; the key set gets the public one
        #[arg(value_name = "KEYFILE")]
        key_file: PathBuf,
    },
    /// Takes a key out of a key set: its tokens are refused from then on
    #[command(
        after_help = "Example:\n  writegate token remove keys.json \\\n    \"$(writegate token list keys.json | head -n 1)\""
    )]
    Remove {
        /// The key set
        #[arg(value_name = "KEYSET")]
        key_set: PathBuf,
        /// The key's id, as `list` prints it
        #[arg(value_name = "KID")]
        kid: String,
        /// Also if it is the last one, after which every token is refused
        #[arg(long)]
        force: bool,
    },
    /// Adds a token to a file of revoked ones
    #[command(after_help = "Example:\n  writegate token revoke revoked.txt \"$(cat blue.token)\"")]
    Revoke {
        /// The file that `revoked_file` names
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// The token, of which only a digest is written, or its `jti`
        #[arg(value_name = "TOKEN|JTI")]
        token: String,
    },
}

pub(super) fn run(args: TokenArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        TokenCommand::Keypair { file } => keypair(&file)?,
        TokenCommand::Create { instance, tenant, key_file, lifetime } => {
            TenantName::new(&tenant).with_context(|| format!("create a token for tenant {tenant:?}"))?;
            let key = read(&key_file)?;
            let jti = issue::random_jti()?;
            let lifetime_seconds = i64::try_from(lifetime.as_secs())?;
            let issued_at = now_ms() / 1000;
            let new = NewToken { instance: &instance, tenant: &tenant, issued_at, lifetime_seconds, jti: &jti };
            let token = issue::create_token(&new, &key)
                .with_context(|| format!("create a token with the key in {}", key_file.display()))?;
            print(&token)?;
        }
        TokenCommand::List { key_set, json } => {
            let kids = issue::list_keys(&read(&key_set)?).with_context(|| of_key_set(&key_set))?;
            print(&if json { serde_json::to_string(&kids)? } else { kids.join("\n") })?;
        }
        TokenCommand::Add { key_set, key_file } => {
            let document = match fs::read_to_string(&key_set) {
                Err(error) if error.kind() == ErrorKind::NotFound => "{}".to_owned(),
                read => read.with_context(|| format!("read {}", key_set.display()))?,
            };
            let (document, kid) = issue::add_key(&document, &read(&key_file)?).with_context(|| of_key_set(&key_set))?;
            replace(&key_set, &document)?;
            print(&kid)?;
        }
        TokenCommand::Remove { key_set, kid, force } => {
            let last = if force { LastKey::MayGo } else { LastKey::Stays };
            let removed = issue::remove_key(&read(&key_set)?, &kid, last).with_context(|| of_key_set(&key_set));
            let hint = if force { "" } else { "; --force removes the last one, too" };
            replace(&key_set, &removed.with_context(|| format!("remove the key {kid}{hint}"))?)?;
        }
        TokenCommand::Revoke { file, token } => revoke(&file, token.trim())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn keypair(file: &Path) -> anyhow::Result<()> {
    let key = issue::generate_key_pair()?;
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let mut created = match created {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("create {}: it exists, and may be a key that is in use; choose another name", file.display());
        }
        created => created.with_context(|| format!("create {}", file.display()))?,
    };
    created.write_all(key.as_bytes()).with_context(|| format!("write {}", file.display()))
}

fn revoke(file: &Path, token: &str) -> anyhow::Result<()> {
    if token.is_empty() || token.contains(char::is_whitespace) {
        bail!("revoke {token:?}: expected a token or a jti, without blanks");
    }
    let line = if token.contains('.') { revocation::line_for(token) } else { token.to_owned() };
    let mut text = match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        read => read.with_context(|| format!("read {}", file.display()))?,
    };
    if text.lines().any(|known| known == line) {
        bail!("revoke: {} has it already", file.display());
    }
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    replace(file, &format!("{text}{line}\n"))
}

fn of_key_set(path: &Path) -> String {
    format!("the key set {}", path.display())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Whole or not at all: a gateway may be reading it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut name = path.file_name().context("expected the name of a file")?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, text).with_context(|| format!("write {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("replace {}", path.display()))
}

/// Nothing but what was asked for: it may be the input of something else.
fn print(text: &str) -> anyhow::Result<()> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
