//! The application over real sockets: each service, each version, each way in which ratings can fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::client::Client;
use super::{
    Config, DETAILS_ERROR, DETAILS_SORRY, RATINGS_ERROR, REVIEWS_ERROR, REVIEWS_SORRY, Service, Upstream, Version,
    serve,
};

/// Where the tests call from.
const TESTER: &str = "127.0.0.99";

/// A service that ends with the test.
struct Running {
    upstream: Upstream,
    _service: JoinSet<()>,
}

impl Running {
    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.get_with(path, &HeaderMap::new()).await
    }

    async fn get_with(&self, path: &str, headers: &HeaderMap) -> (StatusCode, String) {
        let client = Client::new(self.upstream.clone(), TESTER.parse().unwrap());
        let reply = client.get(path, headers, Duration::from_secs(30)).await.unwrap();
        (reply.status, String::from_utf8(reply.body.to_vec()).unwrap())
    }

    async fn json(&self, path: &str) -> (StatusCode, serde_json::Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    async fn page(&self) -> String {
        let (status, page) = self.get("/productpage?u=normal").await;
        assert_eq!(status, StatusCode::OK, "the page is a page in any case");
        page
    }
}

async fn start(config: Config) -> Running {
    let listener = TcpListener::bind(config.listen).await.unwrap();
    let upstream = listener.local_addr().unwrap().try_into().unwrap();
    let mut service = JoinSet::new();
    service.spawn(async move { serve(listener, config, CancellationToken::new()).await.unwrap() });
    Running { upstream, _service: service }
}

fn config(service: Service, version: Version, ip: &str) -> Config {
    Config::new(service, version, SocketAddr::new(ip.parse().unwrap(), 0))
}

async fn details() -> Running {
    start(config(Service::Details, Version::V1, "127.0.0.11")).await
}

async fn ratings() -> Running {
    start(config(Service::Ratings, Version::V1, "127.0.0.12")).await
}

async fn reviews(version: Version, ratings: &Upstream) -> Running {
    let mut config = config(Service::Reviews, version, "127.0.0.13");
    config.ratings = Some(ratings.clone());
    start(config).await
}

async fn productpage(details: &Upstream, reviews: &Upstream) -> Running {
    let mut config = config(Service::Productpage, Version::V1, "127.0.0.14");
    config.details = Some(details.clone());
    config.reviews = Some(reviews.clone());
    start(config).await
}

/// A stand-in that answers each connection's first request with given bytes, or never.
struct Fake {
    upstream: Upstream,
    requests: Arc<Mutex<Vec<(IpAddr, String)>>>,
    _accepting: JoinSet<()>,
}

impl Fake {
    /// `None` never answers.
    async fn start(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.15:0").await.unwrap();
        let upstream = listener.local_addr().unwrap().try_into().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut stream, peer) = listener.accept().await.unwrap();
                let head = read_head(&mut stream).await;
                seen.lock().unwrap().push((peer.ip(), head));
                match answer {
                    Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                    None => held.push(stream),
                }
            }
        });
        Self { upstream, requests, _accepting: accepting }
    }

    fn requests(&self) -> Vec<(IpAddr, String)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// An address where nothing listens.
async fn absent() -> Upstream {
    let listener = TcpListener::bind("127.0.0.16:0").await.unwrap();
    listener.local_addr().unwrap().try_into().unwrap()
}

const FAILS: &str = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

const BAD_ANSWERS: [(&str, &str); 5] = [
    ("500", FAILS),
    ("200 with garbage", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\n<htm"),
    (
        "200 without stars",
        "HTTP/1.1 200 OK\r\ncontent-length: 21\r\nconnection: close\r\n\r\n{\"id\":0,\"ratings\":{}}",
    ),
    ("a body that breaks off", "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"id\":0,"),
    ("bytes that are not HTTP", "220 smtp ready\r\n"),
];

async fn assert_survives(version: Version, ratings: &Upstream, how: &str) {
    let reviews = reviews(version, ratings).await;
    let (status, answer) = reviews.json("/reviews/0").await;
    assert_eq!(status, StatusCode::OK, "{version}, {how}");
    for review in answer["reviews"].as_array().unwrap() {
        assert_eq!(review["rating"], serde_json::json!({ "error": RATINGS_ERROR }), "{version}, {how}");
        assert!(!review["text"].as_str().unwrap().is_empty());
    }
}

async fn assert_fails(ratings: &Upstream, how: &str) {
    let reviews = reviews(Version::V4, ratings).await;
    let (status, answer) = reviews.json("/reviews/0").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{how}");
    assert_eq!(answer, serde_json::json!({ "error": RATINGS_ERROR }), "{how}");
}

#[tokio::test]
async fn every_service_says_that_it_is_healthy() {
    let (details, ratings) = (details().await, ratings().await);
    let reviews = reviews(Version::V4, &absent().await).await;
    let page = productpage(&absent().await, &absent().await).await;
    for (service, name) in [(details, "details"), (ratings, "ratings"), (reviews, "reviews"), (page, "productpage")] {
        let (status, answer) = service.json("/health").await;
        assert_eq!((status, answer["status"].as_str()), (StatusCode::OK, Some(format!("{name} is healthy").as_str())));
    }
}

#[tokio::test]
async fn details_and_ratings_answer_for_the_product_that_is_asked_for() {
    let (status, answer) = details().await.json("/details/7").await;
    assert_eq!((status, answer["id"].as_u64(), answer["type"].as_str()), (StatusCode::OK, Some(7), Some("paperback")));
    let (status, answer) = ratings().await.json("/ratings/7").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer, serde_json::json!({ "id": 7, "ratings": { "Reviewer1": 5, "Reviewer2": 4 } }));
}

#[tokio::test]
async fn a_product_that_is_no_number_is_a_bad_request_and_an_unknown_path_is_not_found() {
    let ratings = ratings().await;
    let (status, answer) = ratings.json("/ratings/first").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["error"].as_str().unwrap().contains("numeric product ID"));
    assert_eq!(ratings.json("/details/0").await.0, StatusCode::NOT_FOUND);
    let page = productpage(&absent().await, &absent().await).await;
    assert_eq!(page.json("/reviews/0").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn every_response_has_a_content_type_and_other_methods_are_refused() {
    let details = details().await;
    let exchange = |request: &'static str| {
        let address = details.upstream.as_str().to_owned();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            read_head(&mut stream).await
        }
    };
    let head = exchange("GET /details/0 HTTP/1.1\r\nhost: details\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-type: application/json\r\n"), "{head}");
    let head = exchange("POST /details/0 HTTP/1.1\r\nhost: details\r\ncontent-length: 0\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 405") && head.contains("allow: GET, HEAD\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
}

#[tokio::test]
async fn reviews_v1_has_no_stars_and_never_calls_ratings() {
    let ratings = Fake::start(Some(FAILS)).await;
    let reviews = reviews(Version::V1, &ratings.upstream).await;
    let (status, answer) = reviews.json("/reviews/0").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["podname"], "reviews-v1");
    assert_eq!(answer["reviews"].as_array().unwrap().len(), 2);
    assert!(answer["reviews"].as_array().unwrap().iter().all(|review| review.get("rating").is_none()));
    assert!(ratings.requests().is_empty());
}

#[tokio::test]
async fn reviews_v2_has_black_stars_and_v3_and_v4_look_alike_in_red() {
    let ratings = ratings().await;
    for (version, color) in [(Version::V2, "black"), (Version::V3, "red"), (Version::V4, "red")] {
        let (status, answer) = reviews(version, &ratings.upstream).await.json("/reviews/0").await;
        assert_eq!(status, StatusCode::OK);
        let rating = |number: usize| answer["reviews"][number]["rating"].clone();
        assert_eq!(rating(0), serde_json::json!({ "stars": 5, "color": color }), "{version}");
        assert_eq!(rating(1), serde_json::json!({ "stars": 4, "color": color }), "{version}");
    }
}

#[tokio::test]
async fn reviews_v2_and_v3_survive_and_v4_fails_when_ratings_answers_badly() {
    for (how, answer) in BAD_ANSWERS {
        let ratings = Fake::start(Some(answer)).await;
        assert_survives(Version::V2, &ratings.upstream, how).await;
        assert_survives(Version::V3, &ratings.upstream, how).await;
        assert_fails(&ratings.upstream, how).await;
    }
}

#[tokio::test]
async fn reviews_v2_and_v3_survive_and_v4_fails_when_ratings_is_absent() {
    assert_survives(Version::V2, &absent().await, "absent").await;
    assert_survives(Version::V3, &absent().await, "absent").await;
    assert_fails(&absent().await, "absent").await;
}

#[tokio::test]
async fn reviews_with_red_stars_wait_two_and_a_half_seconds_for_a_ratings_that_hangs() {
    let ratings = Fake::start(None).await;
    let began = Instant::now();
    tokio::join!(assert_survives(Version::V3, &ratings.upstream, "hangs"), assert_fails(&ratings.upstream, "hangs"));
    let took = began.elapsed();
    assert!(took >= Version::V3.ratings_timeout() && took < Version::V2.ratings_timeout(), "{took:?}");
}

#[tokio::test]
async fn the_page_shows_book_reviews_and_stars() {
    let (details, ratings) = (details().await, ratings().await);
    let reviews = reviews(Version::V3, &ratings.upstream).await;
    let page = productpage(&details.upstream, &reviews.upstream).await.page().await;
    for part in [
        "<h1>The Comedy of Errors</h1>",
        "William Shakespeare",
        "Reviewer2",
        "<p class=\"red\" role=\"img\" aria-label=\"5 of 5 stars\">★★★★★</p>",
        "<p class=\"red\" role=\"img\" aria-label=\"4 of 5 stars\">★★★★☆</p>",
        "Reviews served by reviews-v3",
    ] {
        assert!(page.contains(part), "{part} is not in\n{page}");
    }
    for part in [REVIEWS_ERROR, RATINGS_ERROR, DETAILS_ERROR] {
        assert!(!page.contains(part), "{part} is in\n{page}");
    }
}

#[tokio::test]
async fn the_page_with_a_vulnerable_reviews_shows_the_tutorials_error_and_asks_exactly_twice() {
    let details = details().await;
    let reviews = Fake::start(Some(FAILS)).await;
    let page = productpage(&details.upstream, &reviews.upstream).await.page().await;
    assert!(page.contains(REVIEWS_ERROR) && page.contains(REVIEWS_SORRY), "{page}");
    assert!(page.contains("William Shakespeare") && !page.contains("★"), "{page}");
    assert_eq!(reviews.requests().len(), 2);
    assert!(reviews.requests().iter().all(|(_, head)| head.starts_with("GET /reviews/0 HTTP/1.1\r\n")));
}

#[tokio::test]
async fn a_failing_ratings_reaches_the_page_through_v4_and_is_stopped_by_v3() {
    let (details, ratings) = (details().await, Fake::start(Some(FAILS)).await);
    let vulnerable = reviews(Version::V4, &ratings.upstream).await;
    let page = productpage(&details.upstream, &vulnerable.upstream).await.page().await;
    assert!(page.contains(REVIEWS_ERROR) && !page.contains(RATINGS_ERROR), "{page}");
    assert_eq!(ratings.requests().len(), 2, "one call of ratings for each of the two tries");

    let resilient = reviews(Version::V3, &ratings.upstream).await;
    let page = productpage(&details.upstream, &resilient.upstream).await.page().await;
    assert!(!page.contains(REVIEWS_ERROR) && !page.contains("★"), "{page}");
    assert_eq!(page.matches(RATINGS_ERROR).count(), 2, "once for each review: {page}");
    assert_eq!(ratings.requests().len(), 3);
}

#[tokio::test]
async fn the_page_gives_a_hanging_reviews_three_seconds_twice() {
    let reviews = Fake::start(None).await;
    let page = productpage(&absent().await, &reviews.upstream).await;
    let began = Instant::now();
    let page = page.page().await;
    assert!((6..9).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert!(page.contains(REVIEWS_ERROR) && page.contains(DETAILS_ERROR) && page.contains(DETAILS_SORRY), "{page}");
    assert_eq!(reviews.requests().len(), 2);
}

#[tokio::test]
async fn what_a_called_service_says_is_escaped_on_the_page() {
    const HOSTILE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 96\r\nconnection: close\r\n\r\n\
        {\"id\":\"0\",\"podname\":\"<b>\",\"reviews\":[{\"reviewer\":\"R\",\"text\":\"<script>alert(1)</script>123456\"}]}";
    let reviews = Fake::start(Some(HOSTILE)).await;
    let page = productpage(&absent().await, &reviews.upstream).await.page().await;
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>") && !page.contains("<b>"), "{page}");
}

#[tokio::test]
async fn the_index_links_to_the_page_for_both_users() {
    let page = productpage(&absent().await, &absent().await).await;
    for path in ["/", "/index.html"] {
        let (status, index) = page.get(path).await;
        assert_eq!(status, StatusCode::OK);
        assert!(index.contains("\"/productpage?u=normal\"") && index.contains("\"/productpage?u=test\""), "{index}");
    }
}

#[tokio::test]
async fn services_are_called_from_the_callers_own_address_with_the_headers_that_travel() {
    let (details, reviews_seen) = (details().await, Fake::start(Some(FAILS)).await);
    let page = productpage(&details.upstream, &reviews_seen.upstream).await;
    let mut headers = HeaderMap::new();
    headers.insert("end-user", "jason".parse().unwrap());
    headers.insert("traceparent", "00-1-2-01".parse().unwrap());
    page.get_with("/productpage", &headers).await;
    let ratings_seen = Fake::start(Some(FAILS)).await;
    reviews(Version::V3, &ratings_seen.upstream).await.get_with("/reviews/0", &headers).await;

    for (fake, caller) in [(&reviews_seen, "127.0.0.14"), (&ratings_seen, "127.0.0.13")] {
        for (from, head) in fake.requests() {
            assert_eq!(from.to_string(), caller);
            assert!(head.contains(&format!("host: {}\r\n", fake.upstream)), "{head}");
            assert!(head.contains("end-user: jason\r\n") && head.contains("traceparent: 00-1-2-01\r\n"), "{head}");
        }
    }
}

#[tokio::test]
async fn calls_share_a_connection() {
    let listener = TcpListener::bind("127.0.0.17:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().try_into().unwrap();
    let client = Client::new(upstream, TESTER.parse().unwrap());
    let calls = async {
        for _ in 0..5 {
            client.get("/ratings/0", &HeaderMap::new(), Duration::from_secs(10)).await.unwrap();
        }
    };
    let served_on_one_connection = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..5 {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    };
    tokio::join!(calls, served_on_one_connection);
}

fn stoppable(config: Config, listener: TcpListener) -> (CancellationToken, JoinHandle<std::io::Result<()>>) {
    let shutdown = CancellationToken::new();
    (shutdown.clone(), tokio::spawn(serve(listener, config, shutdown)))
}

#[tokio::test]
async fn a_service_that_is_told_to_stop_answers_what_it_has_accepted_and_then_refuses() {
    let mut config = config(Service::Reviews, Version::V3, "127.0.0.17");
    let ratings = Fake::start(None).await;
    config.ratings = Some(ratings.upstream.clone());
    let listener = TcpListener::bind(config.listen).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, service) = stoppable(config, listener);
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /reviews/0 HTTP/1.1\r\nhost: reviews\r\n\r\n").await.unwrap();
    let arrived = async {
        while ratings.requests().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived).await.expect("reviews calls ratings");

    shutdown.cancel();
    let head = read_head(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    service.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn idle_connections_do_not_keep_a_service_from_stopping() {
    let config = config(Service::Details, Version::V1, "127.0.0.17");
    let listener = TcpListener::bind(config.listen).await.unwrap();
    let mut idle = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (shutdown, service) = stoppable(config, listener);
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: details\r\n\r\n").await.unwrap();
    read_head(&mut idle).await;
    let began = Instant::now();
    shutdown.cancel();
    service.await.unwrap().unwrap();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_service_that_does_not_know_whom_to_call_does_not_start() {
    let listener = TcpListener::bind("127.0.0.17:0").await.unwrap();
    let config = config(Service::Productpage, Version::V1, "127.0.0.17");
    let error = serve(listener, config, CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("--details HOST:PORT"), "{error}");
}
