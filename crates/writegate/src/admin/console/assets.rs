//! Style, script and icon: files of the program, told apart by a hash so that browsers ask once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// What browsers may do with a page: nothing that is not this server's, nothing inline.
pub(in super::super) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                                           form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A file of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Asset {
    Style,
    Script,
    Icon,
}

impl Asset {
    pub(in super::super) fn of(path: &str) -> Option<Self> {
        [Self::Style, Self::Script, Self::Icon].into_iter().find(|asset| asset.path() == path)
    }

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Style => "/console/console.css",
            Self::Script => "/console/console.js",
            Self::Icon => "/console/icon.svg",
        }
    }

    pub(in super::super) const fn content_type(self) -> &'static str {
        match self {
            Self::Style => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Icon => "image/svg+xml",
        }
    }

    pub(in super::super) const fn content(self) -> &'static str {
        match self {
            Self::Style => include_str!("console.css"),
            Self::Script => include_str!("console.js"),
            Self::Icon => include_str!("icon.svg"),
        }
    }

    /// For `ETag` and `If-None-Match`.
    pub(in super::super) fn tag(self) -> String {
        let mut hasher = DefaultHasher::new();
        self.content().hash(&mut hasher);
        format!("\"{:016x}\"", hasher.finish())
    }
}
