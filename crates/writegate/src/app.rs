//! The gateway put together: the only file that sees every part. Start, reload, shut down, in the order they happen.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use segment_log::{FileStorage, OpenError, Storage, StoreOptions};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use writegate_config::{Changes, Config, Listener, Problems};

use crate::auth::{AuthError, Authentication, Providers};
use crate::chain::Chain;
use crate::clock::now_ms;
use crate::delivery::Patience;
use crate::engine::{Engine, Ground};
use crate::ingest::{Gate, Ingest, PushStats, Settings};
use crate::ledger::Row;
use crate::offload::offload;
use crate::tls::{Expiry, Offered, TlsError};
use crate::{admin, engine, tls};

/// How often the configuration's files are looked at.
const WATCH: Duration = Duration::from_secs(2);
/// What the configuration names must be read in this time at a reload: a file system may not answer.
const FILES_ARE_READ_WITHIN: Duration = Duration::from_secs(30);
/// How long a shutdown waits for admin requests; one may be a reload that waits for an endpoint.
const ADMIN_ENDS_WITHIN: Duration = Duration::from_secs(2);
/// How long a shutdown waits for pushes that are being received; their senders send them again.
const PUSHES_END_WITHIN: Duration = Duration::from_secs(10);
/// How long a shutdown waits for requests to endpoints; what is in flight then is sent again at the next start.
const DELIVERIES_STOP_WITHIN: Duration = Duration::from_secs(10);

/// All parts, for those who look at them: the admin server.
pub(crate) struct App {
    pub(crate) engine: Engine,
    pub(crate) push_stats: Arc<PushStats>,
    pub(crate) config: ArcSwap<Config>,
    config_file: Option<PathBuf>,
    gate: Arc<ArcSwap<Gate>>,
    pub(crate) authentication: Arc<ArcSwap<Authentication>>,
    providers: Arc<Providers>,
    /// `None`: the admin server speaks plain HTTP.
    pub(crate) admin_tls: ArcSwapOption<Offered>,
    /// Of the certificates that listeners and the admin server serve, by their address.
    pub(crate) expiries: ArcSwap<Vec<(SocketAddr, Expiry)>>,
    pub(crate) started_ms: i64,
    /// Who looks at what passes by.
    pub(crate) taps: Arc<AtomicUsize>,
    /// Pushes are refused: the process is about to end.
    closing: Arc<AtomicBool>,
    listeners: tokio::sync::Mutex<HashMap<SocketAddr, Listening>>,
    /// What the last configuration that could be read names, beside itself.
    watched: Mutex<Vec<PathBuf>>,
    reload: Mutex<Reload>,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Listening {
    ingest: Arc<Ingest>,
    bound: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// How the last reload went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reload {
    pub(crate) error: Option<String>,
    pub(crate) succeeded_ms: i64,
}

/// What a gateway does not choose itself.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The disk under the log.
    pub storage: Arc<dyn Storage>,
    /// How long deliveries put up with what may pass.
    pub patience: Patience,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { storage: Arc::new(FileStorage), patience: Patience::default() }
    }
}

/// A running gateway. Dropping it stops nothing in order: call [`Gateway::shutdown`].
#[derive(Debug)]
pub struct Gateway {
    app: Arc<App>,
    admin_address: SocketAddr,
    stop: CancellationToken,
    upkeep: Vec<JoinHandle<()>>,
    admin: JoinHandle<()>,
    admin_stop: CancellationToken,
}

/// A gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the log cannot be opened")]
    Log(#[from] OpenError),
    /// The dead letters cannot be used.
    #[error("the dead letters cannot be opened")]
    DeadLetters(#[from] dead_letters::OpenError),
    /// An address is taken or not ours.
    #[error("{what} cannot listen on {address}; choose another address or end what is listening there")]
    Listen {
        /// The listener or the admin server.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A listener's certificates cannot be used.
    #[error("the TLS of {what} {address} cannot be served")]
    Tls {
        /// The listener or the admin server.
        what: &'static str,
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: Box<TlsError>,
    },
    /// Credentials cannot be used.
    #[error("senders' credentials cannot be used")]
    Authentication(#[from] Box<AuthError>),
    /// The data directory is not there and cannot be made.
    #[error("create the data directory {}", path.display())]
    CreateDirectory {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The size of the file system is needed for limits in percent.
    #[error("examine the file system of the data directory {}", path.display())]
    FileSystem {
        /// As configured.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A thread failed.
    #[error("a thread failed at start")]
    Thread(#[from] tokio::task::JoinError),
}

/// A reload did not take place; the old configuration goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The gateway runs without a file.
    #[error("the gateway was started without a configuration file: there is nothing to read again")]
    NoFile,
    /// The file is not valid.
    #[error("the configuration is not valid, the one before goes on:\n{0}")]
    Invalid(Problems),
    /// A file does not come.
    #[error(
        "reading the configuration and the files that it names did not end within {FILES_ARE_READ_WITHIN:?}: one of them is \
         on a file system that does not answer; the configuration before goes on"
    )]
    Slow,
    /// A new listener's address cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Gateway {
    /// Opens the log, binds every address and starts to serve and deliver. `config_file` is where a reload reads from.
    ///
    /// # Errors
    /// When the log cannot be opened or an address cannot be bound; nothing runs then.
    pub async fn start(config: Config, config_file: Option<PathBuf>) -> Result<Self, StartError> {
        Self::start_in(Surroundings::default(), config, config_file).await
    }

    /// As [`Gateway::start`], in other surroundings: tests put a disk under the log that fails, and wait less.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub async fn start_in(
        surroundings: Surroundings,
        config: Config,
        config_file: Option<PathBuf>,
    ) -> Result<Self, StartError> {
        let ground = Ground {
            storage: surroundings.storage,
            letters: Arc::new(dead_letters::FileStorage),
            options: StoreOptions::new(&config.log.path),
            patience: surroundings.patience,
        };
        let engine = Engine::open(ground, &config).await?;
        let push_stats = Arc::new(PushStats::default());
        let closing = Arc::new(AtomicBool::new(false));
        let providers = Arc::new(Providers::default());
        let (named, by) = (config.clone(), Arc::clone(&providers));
        let files = offload(move || Files::read(&named, &by)).await??;
        let expiries = files.expiries();
        let Files { authentication, listeners, admin_tls, .. } = files;
        authentication.begin();
        let authentication = Arc::new(ArcSwap::from_pointee(authentication));
        let gate = Gate::new(
            Arc::clone(&engine.tenants),
            Arc::clone(&authentication),
            &config,
            Arc::clone(&push_stats),
            Arc::clone(&closing),
        );
        let (admin_socket, admin_address) = bind("the admin server", config.admin.address).await?;
        let app = Arc::new(App {
            engine,
            push_stats,
            config: ArcSwap::from_pointee(config.clone()),
            config_file,
            gate: Arc::new(ArcSwap::from_pointee(gate)),
            authentication,
            providers,
            admin_tls: ArcSwapOption::new(admin_tls),
            expiries: ArcSwap::from_pointee(expiries),
            started_ms: now_ms(),
            taps: Arc::default(),
            closing,
            listeners: tokio::sync::Mutex::default(),
            watched: Mutex::new(config.watched_files.clone()),
            reload: Mutex::new(Reload { error: None, succeeded_ms: now_ms() }),
            reloading: tokio::sync::Mutex::default(),
        });
        app.engine.begin(&config).await;
        // Before anybody can know that it runs: a change from then on is seen.
        let known = app.fingerprints().await;
        app.listen(listeners).await?;
        let stop = CancellationToken::new();
        let admin_stop = CancellationToken::new();
        let upkeep = vec![
            tokio::spawn(app.engine.clone().tick(stop.clone())),
            tokio::spawn(app.engine.clone().deliver_to_newborn(stop.clone())),
            tokio::spawn(Arc::clone(&app).watch_files(known, stop.clone())),
        ];
        let admin = tokio::spawn(admin::run(Arc::clone(&app), admin_socket, admin_stop.clone()));
        Ok(Self { app, admin_address, stop, upkeep, admin, admin_stop })
    }

    /// The addresses on which senders may push, as bound, in the configuration's order.
    pub async fn ingest_addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.app.listeners.lock().await;
        let config = self.app.config.load();
        config.listeners.iter().filter_map(|listener| listeners.get(&listener.address)).map(|l| l.bound).collect()
    }

    /// The address of metrics, health and the admin API, as bound.
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Reads the configuration file again. An invalid one changes nothing.
    ///
    /// # Errors
    /// When there is no file, it is not valid, or a new address cannot be bound.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        self.app.reload().await
    }

    /// As [`Gateway::reload`], in the background; the result is logged and shown in metrics and the admin API.
    pub fn reload_soon(&self) {
        let app = Arc::clone(&self.app);
        // The task ends by itself: a reload waits for nothing longer than an endpoint's timeout.
        drop(tokio::spawn(async move { drop(app.reload().await) }));
    }

    /// Ends in order: pushes in flight are finished and new ones refused, deliveries stop after the request they have
    /// in flight, cursors are synced, the admin server ends last.
    pub async fn shutdown(self) {
        self.app.closing.store(true, Ordering::Relaxed);
        let listeners: Vec<_> = self.app.listeners.lock().await.drain().collect();
        for (_, listening) in &listeners {
            listening.stop.cancel();
        }
        let deadline = tokio::time::Instant::now() + PUSHES_END_WITHIN;
        for (address, listening) in listeners {
            match tokio::time::timeout_at(deadline, listening.task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%address, %error, "a listener ended badly"),
                Err(_elapsed) => tracing::warn!(%address, "requests were still being received; they are not accepted"),
            }
        }
        self.app.engine.deliveries.stop(DELIVERIES_STOP_WITHIN).await;
        self.stop.cancel();
        for task in self.upkeep {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task ended badly");
            }
        }
        self.app.engine.close().await;
        self.admin_stop.cancel();
        if let Ok(Err(error)) = tokio::time::timeout(ADMIN_ENDS_WITHIN, self.admin).await {
            tracing::error!(%error, "the admin server ended badly");
        }
    }
}

impl App {
    /// Whether pushes are taken.
    pub(crate) fn is_ready(&self) -> bool {
        !self.closing.load(Ordering::Relaxed)
    }

    pub(crate) fn last_reload(&self) -> Reload {
        self.reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long ago the oldest record was received that an endpoint is still to get. May read from the disk.
    pub(crate) fn oldest_unsent_age(&self, row: &Row) -> Option<Duration> {
        let log = &self.engine.tenants.get(&row.tenant)?.log;
        let low = row.low();
        if low >= log.head() {
            return None;
        }
        let read = || {
            let mut first = Vec::new();
            let mut reader = log.reader(low);
            if !reader.cached(1, 1, &mut first) {
                reader.read(1, 1, &mut first).ok()?;
            }
            first.iter().find_map(|read| match read {
                segment_log::Read::Record(record) => Some(record.received_ms),
                segment_log::Read::Gap { .. } => None,
            })
        };
        let received_ms = row.received_ms(low, read)?;
        Some(Duration::from_millis(u64::try_from(now_ms() - received_ms).unwrap_or(0)))
    }

    /// Reads the configuration file again and takes over what changed.
    ///
    /// # Errors
    /// See [`Gateway::reload`].
    pub(crate) async fn reload(self: &Arc<Self>) -> Result<(), ReloadError> {
        let app = Arc::clone(self);
        // A task of its own: a caller who goes away must not leave a reload half done.
        tokio::spawn(async move { app.reload_now().await }).await.map_err(StartError::Thread)?
    }

    async fn reload_now(&self) -> Result<(), ReloadError> {
        let _one_at_a_time = self.reloading.lock().await;
        let result = self.try_reload().await;
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok(()) => *reload = Reload { error: None, succeeded_ms: now_ms() },
            Err(error) => {
                reload.error = Some(Chain(error).to_string());
                tracing::error!("the configuration was not reloaded: {}", Chain(error));
            }
        }
        result
    }

    async fn try_reload(&self) -> Result<(), ReloadError> {
        let path = self.config_file.clone().ok_or(ReloadError::NoFile)?;
        let loaded = in_time(move || writegate_config::load(&path)).await?.map_err(ReloadError::Invalid)?;
        // Also if it cannot be used: a file that is missing may come.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&loaded.config.watched_files);
        let (old, mut new) = (self.config.load_full(), loaded.config);
        // The log cannot move while it is in use; `--data` may have put it elsewhere than the file says.
        new.log.path.clone_from(&old.log.path);
        let diff = writegate_config::diff(&old, &new);
        for key in &diff.restart_needed {
            tracing::warn!(key, "this key's new value takes effect at the next start");
        }
        // What can fail comes first, so that a failure leaves everything as it was.
        let log_limits = engine::limits(&new.log)?;
        let (new, providers) = (Arc::new(new), Arc::clone(&self.providers));
        let named = Arc::clone(&new);
        let files = in_time(move || Files::read(&named, &providers)).await??;
        let expiries = files.expiries();
        let Files { authentication, listeners, admin_tls, .. } = files;
        let authentication = authentication.after(&self.authentication.load());
        self.listen(listeners).await?;
        self.admin_tls.store(admin_tls);
        self.expiries.store(Arc::new(expiries));
        authentication.begin();
        self.authentication.store(Arc::new(authentication));
        self.engine.set_limits(log_limits, &new);
        if diff.limits || diff.otlp {
            let stats = Arc::clone(&self.push_stats);
            let (tenants, authentication) = (Arc::clone(&self.engine.tenants), Arc::clone(&self.authentication));
            let gate = Gate::new(tenants, authentication, &new, stats, Arc::clone(&self.closing));
            self.gate.store(Arc::new(gate));
        }
        self.engine.deliveries.configure(&new.endpoints, &new.tenants).await;
        self.config.store(new);
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        tracing::info!(
            endpoints = in_words(&diff.endpoints),
            listeners = in_words(&diff.listeners),
            tenants = in_words(&diff.tenants),
            "the configuration was reloaded"
        );
        Ok(())
    }

    /// Binds new listeners, changes those that stay, stops those that went.
    async fn listen(&self, configured: Vec<Settings>) -> Result<(), StartError> {
        let mut listeners = self.listeners.lock().await;
        let addresses: HashSet<SocketAddr> = configured.iter().map(|settings| settings.listener.address).collect();
        let (mut new, mut kept) = (Vec::new(), Vec::new());
        for settings in configured {
            let address = settings.listener.address;
            if listeners.contains_key(&address) {
                kept.push((address, settings));
            } else {
                new.push((address, settings, bind("a listener", address).await?));
            }
        }
        listeners.retain(|address, listening| {
            let is_kept = addresses.contains(address);
            if !is_kept {
                listening.stop.cancel();
            }
            is_kept
        });
        for (address, settings) in kept {
            if let Some(listening) = listeners.get(&address) {
                listening.ingest.settings.store(Arc::new(settings));
            }
        }
        for (address, settings, (socket, bound)) in new {
            let stop = CancellationToken::new();
            let ingest = Arc::new(Ingest::new(settings, Arc::clone(&self.gate), Arc::clone(&self.push_stats)));
            let task = tokio::spawn(Arc::clone(&ingest).run(socket, stop.clone()));
            listeners.insert(address, Listening { ingest, bound, stop, task });
        }
        Ok(())
    }

    /// Of the configuration's file and those that it names; none without a file.
    async fn fingerprints(&self) -> Vec<Fingerprint> {
        let Some(main) = self.config_file.clone() else { return Vec::new() };
        let files = self.watched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Nothing that was looked at is as a file whose reading broke: what is seen next differs from it.
        offload(move || fingerprints(&main, &files)).await.unwrap_or_default()
    }

    /// Reloads when a file of the configuration changed, by content: Kubernetes swaps links, not files.
    async fn watch_files(self: Arc<Self>, mut known: Vec<Fingerprint>, stop: CancellationToken) {
        if self.config_file.is_none() {
            return;
        }
        let watch = async {
            loop {
                tokio::time::sleep(WATCH).await;
                let seen = self.fingerprints().await;
                if let Some(path) = changed(&known, &seen) {
                    tracing::info!(path = %path.display(), "a file of the configuration changed, or is new to it");
                    // The result is logged and shown; the next change is another chance.
                    drop(self.reload().await);
                    // What was looked at before stays known as it was then: it may have changed while it was read.
                    let before = |path: &Path| seen.iter().find(|(seen, _)| seen == path).cloned();
                    let now = self.fingerprints().await.into_iter();
                    known = now.map(|fingerprint| before(&fingerprint.0).unwrap_or(fingerprint)).collect();
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch => {}
        }
    }
}

/// What the files hold that a configuration names.
struct Files {
    authentication: Authentication,
    listeners: Vec<Settings>,
    admin_address: SocketAddr,
    admin_tls: Option<Arc<Offered>>,
}

impl Files {
    fn read(config: &Config, providers: &Providers) -> Result<Self, StartError> {
        Ok(Self {
            authentication: Authentication::load(config, providers).map_err(Box::new)?,
            listeners: config.listeners.iter().map(settings).collect::<Result<_, _>>()?,
            admin_address: config.admin.address,
            admin_tls: admin_tls(config)?,
        })
    }

    /// When the certificates end that are served, by the address.
    fn expiries(&self) -> Vec<(SocketAddr, Expiry)> {
        let listeners = self.listeners.iter().map(|settings| (settings.listener.address, settings.tls.as_ref()));
        let served = listeners.chain([(self.admin_address, self.admin_tls.as_ref())]);
        let each = |(address, offered): (SocketAddr, Option<&Arc<Offered>>)| {
            offered.map_or_else(Vec::new, |offered| offered.expiries.iter().map(|end| (address, end.clone())).collect())
        };
        served.flat_map(each).collect()
    }
}

/// Reads files where one that does not come keeps nobody else waiting.
async fn in_time<T: Send + 'static>(read: impl FnOnce() -> T + Send + 'static) -> Result<T, ReloadError> {
    let read = tokio::time::timeout(FILES_ARE_READ_WITHIN, offload(read)).await;
    Ok(read.map_err(|_elapsed| ReloadError::Slow)?.map_err(StartError::Thread)?)
}

/// What came, went or differs, by name.
fn in_words<K: std::fmt::Display>(changes: &Changes<K>) -> String {
    let Changes { added, removed, changed } = changes;
    let kinds = [("added", added), ("removed", removed), ("changed", changed)].into_iter();
    let told = kinds.filter(|(_, names)| !names.is_empty()).map(|(what, names)| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        format!("{what} {}", names.join(", "))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "as before".to_owned() } else { told.join("; ") }
}

/// A file and what it held: a hash, or nothing where it could not be read.
type Fingerprint = (PathBuf, Option<u64>);

/// The first file that does not hold what it held.
fn changed<'f>(known: &[Fingerprint], seen: &'f [Fingerprint]) -> Option<&'f Path> {
    seen.iter().find(|fingerprint| !known.contains(fingerprint)).map(|(path, _)| path.as_path())
}

fn fingerprints(main: &Path, files: &[PathBuf]) -> Vec<Fingerprint> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let hash = |path: &Path| {
        let content = writegate_config::read_file(path).ok()?;
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Some(hasher.finish())
    };
    let paths = std::iter::once(main).chain(files.iter().map(PathBuf::as_path));
    paths.map(|path| (path.to_path_buf(), hash(path))).collect()
}

/// What of the files that a configuration names cannot be used: certificates, keys, credentials.
pub(crate) fn unusable(config: &Config) -> Vec<String> {
    let authentication =
        Authentication::load(config, &Providers::default()).err().map(|error| Chain(&error).to_string());
    let listeners = config.listeners.iter().filter_map(|listener| settings(listener).err());
    let tls = listeners.chain(admin_tls(config).err()).map(|error| Chain(&error).to_string());
    authentication.into_iter().chain(tls).collect()
}

fn settings(listener: &Listener) -> Result<Settings, StartError> {
    let unusable = |error| StartError::Tls { what: "the listener", address: listener.address, source: Box::new(error) };
    Settings::load(listener).map_err(unusable)
}

fn admin_tls(config: &Config) -> Result<Option<Arc<Offered>>, StartError> {
    let address = config.admin.address;
    let served = config.admin.tls.as_ref().map(|tls| tls::offer(tls, &[b"http/1.1"])).transpose();
    served.map_err(|error| StartError::Tls { what: "the admin server", address, source: Box::new(error) })
}

async fn bind(what: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |source| StartError::Listen { what, address, source };
    // `:9009` means all interfaces; a host without IPv6 has them at 0.0.0.0 only.
    let all_v4 = SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, address.port()));
    let socket = match TcpListener::bind(address).await {
        Err(no_v6) if address.ip() == std::net::Ipv6Addr::UNSPECIFIED && no_v6.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(all_v4).await
        }
        result => result,
    };
    let socket = socket.map_err(failed)?;
    let bound = socket.local_addr().map_err(failed)?;
    Ok((socket, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_is_told_by_the_names_of_what_changed() {
        let changes = Changes { added: vec!["a", "b"], removed: Vec::new(), changed: vec!["c"] };
        assert_eq!(in_words(&changes), "added a, b; changed c");
        assert_eq!(in_words(&Changes::<String>::default()), "as before");
    }

    #[test]
    fn the_file_that_changed_is_the_one_that_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let [main, other, gone] = ["main", "other", "gone"].map(|name| directory.path().join(name));
        for path in [&main, &other, &gone] {
            std::fs::write(path, "before").unwrap();
        }
        let look = || fingerprints(&main, &[other.clone(), gone.clone()]);
        let known = look();
        assert_eq!(changed(&known, &look()), None);
        std::fs::remove_file(&gone).unwrap();
        assert_eq!(changed(&known, &look()), Some(gone.as_path()));
        std::fs::write(&other, "after").unwrap();
        assert_eq!(changed(&known, &look()), Some(other.as_path()));
    }
}
