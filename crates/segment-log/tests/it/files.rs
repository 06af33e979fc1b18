//! Over the real file system: the lock, the layout of the directory, and how many files are open.

use std::path::Path;
use std::sync::Arc;

use segment_log::{Depth, FileStorage, OpenError, Start, Storage, Store, StoreOptions, inspect};

use crate::rig::{append, options, positions};

fn open(root: &Path) -> Store {
    let options = StoreOptions { root: root.to_path_buf(), ..options() };
    Store::open(options, Arc::new(FileStorage)).unwrap().0
}

#[test]
fn a_second_opener_is_refused_until_the_first_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let second = Store::open(StoreOptions::new(dir.path()), Arc::new(FileStorage));
    assert!(matches!(second, Err(OpenError::Locked(path)) if path == dir.path()));
    store.close().unwrap();
    open(dir.path());
}

#[test]
fn the_directory_is_as_documented_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = "Ä".repeat(127);
    for name in ["team-a", "Team/A", long.as_str()] {
        let log = store.log(name).unwrap();
        log.cursor("c", Start::Oldest).unwrap();
        for i in 0..30 {
            append(&log, i, vec![3; 500]);
        }
    }
    let mut names: Vec<_> = std::fs::read_dir(dir.path().join("tenants"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["%54eam%2f%41", format!("{}%%0", "%c3%84".repeat(30)).as_str(), "team-a"]);
    let mut files: Vec<_> = std::fs::read_dir(dir.path().join("tenants/team-a"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files[..2], ["00000000000000000000.seg", "00000000000000000006.seg"]);
    assert_eq!(files[files.len() - 2..], ["cursors.0", "cursors.1"]);
    drop(store);
    let store = open(dir.path());
    for name in ["team-a", "Team/A", long.as_str()] {
        assert_eq!(positions(&store.find_log(name).unwrap()), (0..30).collect::<Vec<_>>());
    }
}

fn open_files(under: &Path) -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    links.filter(|target| target.starts_with(under)).count()
}

#[test]
fn idle_logs_keep_no_file_open_and_go_on_where_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let logs: Vec<_> = (0..20).map(|i| store.log(&format!("t{i}")).unwrap()).collect();
    for log in &logs {
        append(log, 0, "x");
        let cursor = log.cursor("c", Start::Oldest).unwrap();
        cursor.settle(&[(0, [1, 10, 100])], &mut |_, _| {}).unwrap();
    }
    store.tick(0);
    assert!(open_files(dir.path()) >= 20);
    store.tick(61_000);
    assert_eq!(open_files(dir.path()), 1, "the lock");
    let files = std::fs::read_dir(dir.path().join("tenants/t3")).unwrap().count();
    assert_eq!(append(&logs[3], 62_000, "y"), 1);
    assert_eq!(std::fs::read_dir(dir.path().join("tenants/t3")).unwrap().count(), files, "the same segment is used");
}

#[test]
fn whoever_looks_at_a_directory_in_use_is_told_and_neither_disturbs_nor_makes_anything() {
    let directory = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(FileStorage);
    let look = || inspect(&storage, directory.path(), Depth::Records).unwrap();
    let (store, _) = Store::open(StoreOptions::new(directory.path()), Arc::new(FileStorage)).unwrap();
    append(&store.log("a").unwrap(), 0, "body");
    let seen = look();
    assert!(seen.in_use);
    assert_eq!(seen.logs[0].segments[0].sound_records, Some(1));
    append(&store.log("a").unwrap(), 0, "another");
    store.close().unwrap();
    assert!(!look().in_use);
    std::fs::remove_file(directory.path().join("LOCK")).unwrap();
    assert_eq!(look().logs[0].head, 2);
    assert!(!directory.path().join("LOCK").exists());
}
