//! A configuration file.

use std::path::Path;

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What it names is looked for where there is nothing.
    let nowhere = Path::new("/nonexistent/writegate-fuzz");
    match writegate_config::parse(text, Path::new("writegate.yml"), nowhere) {
        Ok(loaded) => {
            assert!(!loaded.config.listeners.is_empty(), "there is a listener");
            let mut names: Vec<&String> = loaded.config.endpoints.iter().map(|endpoint| &endpoint.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), loaded.config.endpoints.len(), "names are unique");
        }
        Err(problems) => assert!(!problems.to_string().trim().is_empty(), "a problem says what it is"),
    }
}
