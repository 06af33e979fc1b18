//! The console's addresses without a browser: what headers pages come with, what is asked for once, who may send forms, what is said
//! where there is no page, and that a page stays small however much there is.

use http::{HeaderName, HeaderValue, Method};
use remote_write::{Compression, Protocol};
use testkit::sender::{Answer, Sender};

use crate::harness::{PATIENCE, Setup, TestGateway, bounded, compress, eventually, receiver};
use crate::message::{encode, request, sample_of};

async fn ask(gateway: &TestGateway, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let sender = Sender::new(&format!("{}{path}", gateway.admin_url())).unwrap().with_timeout(PATIENCE);
    let sender = headers.iter().fold(sender, |sender, (name, value)| {
        sender.with_header(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap())
    });
    sender.send(method, http::HeaderMap::new(), body.to_owned().into()).await.unwrap()
}

async fn get(gateway: &TestGateway, path: &str) -> Answer {
    ask(gateway, Method::GET, path, &[("accept", "text/html")], "").await
}

#[test]
fn pages_let_a_browser_do_nothing_that_is_not_theirs() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        for path in ["/", "/tenants", "/ledger", "/tenants/nobody", "/nothing"] {
            let answer = get(&gateway, path).await;
            let policy = answer.header("content-security-policy").unwrap();
            for part in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"] {
                assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
            }
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
            assert_eq!(answer.header("referrer-policy"), Some("same-origin"), "{path}");
            let page = answer.text();
            assert!(
                !page.contains(" style=") && !page.contains(" onclick") && !page.contains("<style"),
                "{path}: {page}"
            );
        }
        gateway.finish().await;
    });
}

#[test]
fn style_and_script_are_sent_once() {
    bounded(async {
        let gateway = Setup::new().start().await;
        for (path, kind) in [("/console/console.css", "text/css"), ("/console/console.js", "text/javascript")] {
            let answer = get(&gateway, path).await;
            assert!(answer.header("content-type").unwrap().starts_with(kind) && !answer.body.is_empty(), "{path}");
            let tag = answer.header("etag").unwrap().to_owned();
            let again = ask(&gateway, Method::GET, path, &[("if-none-match", &tag)], "").await;
            assert_eq!((again.status.as_u16(), again.body.len()), (304, 0), "{path}");
        }
        gateway.finish().await;
    });
}

#[test]
fn forms_of_other_sites_are_refused_and_so_are_those_that_are_not_understood() {
    bounded(async {
        let sink = receiver().await;
        let gateway = Setup::new().endpoint("a", &sink).start().await;
        gateway.accept(Protocol::V1, &request([sample_of("up", 1)])).await;
        gateway.settled().await;
        let replay = "endpoint=a&tenant=default&from=2h&to=now&rate=";
        for path in ["/console/reload", "/console/replay", "/console/cancel", "/console/letters"] {
            for header in [("origin", "http://evil.example.org"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
            {
                assert_eq!(ask(&gateway, Method::POST, path, &[header], replay).await.status, 403, "{path} {header:?}");
            }
            assert_eq!(get(&gateway, path).await.status, 405, "{path}");
        }
        let same = [("origin", gateway.admin_url()), ("sec-fetch-site", "same-origin".to_owned())];
        let same = same.each_ref().map(|(name, value)| (*name, value.as_str()));
        let begun = ask(&gateway, Method::POST, "/console/replay", &same, replay).await;
        assert!(begun.status == 200 && begun.text().contains("has begun"), "{}", begun.text());
        for (path, form, status, words) in [
            ("/console/replay", "endpoint=a&tenant=default&from=yesterday&to=now", 400, "is no time"),
            ("/console/replay", "endpoint=b&tenant=default&from=2h&to=now", 404, "no such endpoint"),
            ("/console/replay", "endpoint=a&tenant=default&from=2h&to=now&rate=fast", 400, "expected a number"),
            ("/console/cancel", "id=77&endpoint=a", 404, "no replay 77"),
            ("/console/letters", "action=drop&endpoint=a", 400, "sure"),
            ("/console/letters", "action=burn&endpoint=a", 400, "expected retry or drop"),
            ("/console/letters", "%zz", 400, "hexadecimal"),
        ] {
            let answer = ask(&gateway, Method::POST, path, &same, form).await;
            assert_eq!(answer.status, status, "{path} {form}: {}", answer.text());
            assert!(
                answer.text().contains(words) && answer.text().contains("Not done"),
                "{path} {form}: {}",
                answer.text()
            );
        }
        gateway.finish().await;
    });
}

#[test]
fn where_there_is_no_page_it_says_what_there_is() {
    bounded(async {
        let gateway = Setup::new().start().await;
        for (path, status, words) in [
            ("/nothing", 404, "Nothing is served at this address"),
            ("/tenants/nobody", 404, "There is no tenant"),
            ("/endpoints/nothing", 404, "There is no endpoint"),
            ("/letters/7", 404, "7"),
            ("/tenants?find=a&sort=b", 400, "sort"),
        ] {
            let answer = get(&gateway, path).await;
            assert_eq!(answer.status, status, "{path}");
            assert!(
                answer.text().contains(words) && answer.text().contains("href=\"/ledger\""),
                "{path}: {}",
                answer.text()
            );
        }
        let plain = ask(&gateway, Method::GET, "/nothing", &[], "").await;
        assert_eq!(plain.text(), "nothing is served at this path (wg-api-path)\n", "for who is no browser");
        gateway.finish().await;
    });
}

/// Tenants of which there are too many to list.
const TENANTS: usize = 60;

#[test]
fn the_overview_stays_small_and_sums_up_the_rest() {
    bounded(async {
        let sink = receiver().await;
        let setup = Setup::new().listener("tenant: default, tenant_from: [{path: true}]").top("tenants: [{name: '*'}]");
        let setup = (0..30).fold(setup, |setup, number| setup.endpoint(&format!("e{number}"), &sink));
        let gateway = setup.start().await;
        for number in 0..TENANTS {
            let sender = gateway.sender_at(&format!("/t{number}/api/v1/write"));
            let body = compress(Compression::Snappy, &encode(Protocol::V1, &request([sample_of("up", 1)])));
            assert_eq!(sender.push(Protocol::V1, Compression::Snappy, body).await.unwrap().status, 204);
        }
        let all = || async {
            let page = get(&gateway, "/").await.text();
            (page.contains("53 more tenants") && page.contains("23 more endpoints")).then_some(page)
        };
        let page = eventually("every tenant is on the page", all).await;
        assert!(page.contains("All 60 tenants") && page.len() < 60_000, "{} bytes", page.len());
        let found = get(&gateway, "/tenants?find=T59").await.text();
        assert!(found.contains("/tenants/t59") && !found.contains("/tenants/t58"), "{found}");
        gateway.finish().await;
    });
}
