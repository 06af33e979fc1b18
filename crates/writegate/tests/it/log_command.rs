//! `writegate log`: what a data directory holds, told by the program while and after a gateway runs on it.

use remote_write::{Compression, Protocol};

use crate::cli::{Ran, run};
use crate::harness::{Setup, bounded, compress, receiver};
use crate::message::{encode, request, sample_of};
use crate::program::Program;

async fn look(command: &str, program: &Program, more: &[&str]) -> Ran {
    let data = program.data();
    run(&[&["log", command, data.to_str().unwrap()], more].concat()).await
}

#[test]
fn a_log_is_told_and_verified_and_each_damaged_place_is_named_with_exit_code_1() {
    bounded(async {
        let dead = receiver().await;
        dead.stop().await;
        let mut program = Setup::new().endpoint("a", &dead).start_program().await;
        for timestamp in 1..=3 {
            let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", timestamp)])));
            let answer = program.sender().push(Protocol::V1, Compression::Snappy, body).await.unwrap();
            assert_eq!(answer.status, 204);
        }
        let during = look("stat", &program, &[]).await;
        assert_eq!(during.code, 0, "{during:?}");
        assert!(during.err.contains("A gateway is running on this directory"), "{during:?}");
        program.kill();
        program.ended(std::time::Duration::from_secs(10)).await;

        let stat = look("stat", &program, &[]).await;
        assert!(stat.out.lines().all(|line| line.chars().count() <= 80), "{}", stat.out);
        let row = |head: &str| stat.out.lines().skip_while(|line| !line.contains(head)).nth(1).unwrap_or_default();
        let cells: Vec<_> = row("SEGMENTS").split_whitespace().collect();
        assert_eq!((cells[0], cells[1], cells[4], cells[5]), ("default", "1", "3", "3"), "{}", stat.out);
        let cells: Vec<_> = row("ENDPOINT").split_whitespace().collect();
        assert_eq!(cells, ["default", "a", "0", "3", "0", "3", "0"], "{}", stat.out);
        let verified = look("verify", &program, &[]).await;
        assert_eq!((verified.code, verified.err.as_str()), (0, ""), "{verified:?}");
        assert!(verified.out.contains("All 3 records are sound."), "{verified:?}");

        // The second record's last byte, of its body.
        let json: serde_json::Value = serde_json::from_str(&look("stat", &program, &["--json"]).await.out).unwrap();
        let segment = &json["logs"][0]["segments"][0];
        let (file, used) = (segment["file"].as_str().unwrap(), segment["used_bytes"].as_u64().unwrap());
        let mut bytes = std::fs::read(file).unwrap();
        let record = usize::try_from((used - 128) / 3).unwrap();
        bytes[128 + record + 100] ^= 1;
        std::fs::write(file, bytes).unwrap();
        let verified = look("verify", &program, &[]).await;
        let place = format!("{file}: {record} bytes at {} (positions 1 to 1): 1 record ", 128 + record);
        assert!(verified.code == 1 && verified.out.contains(&place), "{place}\n{verified:?}");
        let json: serde_json::Value = serde_json::from_str(&look("verify", &program, &["--json"]).await.out).unwrap();
        let log = &json["logs"][0];
        assert_eq!((&log["sound"], &log["damage"][0]["kind"]), (&false.into(), &"damaged".into()), "{json}");

        let nothing = run(&["log", "verify", "/no/such/directory"]).await;
        assert_eq!(nothing.code, 1);
        assert!(nothing.err.contains("/no/such/directory") && nothing.err.contains("log.path"), "{nothing:?}");
    });
}
