//! `glooshot bookinfo`: one of the tutorial's four services.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    demo::bookinfo::{Config, Service, Upstream, Version, serve},
    output::say,
    signals::{Interrupt, runtime},
};

/// Serve one of the tutorial's four services as a real HTTP service
///
///   glooshot bookinfo ratings --listen 127.0.1.14:9080
///   glooshot bookinfo reviews --version v4 --listen 127.0.1.13:9080 --ratings 127.0.0.1:19080
///
/// reviews v1 shows no stars and never calls ratings, v2 black stars, v3 red stars, and survives when ratings fails;
/// v4 shows red stars and fails with it: the weakness that the tutorial finds.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, disable_version_flag = true)]
pub(super) struct Args {
    /// The service
    service: Service,

    /// The version, for reviews
    #[arg(long, default_value = "v1")]
    version: Version,

    /// Where it listens; its calls to other services come from the same address
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9080")]
    listen: SocketAddr,

    /// Where details is (for productpage)
    #[arg(long, value_name = "HOST:PORT")]
    details: Option<Upstream>,

    /// Where reviews is (for productpage)
    #[arg(long, value_name = "HOST:PORT")]
    reviews: Option<Upstream>,

    /// Where ratings is (for reviews v2 to v4)
    #[arg(long, value_name = "HOST:PORT")]
    ratings: Option<Upstream>,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { service, version, listen, details, reviews, ratings } = args;
    let config = Config { details, reviews, ratings, ..Config::new(service, version, listen) };
    config.check()?;
    runtime()?.block_on(async {
        let interrupt = Interrupt::new()?;
        let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
        say!("listening {service} on {}", listener.local_addr()?);
        say!("ready");
        let shutdown = CancellationToken::new();
        let serving = serve(listener, config, shutdown.clone());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => ended?,
            () = interrupt.wait() => {
                shutdown.cancel();
                serving.await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}
