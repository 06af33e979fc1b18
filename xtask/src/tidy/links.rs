//! Links between the project's documents: the file is there, and so is the heading. Follows none out of the project.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;

/// Checks the links of every document among the files; `texts` are those of the files that are text.
pub(super) fn check(texts: &BTreeMap<&str, &str>, findings: &mut Vec<Finding>) {
    for (path, text) in texts.iter().filter(|(path, _)| path.ends_with(".md")) {
        for (line, target) in targets(text) {
            if let Some(what) = broken(path, target, texts) {
                findings.push(Finding { path: (*path).to_owned(), line, what });
            }
        }
    }
}

/// What is wrong with a link's target.
fn broken(from: &str, target: &str, texts: &BTreeMap<&str, &str>) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, anchor)| (file, Some(anchor)));
    let path = if file.is_empty() { from.to_owned() } else { resolve(from, file)? };
    let is_directory = || texts.keys().any(|known| known.starts_with(&format!("{}/", path.trim_end_matches('/'))));
    let Some(text) = texts.get(path.as_str()) else {
        return (!is_directory()).then(|| format!("`{target}`: there is no {path}"));
    };
    let anchor = anchor.filter(|anchor| !anchors(text).contains(*anchor))?;
    Some(format!("`{target}`: {path} has no heading #{anchor}"))
}

/// The path from the project's root; `None` for what leads out of it.
fn resolve(from: &str, file: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in file.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a document that are no code, from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        (!in_code && !is_fence).then_some((index + 1, line))
    })
}

/// Where the links of a document lead, with their lines.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let mut rest = line;
        while let Some(at) = rest.find("](") {
            // In code an odd number of backticks stands before.
            let in_code = line[..line.len() - rest.len() + at].matches('`').count() % 2 == 1;
            rest = &rest[at + 2..];
            if let Some(end) = rest.find(')').filter(|_| !in_code) {
                found.push((number, &rest[..end]));
            }
        }
    }
    found
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text)
        .filter_map(|(_, line)| line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')));
    let mut anchors = BTreeSet::new();
    for heading in headings {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let times = seen.entry(anchor.clone()).or_default();
        anchors.insert(if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        *times += 1;
    }
    anchors
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::check;

    #[test]
    fn a_link_to_a_file_or_heading_that_is_not_there_is_found() {
        let other = "# A title\n\n## `from:` & more, twice\n\n## From more twice\n\n```sh\n# no heading\n```\n";
        let check = |text: &str| {
            let texts = BTreeMap::from([("docs/a.md", text), ("docs/b.md", other), ("src/x.rs", "")]);
            let mut findings = Vec::new();
            check(&texts, &mut findings);
            findings.iter().map(|finding| finding.line).collect::<Vec<_>>()
        };
        let right = "[1](b.md) [2](b.md#a-title) [3](b.md#from--more-twice) [4](../src/x.rs) [5](../src) [6](https://e.org/x#y)\n\
                     # Here\n[7](#here) `[8](nowhere.md)`\n```\n[9](nowhere.md)\n```\n![10](../src/x.rs)\n";
        assert_eq!(check(right), []);
        for wrong in
            ["[1](c.md)", "x [1](b.md) and [2](b.md#no-heading)", "[1](#nowhere)", "[1](../c/)", "[`code`](c.md)"]
        {
            assert_eq!(check(&format!("\n{wrong}\n")), [2], "{wrong}");
        }
    }

    #[test]
    fn headings_that_are_the_same_have_numbers() {
        let text = "# Do\n# Do\n[1](#do) [2](#do-1)\n[3](#do-2)\n";
        let mut findings = Vec::new();
        check(&BTreeMap::from([("a.md", text)]), &mut findings);
        assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [4]);
    }
}
