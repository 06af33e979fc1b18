//! Requests to other servers: TLS, proxies, credentials.
