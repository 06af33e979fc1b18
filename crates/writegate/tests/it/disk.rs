//! A disk that stalls, is full or fails: 503 in time, nothing acknowledged that is not kept, and on as soon as it is well.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use remote_write::Protocol;
use segment_log::{Access, DirEntry, DirLock, FileStorage, Storage, StorageFile};
use testkit::sender::Answer;

use crate::harness::{Setup, TestGateway, assert_exactly, bounded, eventually, receiver};
use crate::message::{points, request, sample_of};

/// How the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Well,
    /// Syncs wait until it is well.
    Stalled,
    /// Writes fail: no space.
    Full,
    /// Syncs fail.
    Failing,
}

/// A stall ends by itself, so that a gateway that waits for ever fails its test instead of hanging it.
const LONGEST_STALL: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(crate) struct Moods {
    mood: Mutex<Mood>,
    changed: Condvar,
}

impl Moods {
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn before_write(&self) -> io::Result<()> {
        match *self.mood.lock().unwrap() {
            Mood::Full => Err(io::ErrorKind::StorageFull.into()),
            Mood::Well | Mood::Stalled | Mood::Failing => Ok(()),
        }
    }

    fn before_sync(&self) -> io::Result<()> {
        let mood = self.mood.lock().unwrap();
        let stalled = |mood: &mut Mood| *mood == Mood::Stalled;
        let (mood, _) = self.changed.wait_timeout_while(mood, LONGEST_STALL, stalled).unwrap();
        if *mood == Mood::Failing { Err(io::Error::other("the disk fails as told")) } else { Ok(()) }
    }
}

/// The machine's file system, in a mood.
#[derive(Clone, Debug, Default)]
pub(crate) struct MoodyDisk(pub(crate) Arc<Moods>);

#[derive(Debug)]
struct MoodyFile {
    file: Arc<dyn StorageFile>,
    moods: Arc<Moods>,
}

impl Storage for MoodyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        FileStorage.create_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        FileStorage.list(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = FileStorage.open(path, access)?;
        Ok(Arc::new(MoodyFile { file, moods: Arc::clone(&self.0) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        FileStorage.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileStorage.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.before_sync()?;
        FileStorage.sync_dir(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        FileStorage.free_space(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DirLock>>> {
        FileStorage.lock(path)
    }
}

impl StorageFile for MoodyFile {
    fn write_at(&self, buffers: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.moods.before_write()?;
        self.file.write_at(buffers, offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.moods.before_sync()?;
        self.file.sync()
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

async fn push(gateway: &TestGateway, tenant: &str, timestamp: i64) -> Answer {
    let sender = gateway.sender_at(&format!("/{tenant}/api/v1/write"));
    let body = crate::message::encode(Protocol::V1, &request([sample_of("up", timestamp)]));
    let compression = remote_write::Compression::Snappy;
    sender.push(Protocol::V1, compression, crate::harness::compress(compression, &body)).await.unwrap()
}

const TENANTS: &str = "tenant: default, tenant_from: [{path: true}]";

fn assert_503_in_time(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 503, "{what}: {}", answer.text());
    assert!(answer.retry_after().is_some(), "{what}");
    // Four seconds, and what a busy machine adds.
    assert!(answer.latency < Duration::from_secs(8), "{what}: answered after {:?}", answer.latency);
}

#[test]
fn r_x15_what_a_stalled_disk_cannot_make_durable_in_four_seconds_is_503_at_birth_and_later() {
    bounded(async {
        let sink = receiver().await;
        let disk = MoodyDisk::default();
        let setup = Setup::new().listener(TENANTS).disk(Arc::new(disk.clone()));
        let gateway = setup.endpoint("a", &sink).start().await;
        assert_eq!(push(&gateway, "known", 1).await.status, 204);
        gateway.settled().await;

        disk.0.set(Mood::Stalled);
        // A tenant that would be born must not keep those that live from being answered.
        let born = push(&gateway, "newborn", 1);
        let lives = push(&gateway, "known", 2);
        let (born, lives) = tokio::join!(born, lives);
        assert_503_in_time(&born, "a birth");
        assert_503_in_time(&lives, "an append");

        disk.0.set(Mood::Well);
        for tenant in ["known", "newborn"] {
            eventually("pushes are taken again", || async {
                (push(&gateway, tenant, 3).await.status == 204).then_some(())
            })
            .await;
        }
        // What was under way may have become durable; then it is accepted, and the books say so.
        gateway.settled().await;
        let row = gateway.ledger("known", "a").await;
        assert!((2..=3).contains(&row.samples.delivered), "{row:?}");
        gateway.finish().await;
    });
}

#[test]
fn w42_a_full_and_a_failing_disk_are_503_never_2xx_and_the_gateway_recovers_by_itself() {
    bounded(async {
        let sink = receiver().await;
        let disk = MoodyDisk::default();
        let gateway = Setup::new().disk(Arc::new(disk.clone())).endpoint("a", &sink).start().await;
        let mut accepted = Vec::new();
        let mut timestamp = 0;
        for mood in [Mood::Full, Mood::Failing, Mood::Full] {
            timestamp += 1;
            let good = request([sample_of("up", timestamp)]);
            gateway.accept(Protocol::V1, &good).await;
            accepted.extend(points(&good));
            gateway.settled().await;
            disk.0.set(mood);
            for _ in 0..3 {
                timestamp += 1;
                let answer = gateway.push(Protocol::V1, &request([sample_of("refused", timestamp)])).await;
                assert_eq!(answer.status, 503, "{mood:?}: {}", answer.text());
                assert!(answer.retry_after().is_some(), "{mood:?}");
            }
            disk.0.set(Mood::Well);
            timestamp += 1;
            let good = request([sample_of("up", timestamp)]);
            eventually("pushes are taken again", || async {
                (gateway.push(Protocol::V1, &good).await.status == 204).then_some(())
            })
            .await;
            accepted.extend(points(&good));
        }
        gateway.settled().await;
        assert_exactly(&sink, &accepted);
        gateway.finish().await;
    });
}
