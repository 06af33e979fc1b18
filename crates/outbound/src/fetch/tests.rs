//! Exchanges with servers that say exactly what they are told to.

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::testing::read_request;
use crate::tls::TlsSource;

/// A server that reads one request, sends `answer`, and keeps the connection open or closes it. Returns the request.
async fn server(answer: String, closes: bool) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let request = read_request(&mut stream).await;
        drop(stream.write_all(answer.as_bytes()).await);
        if !closes {
            drop(stream.read(&mut [0]).await);
        }
        request
    });
    (address, serving)
}

fn fetcher(bounds: Bounds) -> Fetcher {
    Fetcher::new(Connector::new(TlsSource::new(None, false), bounds.within), bounds)
}

const BOUNDS: Bounds = Bounds { within: Duration::from_secs(20), body: 100 };

fn url(address: SocketAddr, path: &str) -> config::Url {
    config::Url::parse(&format!("http://{address}{path}")).unwrap()
}

fn chain(error: &FetchError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

#[tokio::test]
async fn an_answer_is_had_with_status_headers_and_body() {
    let answer = "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\nAge: 10\r\nContent-Length: 2\r\n\r\n{}";
    let (address, serving) = server(answer.to_owned(), false).await;
    let mut headers = HeaderMap::new();
    headers.insert("metadata", HeaderValue::from_static("true"));
    let fetched = fetcher(BOUNDS).get(&url(address, "/keys?a=b"), headers).await.unwrap();
    assert_eq!((fetched.status, fetched.max_age()), (StatusCode::OK, Some(Duration::from_secs(50))));
    assert_eq!(fetched.success().unwrap(), "{}");
    let request = serving.await.unwrap();
    assert!(request.starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("metadata: true\r\n"), "{request}");
}

#[tokio::test]
async fn a_form_is_sent_encoded() {
    let (address, serving) = server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), false).await;
    let form = [("grant_type", "client credentials"), ("scope", "a:b é&="), ("x", "")];
    fetcher(BOUNDS).post_form(&url(address, "/token"), HeaderMap::new(), &form).await.unwrap();
    let request = serving.await.unwrap();
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("content-type: application/x-www-form-urlencoded\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=client+credentials&scope=a%3Ab+%C3%A9%26%3D&x="), "{request}");
}

#[tokio::test]
async fn another_status_is_an_error_in_the_servers_words_and_a_redirect_is_not_followed() {
    for (answer, expected) in [
        ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 10\r\n\r\nno\r\nclient", "401 Unauthorized: no client"),
        ("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n", "500 Internal Server Error"),
        (
            "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x?token=y\r\nContent-Length: 0\r\n\r\n",
            "302 Found: to http://127.0.0.1:1/x, which is not followed; configure the address it leads to",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404 Not Found"),
    ] {
        let (address, _serving) = server(answer.to_owned(), false).await;
        let fetched = fetcher(BOUNDS).get(&url(address, "/"), HeaderMap::new()).await.unwrap();
        assert_eq!(fetched.success().unwrap_err().to_string(), expected);
    }
}

#[tokio::test]
async fn what_is_too_long_or_breaks_off_is_told_with_the_address_and_no_secret() {
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n{}", "x".repeat(101));
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1000));
    for (answer, closes, expected) in [
        (long, false, "the answer has more than 100 bytes"),
        (endless, false, "the answer has more than 100 bytes"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx".to_owned(), true, "the connection failed: "),
        (String::new(), true, "the connection failed: "),
        ("SSH-2.0-x\r\n\r\n".to_owned(), false, "the connection failed: "),
    ] {
        let (address, _serving) = server(answer, closes).await;
        let error = fetcher(BOUNDS).get(&url(address, "/a?api_key=s3cret"), HeaderMap::new()).await.unwrap_err();
        let told = chain(&error);
        assert!(told.starts_with(&format!("GET http://{address}/a?api_key=xxxxx: {expected}")), "{told}");
        assert!(!format!("{error:?}").contains("s3cret"), "{error:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_apart_from_a_server_that_does_not_answer_in_time() {
    let vacant = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = fetcher(BOUNDS).get(&url(vacant, "/"), HeaderMap::new()).await.unwrap_err();
    assert!(matches!(&error.failure, Failure::Connect(why) if why.contains("refused")), "{error:?}");

    let (silent, _serving) = server(String::new(), false).await;
    let bounds = Bounds { within: Duration::from_millis(50), ..BOUNDS };
    let error = fetcher(bounds).get(&url(silent, "/"), HeaderMap::new()).await.unwrap_err();
    assert_eq!(chain(&error), format!("GET http://{silent}/: no whole answer within 50ms"));
}

#[test]
fn how_long_an_answer_may_be_kept_is_what_the_server_says() {
    let max_age = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        Fetched { status: StatusCode::OK, headers, body: Bytes::new() }.max_age()
    };
    for (values, expected) in [
        (&[][..], None),
        (&["public"], None),
        (&["max-age=x"], None),
        (&["Max-Age=\"5\""], Some(5)),
        (&["public", "s-maxage=1, max-age=5"], Some(5)),
        (&["no-store, max-age=5"], Some(0)),
        (&["max-age=5", "no-cache"], Some(0)),
    ] {
        assert_eq!(max_age(values), expected.map(Duration::from_secs), "{values:?}");
    }
}
