//! Work that blocks, on the disk or for long, on a thread that may wait. In a simulation there are no threads: it is done at
//! once, so that the same seed tells the same history.

use tokio::task::JoinError;

/// Does `work` where blocking keeps nobody waiting.
///
/// # Errors
/// When it panicked.
pub(crate) async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
    #[cfg(test)]
    if crate::simulation::is_running() {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work).await
}
