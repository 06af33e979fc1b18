//! `docs/coming-from/`: every block that is Writegate's passes the check, and every block that was imported is what the import
//! makes of the one before it. `UPDATE_COMING_FROM=1 cargo test -p import coming_from` writes them.

use std::path::{Path, PathBuf};

use import::{Import, Source};

/// A fenced block, and what stands behind its language.
struct Block {
    about: Vec<String>,
    text: String,
    /// Of the fence that opens it, from 0.
    line: usize,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.about.iter().any(|about| about == word)
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.about.iter().find_map(|about| about.strip_prefix(key)?.strip_prefix('='))
    }
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (line, text) in page.lines().enumerate() {
        match (text.strip_prefix("```"), is_open) {
            (Some(about), false) => {
                let about = about.split_whitespace().map(str::to_owned).collect();
                blocks.push(Block { about, text: String::new(), line });
                is_open = true;
            }
            (Some(_), true) => is_open = false,
            (None, true) => blocks.last_mut().unwrap().text += &format!("{text}\n"),
            (None, false) => {}
        }
    }
    assert!(!is_open, "a fence has no end");
    blocks
}

fn pages() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coming-from");
    let mut pages: Vec<PathBuf> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// What is made of these blocks, which are of one system. Its files are in `directory`.
fn imported(blocks: &[&Block], directory: &Path) -> Import {
    let name = |block: &Block| PathBuf::from(block.value("name").unwrap());
    let first = blocks.first().unwrap();
    let name_of_first = name(first);
    let file = Path::new(name_of_first.file_name().unwrap());
    let source =
        Source { name: file, text: &first.text, base: name_of_first.parent().filter(|_| name_of_first.is_absolute()) };
    let made = match first.value("import").unwrap() {
        "prometheus" => import::prometheus(&source),
        "vmagent" => import::vmagent(&source, &|path| std::fs::read_to_string(path)),
        "observatorium" => {
            let names: Vec<PathBuf> = blocks.iter().map(|block| name(block)).collect();
            for (name, block) in names.iter().zip(blocks) {
                std::fs::write(directory.join(name), &block.text).unwrap();
            }
            let source = |(name, block): (&'_ PathBuf, &&Block)| (name.clone(), block.text.clone());
            let owned: Vec<(PathBuf, String)> = names.iter().zip(blocks).map(source).collect();
            let sources: Vec<Source<'_>> =
                owned.iter().map(|(name, text)| Source { name, text, base: Some(directory) }).collect();
            import::observatorium(&sources)
        }
        other => panic!("no importer for {other}"),
    };
    made.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_block_of_the_pages_coming_from_is_checked_and_every_imported_one_is_what_the_import_makes() {
    let mut counts = [0; 3];
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        let (mut new_page, mut pending): (Vec<String>, Vec<&Block>) =
            (page.lines().map(str::to_owned).collect(), Vec::new());
        let all = blocks(&page);
        let mut edits = Vec::new();
        for block in &all {
            let at = format!("{}:{}", path.display(), block.line + 1);
            if block.value("import").is_some() {
                pending.push(block);
            } else if block.is("imported") {
                let directory = tempfile::tempdir().unwrap();
                let import = imported(&std::mem::take(&mut pending), directory.path());
                let loaded = writegate_config::parse(&import.yaml, Path::new("writegate.yml"), directory.path());
                loaded.unwrap_or_else(|problems| panic!("{at}: {problems}"));
                assert!(import.is_complete(), "{at}: {:?}", import.notes);
                let text = import.yaml.replace(&directory.path().display().to_string(), "/etc/observatorium");
                if std::env::var_os("UPDATE_COMING_FROM").is_some() {
                    edits.push((block.line, block.text.lines().count(), text));
                } else {
                    assert_eq!(block.text, text, "{at}: run UPDATE_COMING_FROM=1 cargo test -p import coming_from");
                }
                counts[0] += 1;
            } else if block.is("writegate") {
                let loaded = writegate_config::parse(&block.text, Path::new("writegate.yml"), Path::new(""));
                loaded.unwrap_or_else(|problems| panic!("{at}: {problems}"));
                counts[1] += 1;
            } else if block.is("operator") {
                let loaded = writegate_config::parse_operator(&block.text, Path::new("operator.yml"));
                loaded.unwrap_or_else(|problems| panic!("{at}: {problems}"));
                counts[2] += 1;
            }
        }
        assert!(pending.is_empty(), "{}: what is made of a block is not shown", path.display());
        for (line, len, text) in edits.into_iter().rev() {
            new_page.splice(line + 1..line + 1 + len, text.lines().map(str::to_owned));
        }
        if std::env::var_os("UPDATE_COMING_FROM").is_some() {
            std::fs::write(&path, new_page.join("\n") + "\n").unwrap();
        }
    }
    assert!(counts.iter().all(|count| *count > 1), "{counts:?}");
}
