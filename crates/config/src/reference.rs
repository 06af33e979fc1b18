//! `docs/configuration.md`, made from the schema.

use std::fmt::Write;

use crate::schema::{Key, SECTIONS, Status};

const INTRODUCTION: &str = "\
# Configuration

Made from `crates/config/src/schema.rs`; a test compares them. Do not edit: run
`UPDATE_REFERENCE=1 cargo test -p writegate-config the_reference`.

`writegate.yml` is YAML and strict: an unknown key is an error, and so is a value that makes no sense. Every problem is
reported at once, as `file:line:column: message`. A key without a value is the same as no key.

* Durations are Prometheus': `30ms`, `5m`, `1h30m`, `0`.
* Sizes are bytes or `KiB`, `MiB`, `GiB`, `TiB`; `KB`, `MB` … mean the same powers of 1,024, as in Prometheus.
* File names are relative to the directory of the main configuration file; `log.path` to the working directory.
* Every secret can be written as a file's name in a key that ends in `_file`; white space around its content is cut.
* *Not available in this version* marks keys that are refused unless they say \"off\" (`false`, `0`, `none`, empty, or
  their default). *No effect* marks keys that are accepted with a warning.
* A list in a file of `remote_write_files` is read as Observatorium's, whose endpoints get `tenant_header:
  THANOS-TENANT` unless they say otherwise, if one of its entries has `http_client_config` or `tlsConfig`, or all of
  them have only `name` and `url`.

Without a file the gateway listens on 127.0.0.1:9009 for tenant `default`, serves the admin API on 127.0.0.1:9010, keeps
its log in `data`, and sends to no endpoint.
";

/// The reference of every key: type, default and meaning, as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    for section in SECTIONS {
        out.push_str("\n## ");
        let title = section.title;
        let name = if title.contains(' ') { title.to_owned() } else { format!("`{title}`") };
        out.push_str(&name);
        out.push_str("\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n");
        section.keys.iter().for_each(|key| row(&mut out, key));
    }
    out
}

fn row(out: &mut String, key: &Key) {
    let literal = !key.default.is_empty() && !key.default.contains('`') && key.default != crate::schema::REQUIRED;
    let prose = key.default.contains(' ') && !key.default.starts_with('[');
    let default = if literal && !prose { format!("`{}`", key.default) } else { key.default.to_owned() };
    let note = match key.status {
        Status::Available => "",
        Status::Later => "*not available in this version*",
        Status::Ignored(_) => "*no effect*",
    };
    let why = match key.status {
        Status::Ignored(why) => why,
        Status::Available | Status::Later => key.meaning,
    };
    let separator = if note.is_empty() || why.is_empty() { "" } else { "; " };
    // Writing to a string cannot fail.
    writeln!(out, "| `{}` | {} | {default} | {why}{separator}{note} |", key.name, key.kind).ok();
}
