//! The console: pages that are made here, whole, from what the JSON API says. They need no script; a small one keeps them up to
//! date. Changes nothing itself: forms are passed on to those whose it is.

mod acts;
mod assets;
mod chart;
mod config;
mod endpoint;
mod explain;
mod flow;
mod frame;
mod ledger;
mod letters;
mod lists;
mod overview;
mod paths;
mod replays;
mod standing;
mod tap;
mod tenant;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
use maud::{Markup, html};

pub(super) use self::acts::{Act, act};
pub(super) use self::assets::{Asset, POLICY};
pub(super) use self::frame::Frame;
use self::frame::frame;
pub(super) use self::paths::Page;
use super::api::Status;
use super::history::Past;
use super::refusal::Refusal;
use super::status;
use crate::app::App;

/// What pages are made from: a moment of the gateway, shared by all who look.
#[derive(Debug)]
pub(super) struct Snapshot {
    status: Status,
    at: Instant,
    took: Duration,
}

/// How long a snapshot is good for, at least.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// And in parts of what it took to make: looking takes at most a hundredth of a core, however many look.
const SHARE: u32 = 100;

/// The last snapshot.
#[derive(Debug, Default)]
pub(super) struct Snapshots(Mutex<Option<Arc<Snapshot>>>);

impl Snapshots {
    /// One that is good enough. May read from the disk.
    fn get(&self, app: &App, past: &Past) -> Arc<Snapshot> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = |last: &&Arc<Snapshot>| last.at.elapsed() < GOOD_FOR.max(last.took * SHARE);
        if let Some(last) = last.as_ref().filter(is_good) {
            return Arc::clone(last);
        }
        let at = Instant::now();
        let status = status::status(app, past);
        let snapshot = Arc::new(Snapshot { status, at, took: at.elapsed() });
        *last = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Something was changed: who looks next sees it.
    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What a page is made from.
struct Scene<'s> {
    app: &'s Arc<App>,
    past: &'s Past,
    now: &'s Snapshot,
}

/// A page of the console. May read from the disk.
pub(super) fn page(
    app: &Arc<App>,
    past: &Past,
    snapshots: &Snapshots,
    (page, query): (&Page, &str),
) -> (StatusCode, String) {
    let now = snapshots.get(app, past);
    let scene = Scene { app, past, now: &now };
    let made = match page {
        Page::Overview => Ok(overview::page(&scene)),
        Page::Tenants => lists::tenants(&scene, query),
        Page::Endpoints => lists::endpoints(&scene, query),
        Page::Tenant(name) => tenant::page(&scene, name),
        Page::Endpoint(name) => endpoint::page(&scene, name, query),
        Page::Letter(id) => letters::page(&scene, *id),
        Page::Ledger => ledger::page(&scene, query),
        Page::Explain => explain::page(&scene, query),
        Page::Tap => tap::page(&scene, query),
        Page::Config => Ok(config::page(&scene)),
        Page::Nothing => Err(Refusal::Unknown("Nothing is served at this address".to_owned())),
    };
    let (status, shown) = match made {
        Ok(shown) => (StatusCode::OK, shown),
        Err(refusal) => (refusal.status(), refused(&refusal)),
    };
    (status, frame(&scene, &shown).into_string())
}

/// What came of a form, after which everything may be different. May read from the disk.
pub(super) fn outcome(app: &Arc<App>, past: &Past, snapshots: &Snapshots, shown: &Frame) -> String {
    snapshots.forget();
    let now = snapshots.get(app, past);
    frame(&Scene { app, past, now: &now }, shown).into_string()
}

/// A page for what cannot be shown: it says why, and what there is.
fn refused(refusal: &Refusal) -> Frame {
    let title =
        if refusal.status() == StatusCode::NOT_FOUND { "There is no such page" } else { "This cannot be shown" };
    let body = html! {
        h1 { (title) }
        p.words { (said(&refusal.to_string())) }
        p { "There are:" }
        ul {
            li { a href="/" { "the overview" } ": what is wrong and where" }
            li { a href="/tenants" { "tenants" } " and " a href="/endpoints" { "endpoints" } ", each with a page of its own" }
            li { a href="/ledger" { "the ledger" } ": where every data point is" }
            li { a href="/explain" { "explain" } ": what becomes of a series" }
            li { a href="/tap" { "tap" } ": series as they pass by" }
            li { a href="/config" { "the configuration" } " in effect" }
        }
    };
    Frame { title: title.to_owned(), here: None, body, is_live: false }
}

/// What others said: text only, and none that acts on the page or turns its letters around.
fn said(words: &str) -> Markup {
    html! { (crate::figures::plain(words)) }
}
