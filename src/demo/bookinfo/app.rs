//! From a request to a response: methods, paths, content types.

use std::net::IpAddr;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::client::Client;
use super::config::{Config, ConfigError, Service};
use super::{details, productpage, ratings, reviews};

/// A service that is ready to answer.
#[derive(Debug)]
pub(super) enum App {
    Productpage(Box<productpage::Service>),
    Details,
    Ratings,
    Reviews(reviews::Service),
}

/// The service cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("a template of the product page is broken: {0}")]
    Template(#[from] minijinja::Error),
}

impl App {
    /// Makes the service of `config`, which listens on `own` and calls others from there.
    pub(super) fn new(config: &Config, own: IpAddr) -> Result<Self, AppError> {
        config.check()?;
        let client = |called| config.called(called).map(|upstream| Client::new(upstream.clone(), own));
        Ok(match config.service {
            Service::Details => Self::Details,
            Service::Ratings => Self::Ratings,
            Service::Reviews => {
                let ratings = config.version.stars().map(|_| client(Service::Ratings)).transpose()?;
                Self::Reviews(reviews::Service::new(config.version, ratings))
            }
            Service::Productpage => {
                let page = productpage::Service::new(client(Service::Details)?, client(Service::Reviews)?)?;
                Self::Productpage(Box::new(page))
            }
        })
    }

    fn service(&self) -> Service {
        match self {
            Self::Productpage(_) => Service::Productpage,
            Self::Details => Service::Details,
            Self::Ratings => Service::Ratings,
            Self::Reviews(_) => Service::Reviews,
        }
    }

    /// Answers a request; the query is accepted and has no meaning.
    pub(super) async fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if path == "/health" {
            return json(StatusCode::OK, &json!({ "status": format!("{} is healthy", self.service()) }));
        }
        if let Self::Productpage(page) = self {
            return match path {
                "/" | "/index.html" => html(page.index()),
                "/productpage" => html(page.page(headers).await),
                _ => not_found(),
            };
        }
        match product(path, self.service()) {
            None => not_found(),
            Some(Err(_)) => error(StatusCode::BAD_REQUEST, "please provide a numeric product ID, for example 0"),
            Some(Ok(id)) => self.product(id, headers).await,
        }
    }

    async fn product(&self, id: u64, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match self {
            Self::Details => json(StatusCode::OK, &json!(details::details(id))),
            Self::Ratings => json(StatusCode::OK, &json!(ratings::ratings(id))),
            Self::Reviews(reviews) => {
                let (status, answer) = reviews.reviews(id, headers).await;
                json(status, &answer)
            }
            Self::Productpage(_) => not_found(),
        }
    }
}

/// The product in `/<service>/<id>`; `None` for any other path.
fn product(path: &str, service: Service) -> Option<Result<u64, std::num::ParseIntError>> {
    let id = path.strip_prefix('/')?.strip_prefix(service.name())?.strip_prefix('/')?;
    Some(id.parse())
}

fn html(page: Result<String, minijinja::Error>) -> Response<Full<Bytes>> {
    match page {
        Ok(page) => respond(StatusCode::OK, "text/html; charset=utf-8", page),
        Err(problem) => {
            tracing::error!(%problem, "the page cannot be rendered");
            error(StatusCode::INTERNAL_SERVER_ERROR, "the page cannot be rendered")
        }
    }
}

fn not_found() -> Response<Full<Bytes>> {
    error(StatusCode::NOT_FOUND, "there is nothing at this path")
}

fn error(status: StatusCode, said: &str) -> Response<Full<Bytes>> {
    json(status, &json!({ "error": said }))
}

fn json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    respond(status, "application/json", value.to_string())
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_path_is_the_service_and_a_number() {
        assert_eq!(product("/ratings/7", Service::Ratings), Some(Ok(7)));
        assert!(matches!(product("/ratings/x", Service::Ratings), Some(Err(_))));
        assert!(matches!(product("/ratings/", Service::Ratings), Some(Err(_))));
        for other in ["/ratings", "/details/7", "ratings/7", "/ratings7", "/"] {
            assert_eq!(product(other, Service::Ratings), None, "{other}");
        }
    }
}
