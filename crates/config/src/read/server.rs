//! Reads `admin` and `log`.

use std::path::PathBuf;

use crate::config::{Admin, AdminCredential, AdminPublic, Listener, Log, OnFull, Size};
use crate::read::listener::parse_address;
use crate::read::{access, auth, section};
use crate::schema;
use crate::secret::{SecretSource, TextSource};
use crate::table::{Report, Table};
use crate::units::parse_size;

/// A tenant's log holds at least a few of the smallest segments.
const MIN_LOG_SIZE: u64 = 1 << 20;

pub(super) const ON_FULL: [(&str, OnFull); 2] = [("drop_oldest", OnFull::DropOldest), ("refuse", OnFull::Refuse)];

pub(super) fn admin(file: &Table<'_>, listeners: &[Listener], report: &mut Report) -> Admin {
    let table = section(file, "admin", &schema::ADMIN, report);
    let default_address = std::net::SocketAddr::from(([127, 0, 0, 1], 9010));
    let address = table.get("address").and_then(|field| field.parse(report, parse_address)).unwrap_or(default_address);
    let at = table.get("address").unwrap_or_else(|| table.field().clone());
    if address.port() != 0 && listeners.iter().any(|listener| listener.address == address) {
        at.wrong(report, "a listener has this address");
    }

    let bearer = table.get("bearer_token_file");
    let basic = table.get("basic_auth");
    if bearer.is_some() && basic.is_some() {
        table.field().wrong(report, "at most one of bearer_token_file and basic_auth");
    }
    let credential = match (bearer, basic) {
        (Some(bearer), _) => bearer.file(report).map(|file| AdminCredential::Bearer(SecretSource::File(file))),
        (None, Some(basic)) => {
            let (username, password) = auth::basic(&basic, report);
            // Empty ones would let everyone in.
            if username == TextSource::Inline(String::new()) || password == SecretSource::default() {
                basic.wrong(report, "a username and a password are needed");
            }
            Some(AdminCredential::Basic { username, password })
        }
        (None, None) => None,
    };
    let written = credential.is_some() || table.get("bearer_token_file").is_some();

    let public = public(&table, report);
    let public_only = !address.ip().is_loopback() && !written;
    if public_only && (table.get("public").is_none() || public == AdminPublic::default()) {
        at.wrong_with_hint(
            report,
            "off loopback a credential is needed",
            "write bearer_token_file or basic_auth, or `public: [metrics, healthy, ready]` to serve nothing else",
        );
    }
    let tls = table.get("tls_config").and_then(|tls| access::server_tls(tls, report));
    if !address.ip().is_loopback() && written && tls.is_none() {
        at.warn(report, "the credential crosses the network without TLS", None);
    }
    Admin { address, tls, credential, public, public_only }
}

fn public(admin: &Table<'_>, report: &mut Report) -> AdminPublic {
    let Some(list) = admin.get("public") else {
        return AdminPublic { metrics: true, healthy: true, ready: true };
    };
    let mut public = AdminPublic::default();
    for item in list.items(report) {
        match item.choice(report, &[("metrics", 1), ("healthy", 2), ("ready", 3)]) {
            Some(1) => public.metrics = true,
            Some(2) => public.healthy = true,
            Some(_) => public.ready = true,
            None => {}
        }
    }
    public
}

pub(super) fn log(table: &Table<'_>, report: &mut Report) -> Log {
    let path = table.text("path", report);
    if let Some(field) = table.get("path").filter(|_| path.is_empty() || path.contains('\0')) {
        field.wrong(report, "expected the name of a directory");
    }
    Log {
        path: PathBuf::from(path),
        retain: table.duration("retain", report),
        max_size: table.value("max_size", report, parse_log_size),
        max_total_size: table.value("max_total_size", report, parse_total_size),
        min_free: table.size("min_free", report),
        on_full: table.choice("on_full", report, &ON_FULL),
    }
}

/// The size of a tenant's log.
pub(super) fn parse_log_size(text: &str) -> Result<u64, String> {
    match parse_size(text) {
        Ok(bytes) if bytes >= MIN_LOG_SIZE => Ok(bytes),
        Ok(_) => Err("a tenant's log needs at least 1MiB".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_total_size(text: &str) -> Result<Size, String> {
    if let Some(percent) = text.strip_suffix('%') {
        return match percent.trim_end().parse::<u8>() {
            Ok(percent @ 1..=100) => Ok(Size::Percent(percent)),
            _ => Err("expected 1% to 100%".to_owned()),
        };
    }
    match parse_size(text) {
        Ok(bytes) if bytes >= MIN_LOG_SIZE => Ok(Size::Bytes(bytes)),
        Ok(_) => Err("all logs together need at least 1MiB".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
