//! The tutorial's application as processes, each on a loopback address of its own, with ratings and reviews behind the proxy.

use std::net::{Ipv4Addr, SocketAddr};

use super::program::{GLOOSHOT, Program, free_address};
use crate::harness::{Client, Setup, get};

/// The application. Requests for ratings and reviews go to addresses where a proxy must listen.
#[derive(Debug)]
pub struct Application {
    _programs: Vec<Program>,
    /// Where the page is.
    pub page: SocketAddr,
    arguments: Vec<String>,
    routes: [String; 2],
}

impl Application {
    /// Starts everything on addresses in 127.31.`net`.0/24, so that the callers can be told apart.
    #[track_caller]
    pub fn start(net: u8) -> Self {
        let ip = |host: u8| Ipv4Addr::new(127, 31, net, host);
        let ratings_route = free_address(ip(1).into());
        let reviews_route = free_address(ip(2).into());
        let mut programs = Vec::new();
        let mut serve = |host: u8, arguments: &[&str]| {
            let listen = format!("{}:0", ip(host));
            let arguments = [&["bookinfo"], arguments, &["--listen", &listen]].concat();
            let program = Program::start(GLOOSHOT, &arguments, |line| line == "ready");
            let lines = program.lines();
            let address = lines.iter().find_map(|line| line.strip_prefix("listening ")?.rsplit_once(" on "));
            let address: SocketAddr = address.unwrap().1.parse().unwrap();
            programs.push(program);
            address
        };
        let to_ratings = ratings_route.to_string();
        let ratings = serve(14, &["ratings"]);
        let details = serve(11, &["details"]).to_string();
        let v3 = serve(23, &["reviews", "--version", "v3", "--ratings", &to_ratings]);
        let v4 = serve(24, &["reviews", "--version", "v4", "--ratings", &to_ratings]);
        let page = serve(10, &["productpage", "--details", &details, "--reviews", &reviews_route.to_string()]);
        let sources = [(10, "productpage:v1"), (23, "reviews:v3"), (24, "reviews:v4")];
        let sources = sources.map(|(host, name)| ["--source".to_owned(), format!("{}={name}", ip(host))]);
        Self {
            _programs: programs,
            page,
            arguments: sources.concat(),
            routes: [
                format!("bookinfo/ratings:9080={ratings_route}->{ratings}"),
                format!("bookinfo/reviews:9080={reviews_route}->{v3}@v3,{v4}@v4"),
            ],
        }
    }

    /// The same process with its routes and the names of its callers.
    pub fn behind(&self, setup: Setup) -> Setup {
        let setup = self.routes.iter().fold(setup, |setup, route| setup.raw_route(route));
        setup.with(self.arguments.iter().map(String::as_str))
    }

    /// The page as a browser gets it.
    #[track_caller]
    pub fn load_page(&self) -> String {
        let answer = Client::connect(self.page).ask(&get("/productpage"));
        assert_eq!(answer.status(), 200, "{answer:?}");
        answer.text()
    }
}
