//! The program under a service manager: what it tells it, and the unit that the packages have.

use std::os::unix::net::UnixDatagram;

use rustix::process::Signal;

use crate::harness::{PATIENCE, Setup, bounded};

#[test]
fn a_service_manager_hears_when_the_program_serves_and_when_it_is_about_to_end() {
    bounded(async {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let hears = || {
            let mut state = [0; 64];
            let length = manager.recv(&mut state).unwrap();
            String::from_utf8(state[..length].to_vec()).unwrap()
        };
        let socket = format!("NOTIFY_SOCKET={}", path.display());
        let mut program = Setup::new().started_by(&["env", &socket]).start_program().await;
        assert_eq!(hears(), "READY=1");
        program.signal(Signal::TERM);
        assert_eq!(hears(), "STOPPING=1");
        assert!(program.ended(PATIENCE).await.success());
    });
}

#[test]
fn a_service_manager_that_does_not_listen_is_no_reason_not_to_serve() {
    bounded(async {
        let program = Setup::new().started_by(&["env", "NOTIFY_SOCKET=/nowhere/notify"]).start_program().await;
        assert!(program.log().contains("the service manager could not be told"), "{}", program.log());
        program.terminate().await;
    });
}
