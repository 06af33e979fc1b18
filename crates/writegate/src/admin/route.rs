//! Which paths there are, and what each takes.

use http::Method;

use super::console::{Act, Asset, Page};

/// What a path stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Healthy,
    Ready,
    Reload,
    Metrics,
    /// Of the console.
    Page(Page),
    Asset(Asset),
    Act(Act),
    Status,
    Ledger,
    History,
    Config,
    Explain,
    Tap,
    Replays,
    Replay(u64),
    Letters,
    Letter(u64),
}

impl Route {
    /// `None`: nothing is served there. An id that is no number is none that is served.
    pub(super) fn of(path: &str) -> Option<Self> {
        Some(match path {
            "/-/healthy" => Self::Healthy,
            "/-/ready" => Self::Ready,
            "/-/reload" => Self::Reload,
            "/metrics" => Self::Metrics,
            "/api/v1/status" => Self::Status,
            "/api/v1/ledger" => Self::Ledger,
            "/api/v1/history" => Self::History,
            "/api/v1/config" => Self::Config,
            "/api/v1/explain" => Self::Explain,
            "/api/v1/tap" => Self::Tap,
            "/api/v1/replays" => Self::Replays,
            "/api/v1/dead_letters" => Self::Letters,
            other if other.starts_with("/api/") => return Self::with_id(other),
            other => return Self::of_console(other),
        })
    }

    fn with_id(path: &str) -> Option<Self> {
        let (collection, id) = path.strip_prefix("/api/v1/")?.split_once('/')?;
        let id = id.parse().ok()?;
        match collection {
            "replays" => Some(Self::Replay(id)),
            "dead_letters" => Some(Self::Letter(id)),
            _ => None,
        }
    }

    fn of_console(path: &str) -> Option<Self> {
        let asset = || Asset::of(path).map(Self::Asset);
        Page::of(path).map(Self::Page).or_else(asset).or_else(|| Act::of(path).map(Self::Act))
    }

    /// The methods, as in an `Allow` header.
    pub(super) const fn allowed(&self) -> &'static str {
        match self {
            Self::Reload | Self::Act(_) => "POST",
            Self::Replays | Self::Letters => "GET, HEAD, POST",
            Self::Replay(_) => "GET, HEAD, DELETE",
            Self::Tap => "GET",
            _ => "GET, HEAD",
        }
    }

    /// Whether it belongs to the JSON API, where what is not known is an error.
    pub(super) const fn is_api(&self) -> bool {
        let others = matches!(self, Self::Healthy | Self::Ready | Self::Reload | Self::Metrics);
        !others && !matches!(self, Self::Page(_) | Self::Asset(_) | Self::Act(_))
    }

    /// Whether a GET reads parameters from the query itself.
    pub(super) const fn reads_query(&self) -> bool {
        matches!(self, Self::Explain | Self::Letters | Self::Tap | Self::History)
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        self.allowed().split(", ").any(|allowed| allowed == method.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_has_pages_assets_and_forms() {
        assert_eq!(Route::of("/"), Some(Route::Page(Page::Overview)));
        assert_eq!(Route::of("/endpoints/a%2Fb"), Some(Route::Page(Page::Endpoint("a/b".to_owned()))));
        assert_eq!(Route::of("/console/console.css"), Some(Route::Asset(Asset::Style)));
        assert!(Route::of("/console/reload").is_some_and(|route| !route.takes(&Method::GET) && !route.is_api()));
        for path in ["/console", "/console/", "/nothing", "/console/console.html"] {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_is_what_it_says_and_nothing_else_is_served() {
        assert_eq!(Route::of("/api/v1/replays/7"), Some(Route::Replay(7)));
        assert_eq!(Route::of("/api/v1/dead_letters/18446744073709551615"), Some(Route::Letter(u64::MAX)));
        for path in ["", "/api/v1", "/api/v1/status/1", "/api/v1/replays/", "/api/v1/replays/x", "/api/v1/replays/1/2"]
        {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }

    #[test]
    fn only_what_changes_something_takes_other_methods() {
        let takes = |path: &str, method: &Method| Route::of(path).is_some_and(|route| route.takes(method));
        for path in ["/metrics", "/api/v1/status", "/api/v1/replays", "/api/v1/replays/1", "/api/v1/dead_letters/1"] {
            assert!(takes(path, &Method::GET) && takes(path, &Method::HEAD) && !takes(path, &Method::PUT), "{path}");
        }
        assert!(takes("/-/reload", &Method::POST) && !takes("/-/reload", &Method::GET));
        assert!(takes("/api/v1/replays", &Method::POST) && !takes("/api/v1/replays", &Method::DELETE));
        assert!(takes("/api/v1/replays/1", &Method::DELETE) && !takes("/api/v1/dead_letters/1", &Method::DELETE));
    }
}
