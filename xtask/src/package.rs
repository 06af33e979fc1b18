//! The packages: for Debian from the system's libraries, and an archive whose programs need none. What lies where is one table
//! each; what was made is unpacked and run before it counts as made.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::finish;

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Where the archive's programs are built for, and with what.
const STATIC_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
const STATIC_FLAGS: &str = "-C target-feature=+crt-static";
/// What systemd says at most of the gateway's unit, of 10: how much it could do to the machine.
const MOST_EXPOSURE: &str = "20";

/// A package of a program.
struct Package {
    name: &'static str,
    summary: &'static str,
    text: &'static str,
    depends: &'static str,
    /// From the workspace's root, or from the programs' directory behind `@`; to; mode. A folder is taken whole, without its
    /// tests.
    files: &'static [(&'static str, &'static str, u32)],
    /// Files that an administrator changes.
    conffiles: &'static [&'static str],
    /// What runs at installation and removal, in `deploy/package`.
    scripts: &'static [&'static str],
}

const PACKAGES: [Package; 2] = [
    Package {
        name: "writegate",
        summary: "gateway for Prometheus remote write",
        text: " Receives metrics, keeps them in a durable log, and delivers them from there to every\n \
               endpoint that should have them, each at its own pace.",
        depends: "adduser, ca-certificates",
        files: &[
            ("@writegate", "usr/bin/writegate", 0o755),
            ("deploy/package/writegate.yml", "etc/writegate/writegate.yml", 0o644),
            ("deploy/package/writegate.service", "usr/lib/systemd/system/writegate.service", 0o644),
            ("deploy/package/writegate.sysusers", "usr/lib/sysusers.d/writegate.conf", 0o644),
            ("deploy/grafana", "usr/share/writegate/grafana", 0o644),
            ("deploy/prometheus", "usr/share/writegate/prometheus", 0o644),
            ("deploy/package/copyright", "usr/share/doc/writegate/copyright", 0o644),
            ("CHANGELOG.md", "usr/share/doc/writegate/CHANGELOG.md", 0o644),
            ("docs", "usr/share/doc/writegate", 0o644),
        ],
        conffiles: &["/etc/writegate/writegate.yml"],
        scripts: &["postinst", "prerm", "postrm"],
    },
    Package {
        name: "writegate-operator",
        summary: "Kubernetes operator for targets of remote write",
        text: " Turns what people declare in a cluster into configuration of Prometheus or Writegate.\n \
               Beside running it, it prints its resource definitions and roles, and explains targets.",
        depends: "ca-certificates",
        files: &[
            ("@writegate-operator", "usr/bin/writegate-operator", 0o755),
            ("deploy/chart", "usr/share/writegate-operator/chart", 0o644),
            ("deploy/kustomize", "usr/share/writegate-operator/kustomize", 0o644),
            ("deploy/examples", "usr/share/doc/writegate-operator/examples", 0o644),
            ("deploy/package/copyright", "usr/share/doc/writegate-operator/copyright", 0o644),
            ("docs/kubernetes.md", "usr/share/doc/writegate-operator/kubernetes.md", 0o644),
        ],
        conffiles: &[],
        scripts: &[],
    },
];

/// Builds programs and Debian packages into `target/package`, or the packages alone from programs in a directory.
pub(crate) fn debian(root: &Path, programs: Option<&Path>) -> Result<()> {
    let built = root.join("target/release");
    if programs.is_none() {
        cargo_build(root, &["--release"], &[])?;
    }
    for package in &PACKAGES {
        let file = make(root, package, programs.unwrap_or(&built), &root.join("target/package"))?;
        prove(&file, package)?;
        println!("package: {}", file.display());
    }
    Ok(())
}

/// Builds `writegate-<version>-<target>-static.tar.gz` into `target/package`: both programs, linked with all they need.
pub(crate) fn archive(root: &Path) -> Result<()> {
    cargo_build(root, &["--release", "--target", STATIC_TARGET], &[("RUSTFLAGS", STATIC_FLAGS)])?;
    let programs = root.join("target").join(STATIC_TARGET).join("release");
    let out = root.join("target/package");
    let name = format!("writegate-{VERSION}-{STATIC_TARGET}-static");
    let tree = emptied(&out.join(&name))?;
    for package in &PACKAGES {
        lay_out(root, package, &programs, &tree)?;
    }
    strip(&tree)?;
    let file = out.join(format!("{name}.tar.gz"));
    let mut tar = Command::new("tar");
    tar.args(["--owner=0", "--group=0", "--numeric-owner", "--sort=name", "-czf"]).arg(&file).arg(&name);
    finish(&mut tar, &out).context("tar")?;
    says_its_version(&tree.join("usr/bin/writegate"))?;
    println!("package: {}", file.display());
    Ok(())
}

fn cargo_build(root: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--locked", "--package", "writegate", "--package", "writegate-operator"]).args(arguments);
    finish(command.envs(environment.iter().copied()), root).context("cargo build")
}

/// Makes one package, and gives its file.
fn make(root: &Path, package: &Package, programs: &Path, out: &Path) -> Result<PathBuf> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let tree = emptied(&out.join(package.name))?;
    lay_out(root, package, programs, &tree)?;
    strip(&tree)?;
    let control = tree.join("DEBIAN");
    fs::create_dir(&control).with_context(|| format!("create {}", control.display()))?;
    let kib = size(&tree)?.div_ceil(1024);
    let Package { name, summary, text, depends, .. } = package;
    let libc = libc_version()?;
    let text = format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: the authors of Writegate \
         <writegate@users.noreply.github.com>\nInstalled-Size: {kib}\nDepends: libc6 (>= {libc}), libgcc-s1, {depends}\n\
         Section: net\nPriority: optional\nHomepage: https://github.com/writegate/writegate\nDescription: {summary}\n{text}\n"
    );
    write(&control.join("control"), &text, 0o644)?;
    if !package.conffiles.is_empty() {
        write(&control.join("conffiles"), &(package.conffiles.join("\n") + "\n"), 0o644)?;
    }
    for script in package.scripts {
        copy(&root.join("deploy/package").join(script), &control.join(script), 0o755)?;
    }
    let file = out.join(format!("{name}_{VERSION}_{architecture}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "--build"]).arg(&tree).arg(&file).stdout(Stdio::null());
    finish(&mut build, root).context("dpkg-deb --build")?;
    Ok(file)
}

fn lay_out(root: &Path, package: &Package, programs: &Path, tree: &Path) -> Result<()> {
    for (from, to, mode) in package.files {
        let from = from.strip_prefix('@').map_or_else(|| root.join(from), |program| programs.join(program));
        copy(&from, &tree.join(to), *mode)?;
    }
    Ok(())
}

/// Unpacks a package and looks at what is in it: the programs run, the configuration is valid, and systemd takes the unit.
fn prove(file: &Path, package: &Package) -> Result<()> {
    let unpacked = emptied(&file.with_extension("unpacked"))?;
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("-x").arg(file).arg(&unpacked);
    finish(&mut unpack, &unpacked).context("dpkg-deb -x")?;
    let program = unpacked.join("usr/bin").join(package.name);
    says_its_version(&program)?;
    if package.name == "writegate" {
        let mut check = Command::new(&program);
        check.arg("check").arg(unpacked.join("etc/writegate/writegate.yml")).stdout(Stdio::null());
        finish(&mut check, &unpacked).context("writegate check of the configuration in the package")?;
        systemd_takes(&unpacked)?;
    }
    fs::remove_dir_all(&unpacked).with_context(|| format!("remove {}", unpacked.display()))
}

/// Where the machine has systemd: the unit has no error, and lets the program do little.
fn systemd_takes(unpacked: &Path) -> Result<()> {
    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        println!("package: no systemd-analyze here, the unit was not looked at");
        return Ok(());
    }
    // Its programs are looked for where the package is unpacked, but for those of the system.
    let unit = unpacked.join("usr/lib/systemd/system/writegate.service");
    let text = fs::read_to_string(&unit).with_context(|| format!("read {}", unit.display()))?;
    let here = unpacked.join("usr/bin/writegate").display().to_string();
    let aside = unpacked.join("writegate.service");
    write(&aside, &text.replace("ExecStart=/usr/bin/writegate", &format!("ExecStart={here}")), 0o644)?;
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&aside).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Of other units of this machine it may say what it likes.
    if let Some(line) = said.lines().find(|line| line.contains("writegate")) {
        bail!("systemd-analyze verify: {line}");
    }
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true", "--threshold", MOST_EXPOSURE]).arg(&aside);
    finish(security.stdout(Stdio::null()), unpacked).context("systemd-analyze security: the unit allows too much")
}

fn says_its_version(program: &Path) -> Result<()> {
    let output =
        Command::new(program).arg("--version").output().with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.contains(VERSION) {
        bail!("{} --version says {said:?}", program.display());
    }
    Ok(())
}

/// Removes what is for debuggers, where there is a tool for that.
fn strip(tree: &Path) -> Result<()> {
    for entry in fs::read_dir(tree.join("usr/bin"))? {
        let mut command = Command::new("strip");
        match command.arg(entry?.path()).stderr(Stdio::null()).status() {
            // A script, as in a test, has nothing to remove.
            Ok(_) => {}
            Err(error) => println!("package: strip cannot be started ({error}); the programs keep their symbols"),
        }
    }
    Ok(())
}

/// `2.36`: programs need at least the C library they were linked with.
fn libc_version() -> Result<String> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().context("start getconf")?;
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.trim().strip_prefix("glibc ").context("getconf names no version of glibc")?.to_owned())
}

/// Copies a file, or the files of a folder.
fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
            let name = entry?.file_name();
            if name != "tests" {
                copy(&from.join(&name), &to.join(&name), mode)?;
            }
        }
        return Ok(());
    }
    let directory = to.parent().context("a file lies in a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    fs::copy(from, to).with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, Permissions::from_mode(mode)).with_context(|| format!("change {}", to.display()))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).with_context(|| format!("change {}", path.display()))
}

/// The directory, with nothing in it.
fn emptied(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    fs::set_permissions(directory, Permissions::from_mode(0o755))?;
    Ok(directory.to_owned())
}

fn size(path: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(path).with_context(|| format!("read {}", path.display()))? {
        let entry = entry?;
        sum += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

#[cfg(test)]
mod tests;
