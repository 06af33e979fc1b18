//! Fetches the browser of the console's tests into `.cache/peers/chromium-<version>/`: Debian's Chromium and ChromeDriver with
//! the libraries and a font that the machine lacks, and axe-core from npm. Nothing is installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::apt::Apt;
use crate::in_ci;
use crate::peers::upstream_version;

const PACKAGES: [&str; 3] = ["chromium", "chromium-driver", "fonts-dejavu-core"];

/// The accessibility rules. `tests` finds the file beside the browser.
const AXE: &str = "axe-core@4.14.1";

/// Starts ChromeDriver with the libraries and fonts around it; its Chromium inherits both.
const START: &str = r#"#!/bin/sh
home=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
LD_LIBRARY_PATH=$(find "$home/usr/lib" -name 'lib*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
FONTCONFIG_FILE=$home/fonts.conf
export LD_LIBRARY_PATH FONTCONFIG_FILE
exec "$home/usr/bin/chromedriver" "$@"
"#;

/// Makes the browser present. Where it cannot be had the tests that need it skip, so outside CI that is said and no failure.
pub(crate) fn fetch(root: &Path) -> Result<()> {
    match fetch_into(&root.join(".cache/peers")) {
        Err(error) if !in_ci() => {
            println!("browser: not fetched, tests that need it will be skipped: {error:#}");
            Ok(())
        }
        done => done,
    }
}

fn fetch_into(cache: &Path) -> Result<()> {
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let home = match present(cache) {
        Some(home) => home,
        None => fetch_browser(cache)?,
    };
    run_version(&home)?;
    println!("browser: {} runs", home.join("usr/bin/browser").display());
    match fetch_axe(&home) {
        Err(error) => println!("browser: no axe-core, tests go on without it: {error:#}"),
        Ok(()) => println!("browser: {} is there", home.join("axe.min.js").display()),
    }
    Ok(())
}

fn present(cache: &Path) -> Option<PathBuf> {
    let homes = fs::read_dir(cache).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut homes = homes.filter(|home| {
        let name = home.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("chromium-")) && home.join("usr/bin/browser").is_file()
    });
    homes.next()
}

fn fetch_browser(cache: &Path) -> Result<PathBuf> {
    let apt = Apt::of_machine(&cache.join(".apt-machine"))?;
    let version = apt.candidate(PACKAGES[0])?;
    // Unpacked aside and renamed, so that a directory with the final name is always whole.
    let aside = cache.join(".unpack-chromium");
    if aside.exists() {
        fs::remove_dir_all(&aside).with_context(|| format!("remove {}", aside.display()))?;
    }
    for package in apt.closure(&PACKAGES)? {
        apt.unpack(&package, &aside)?;
    }
    let start = aside.join("usr/bin/browser");
    fs::write(&start, START).with_context(|| format!("write {}", start.display()))?;
    fs::set_permissions(&start, fs::Permissions::from_mode(0o755)).context("make it a program")?;
    let home = cache.join(format!("chromium-{}", upstream_version(&version)));
    let fonts = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig>\n  <dir>{}</dir>\n  \
         <cachedir>{}</cachedir>\n</fontconfig>\n",
        absolute(&home.join("usr/share/fonts"))?.display(),
        absolute(&home.join("fonts-cache"))?.display()
    );
    fs::write(aside.join("fonts.conf"), fonts).context("write fonts.conf")?;
    run_version(&aside)?;
    fs::rename(&aside, &home).with_context(|| format!("rename {} to {}", aside.display(), home.display()))?;
    apt.remove()?;
    Ok(home)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("find {}", path.display()))
}

fn run_version(home: &Path) -> Result<()> {
    let path = home.join("usr/bin/browser");
    let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {}", path.display()))?;
    if !output.status.success() {
        bail!("{} --version: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

fn fetch_axe(home: &Path) -> Result<()> {
    let file = home.join("axe.min.js");
    if file.is_file() {
        return Ok(());
    }
    let mut pack = Command::new("npm");
    let packed = pack.args(["pack", "--silent", AXE]).current_dir(home).stdin(Stdio::null()).output();
    let packed = packed.context("start npm")?;
    if !packed.status.success() {
        bail!("npm pack {AXE}: {}", String::from_utf8_lossy(&packed.stderr).trim());
    }
    let archive = String::from_utf8_lossy(&packed.stdout).trim().to_owned();
    let mut tar = Command::new("tar");
    tar.args(["-xzf", &archive, "--strip-components=1", "package/axe.min.js"]).current_dir(home);
    let unpacked = tar.status().context("start tar")?;
    if !unpacked.success() || !file.is_file() {
        bail!("tar finds no axe.min.js in {archive}");
    }
    fs::remove_file(home.join(&archive)).with_context(|| format!("remove {archive}"))
}
