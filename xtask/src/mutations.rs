//! Plants one mistake per promise and sees to it that the simulation finds it: a test that cannot fail proves nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A mistake that a tired person might make.
struct Mutation {
    /// What the simulation must say is broken.
    promise: &'static str,
    mistake: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// Most histories it may take.
const HISTORIES: &str = "1000";

const MUTATIONS: [Mutation; 9] = [
    Mutation {
        promise: "loss",
        mistake: "a commit is acknowledged before it is synced",
        file: "crates/segment-log/src/commit.rs",
        from: "else { return self.file.sync().at(\"sync\", path) };",
        to: "else { return Ok(()) };",
    },
    Mutation {
        promise: "loss",
        mistake: "a refusal counts as taken",
        file: "crates/writegate/src/delivery/outcome.rs",
        from: "400 => refused(Refusal::BadRequest),",
        to: "400 => Outcome::Delivered { not_written: Counts::default() },",
    },
    Mutation {
        promise: "order",
        mistake: "a record does not wait for the last one of its series",
        file: "crates/schedule/src/order.rs",
        from: "near.insert(position - from - since);",
        to: "let _ = since;",
    },
    Mutation {
        promise: "isolation",
        mistake: "what was formed for one tenant is found for another",
        file: "crates/writegate/src/delivery/form.rs",
        from: "Self { log, position: record.position,",
        to: "Self { log: log.min(0), position: record.position,",
    },
    Mutation {
        promise: "balance",
        mistake: "what expired before it was settled is booked again",
        file: "crates/writegate/src/ledger.rs",
        from: "if !newly {",
        to: "if !newly && settled.counts.is_zero() {",
    },
    Mutation {
        promise: "balance",
        mistake: "dead letters of what will be sent again stay",
        file: "crates/writegate/src/dead_letters.rs",
        from: "let is_settled = &mut |position| row.is_settled(position);",
        to: "let is_settled = &mut |position| position < u64::MAX || row.is_settled(position);",
    },
    Mutation {
        promise: "balance",
        mistake: "dead letters that were leaving move again after a crash",
        file: "crates/writegate/src/dead_letters.rs",
        from: "Some(first) if was_begun && row.last_moved() == first =>",
        to: "Some(first) if was_begun && row.last_moved() == first && first == 0 =>",
    },
    Mutation {
        promise: "memory",
        mistake: "turns are given without end",
        file: "crates/writegate/src/delivery/limiter.rs",
        from: "self.in_flight == 0 || (self.in_flight < self.whole_limit() && self.bytes < MOST_BYTES)",
        to: "self.in_flight < 10 * MOST",
    },
    Mutation {
        promise: "progress",
        mistake: "a turn is not given back",
        file: "crates/writegate/src/delivery/limiter.rs",
        from: "        state.in_flight -= 1;\n",
        to: "        state.in_flight -= usize::from(bytes == 0);\n",
    },
];

/// Plants all of them, or those that break `promise`, one after the other, in a copy of the working tree.
///
/// # Errors
/// When one is not found, or does not apply any more.
pub(crate) fn run(root: &Path, promise: Option<&str>) -> Result<()> {
    let copy = root.join("target/mutations/tree");
    copy_tree(root, &copy)?;
    let (mut planted, mut survivors) = (0, 0);
    for mutation in MUTATIONS.iter().filter(|mutation| promise.is_none_or(|promise| promise == mutation.promise)) {
        planted += 1;
        let path = copy.join(mutation.file);
        let before = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let after = plant(mutation, &before)?;
        std::fs::write(&path, after).with_context(|| format!("write {}", path.display()))?;
        let found = simulate(&copy);
        std::fs::write(&path, before).with_context(|| format!("write {}", path.display()))?;
        let found = found?;
        // A panic about a balance is in capitals.
        let is_it = |line: &&str| line.contains("WRITEGATE_SEED=") && line.to_lowercase().contains(mutation.promise);
        let line = found.lines().find(is_it);
        match line {
            Some(line) => println!("{}: {}\n  found: {line}", mutation.promise, mutation.mistake),
            None => {
                survivors += 1;
                println!("{}: {}\n  NOT FOUND\n{found}", mutation.promise, mutation.mistake);
            }
        }
    }
    if survivors > 0 {
        bail!("{survivors} of {planted} planted mistakes were not found in {HISTORIES} histories");
    }
    if planted == 0 {
        bail!("plant mistakes against {promise:?}: none is planned; see xtask/src/mutations.rs");
    }
    println!("all {planted} planted mistakes were found");
    Ok(())
}

/// Whether all of them still apply: what is not there cannot be planted.
///
/// # Errors
/// Names the first that does not.
pub(crate) fn check(root: &Path) -> Result<()> {
    MUTATIONS.iter().try_for_each(|mutation| {
        let path = root.join(mutation.file);
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        plant(mutation, &text).map(drop)
    })
}

fn plant(mutation: &Mutation, text: &str) -> Result<String> {
    match text.matches(mutation.from).count() {
        1 => Ok(text.replacen(mutation.from, mutation.to, 1)),
        times => bail!(
            "plant {:?} in {}: what is to be changed is there {times} times; see xtask/src/mutations.rs",
            mutation.mistake,
            mutation.file
        ),
    }
}

/// The simulation's own words, if it finds something.
fn simulate(copy: &Path) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(copy)
        .env("WRITEGATE_HISTORIES", HISTORIES)
        .env("CARGO_TARGET_DIR", copy.with_file_name("build"))
        .args(["test", "--package", "writegate", "--lib", "--locked", "--", "simulation::tests::whatever"])
        .stdin(Stdio::null());
    let output = command.output().context("run the simulation")?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn copy_tree(root: &Path, copy: &Path) -> Result<()> {
    let listed = Command::new("git").current_dir(root).args(["ls-files", "-co", "--exclude-standard"]).output();
    let listed = listed.context("list the files with git")?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let (from, to): (PathBuf, PathBuf) = (root.join(name), copy.join(name));
        let parent = to.parent().context("a file is in a directory")?;
        std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
        // Only what changed, or cargo would build all of it again.
        let new = std::fs::read(&from).with_context(|| format!("read {}", from.display()))?;
        if std::fs::read(&to).ok().as_ref() != Some(&new) {
            std::fs::write(&to, new).with_context(|| format!("write {}", to.display()))?;
        }
    }
    Ok(())
}
