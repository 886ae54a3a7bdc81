//! TLS that ends in the proxy, that begins again behind it, and that passes through: curl and rustls before it, Go behind it.

use std::{
    io::{Read as _, Write as _},
    net::SocketAddr,
};

use rustls::AlertDescription;

use crate::{
    harness::{Client, Glooshot, Setup, Upstream, experiment::Experiment, get, within},
    peers::{
        Server as _,
        certificates::{Authority, Files},
        curl::{Ended, curl, fetch},
        echo::echo,
        go::GoServer,
        tls_client::{TlsClient, alert},
    },
};

const NAME: &str = "ratings.example";
/// The name that the upstream's certificate must be for unless another one is asked for.
const SERVICE_NAME: &str = "ratings.bookinfo.svc";
const HTTP_1: &[&str] = &["http/1.1"];
/// Files are looked at every second.
const RELOADED: std::time::Duration = std::time::Duration::from_secs(15);

/// `setup` with TLS ended by what is in `files`.
fn ending_tls(setup: Setup, files: &Files) -> Setup {
    setup.with(["--tls", &format!("bookinfo/ratings:9080={},{}", files.certificate(), files.key())])
}

/// `setup` with the upstream spoken to as `how` says.
fn upstream(setup: Setup, how: &str) -> Setup {
    setup.with(["--upstream-tls", &format!("bookinfo/ratings:9080={how}")])
}

/// A proxy that ends TLS before a server that speaks plain HTTP.
fn before_plain(server: &GoServer, files: &Files) -> Setup {
    upstream(ending_tls(Setup::proxy().to(server.address()), files), "plaintext")
}

/// curl asks for `path` at `address`, trusts `authority`, and takes the address for [`NAME`].
#[track_caller]
fn ask(address: SocketAddr, authority: &Authority, arguments: &[&str], path: &str) -> Ended {
    let (resolve, url) =
        (format!("{NAME}:{}:127.0.0.1", address.port()), format!("https://{NAME}:{}{path}", address.port()));
    curl(
        &[&["--cacert", authority.file().as_str(), "--resolve", resolve.as_str()], arguments, &[url.as_str()]].concat(),
    )
}

#[test]
fn curl_agrees_on_a_version_and_a_plain_upstream_is_asked_in_http_1() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).start();
    for (argument, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for tls in ["1.2", "1.3"] {
            let arguments = [argument, "--tls-max", tls, &format!("--tlsv{tls}")];
            let (transfer, body) = ask(proxy.address(), &authority, &arguments, "/a").only();
            assert_eq!((transfer.status, transfer.version.as_str(), body.as_slice()), (200, version, &b"/a"[..]));
            assert_eq!(transfer.header("x-protocol"), Some("HTTP/1.1"), "{arguments:?}");
            assert_eq!(transfer.header("x-scheme"), Some("https"), "the upstream is told that TLS ended before it");
            assert_eq!(transfer.header("x-host"), Some(format!("{NAME}:{}", proxy.address().port()).as_str()));
        }
    }
}

#[test]
fn a_plain_upstream_behind_ended_tls_may_be_asked_in_http_2() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).with(["--upstream-protocol", "bookinfo/ratings:9080=http2"]).start();
    for argument in ["--http1.1", "--http2"] {
        let (transfer, _) = ask(proxy.address(), &authority, &[argument], "/a").only();
        assert_eq!((transfer.status, transfer.header("x-protocol")), (200, Some("HTTP/2.0")), "{argument}");
    }
}

#[test]
fn curl_keeps_its_session() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).start();
    for argument in ["--http1.1", "--http2"] {
        let again = format!("https://{NAME}:{}/again", proxy.address().port());
        let ended = ask(proxy.address(), &authority, &[argument, &again, &again], "/last");
        assert_eq!((ended.code, ended.body.as_slice()), (0, &b"/again/again/last"[..]), "{argument}");
        assert_eq!(ended.transfers.iter().map(|transfer| transfer.connects).sum::<u64>(), 1, "{argument}");
    }
}

#[test]
fn the_version_is_chosen_from_what_a_client_offers() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).start();
    let offer = |protocols: &[&str]| TlsClient::try_connect(proxy.address(), &authority, NAME, protocols);
    let agreed = |protocols: &[&str]| offer(protocols).unwrap().agreed();
    assert_eq!(agreed(&["h2", "http/1.1"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1", "h2"]).as_deref(), Some("h2"), "the proxy's preference counts");
    assert_eq!(agreed(&["h2"]).as_deref(), Some("h2"));
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some("http/1.1"));
    let error = offer(&["spdy/3"]).unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::NoApplicationProtocol), "{error}");
    let mut silent = offer(&[]).unwrap();
    assert_eq!(silent.agreed(), None);
    assert_eq!(silent.ask(&get("/a")).text(), "/a");
}

#[test]
fn an_intermediate_authority_is_sent_along() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue_by_an_intermediate(NAME));
    let proxy = before_plain(&server, &files).start();
    assert_eq!(ask(proxy.address(), &authority, &[], "/a").only().0.status, 200);
    assert_eq!(TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1).ask(&get("/a")).text(), "/a");
}

#[test]
fn a_client_that_does_not_trust_the_certificate_is_counted_and_nothing_is_forwarded() {
    let (authority, other, server) = (Authority::new(), Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).start();
    assert_eq!(
        ask(proxy.address(), &other, &[], "/a").code,
        60,
        "curl's code for a certificate that it does not trust"
    );
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "tls-handshake")], 1.0);
    assert!(server.seen().is_empty());
}

#[test]
fn faults_hit_what_is_inside_tls() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let experiment =
        Experiment::named("inside").fault("match: {path: {exact: /a}}", "{abort: {httpStatus: 503}, percentage: 100}");
    let setup = ending_tls(Setup::run(&experiment.yaml()).to(server.address()), &files);
    let proxy = upstream(setup, "plaintext").start_with_faults_on();
    for argument in ["--http1.1", "--http2"] {
        let (transfer, _) = ask(proxy.address(), &authority, &[argument], "/a").only();
        assert_eq!(
            (transfer.status, transfer.header("x-glooshot-fault")),
            (503, Some(experiment.marker("abort", 0).as_str()))
        );
        assert_eq!(ask(proxy.address(), &authority, &[argument], "/b").only().0.status, 200);
    }
}

#[test]
fn tls_begins_again_towards_the_upstream_in_the_version_of_the_client() {
    let (authority, inner) = (Authority::new(), Authority::new());
    let files = Files::with(&authority.issue(NAME));
    let server = GoServer::start_tls(&Files::with(&inner.issue(SERVICE_NAME)));
    let setup = ending_tls(Setup::proxy().to(server.address()), &files);
    let proxy = upstream(setup, &format!("ca={}", inner.file())).start();
    for (argument, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        let (transfer, body) = ask(proxy.address(), &authority, &[argument], "/a").only();
        assert_eq!((transfer.status, body.as_slice()), (200, &b"/a"[..]));
        assert_eq!(
            (transfer.header("x-protocol"), transfer.header("x-server-name")),
            (Some(protocol), Some(SERVICE_NAME))
        );
    }
}

#[test]
fn plain_clients_may_be_served_from_an_upstream_inside_tls() {
    let inner = Authority::new();
    let server = GoServer::start_tls(&Files::with(&inner.issue("inner.example")));
    let how = format!("ca={},name=inner.example", inner.file());
    let proxy = upstream(Setup::proxy().to(server.address()), &how).start();
    for (argument, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2-prior-knowledge", "HTTP/2.0")] {
        let (transfer, body) = fetch(&[argument, &format!("http://{}/a", proxy.address())]);
        assert_eq!((transfer.status, body.as_str()), (200, "/a"));
        assert_eq!(
            (transfer.header("x-protocol"), transfer.header("x-server-name")),
            (Some(protocol), Some("inner.example"))
        );
    }
}

/// A plain client gets an error that names the upstream's TLS, and the server never sees a request.
#[track_caller]
fn refuses_the_upstream(proxy: &Glooshot, server: &GoServer) {
    for argument in ["--http1.1", "--http2-prior-knowledge"] {
        let (transfer, _) = fetch(&[argument, &format!("http://{}/a", proxy.address())]);
        assert_eq!(transfer.status, 503);
        assert_eq!(transfer.header("x-glooshot-error"), Some("upstream; tls"));
    }
    assert!(!server.lines().iter().any(|line| line.starts_with("request GET")), "{:?}", server.lines());
}

#[test]
fn an_upstream_of_another_authority_is_refused() {
    let (inner, other) = (Authority::new(), Authority::new());
    let server = GoServer::start_tls(&Files::with(&inner.issue(SERVICE_NAME)));
    let proxy = upstream(Setup::proxy().to(server.address()), &format!("ca={}", other.file())).start();
    refuses_the_upstream(&proxy, &server);
}

#[test]
fn an_upstream_of_another_name_is_refused() {
    let inner = Authority::new();
    let server = GoServer::start_tls(&Files::with(&inner.issue(SERVICE_NAME)));
    let how = format!("ca={},name=other.example", inner.file());
    let proxy = upstream(Setup::proxy().to(server.address()), &how).start();
    refuses_the_upstream(&proxy, &server);
}

#[test]
fn an_upstream_that_browsers_do_not_trust_is_refused_when_no_authority_is_named() {
    let server = GoServer::start_tls(&Files::with(&Authority::new().issue(SERVICE_NAME)));
    let proxy = upstream(Setup::proxy().to(server.address()), &format!("name={SERVICE_NAME}")).start();
    refuses_the_upstream(&proxy, &server);
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_refused() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let proxy = upstream(Setup::proxy().to(server.address()), &format!("ca={}", authority.file())).start();
    refuses_the_upstream(&proxy, &server);
}

#[test]
fn a_changed_certificate_is_for_new_sessions_and_those_that_are_open_live_on() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let (old, new) = (authority.issue(NAME), authority.issue(NAME));
    let files = Files::with(&old);
    let proxy = before_plain(&server, &files).start();
    let mut open = TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1);
    assert_eq!((open.ask(&get("/a")).status(), open.certificate()), (200, old.own));
    files.replace(&new);
    within(RELOADED, "a new session gets the new certificate", || {
        let session = TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1);
        (session.certificate() == new.own).then_some(())
    });
    assert_eq!(open.ask(&get("/b")).status(), 200);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_certificate_reloads_total", &[("outcome", "taken")]), 1.0);
}

#[test]
fn a_broken_pair_is_refused_and_counted_and_the_one_before_stays() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let (old, new) = (authority.issue(NAME), authority.issue(NAME));
    let files = Files::with(&old);
    let proxy = before_plain(&server, &files).start();
    let spoil: [&dyn Fn(); 2] = [&|| files.replace_key(&new), &|| files.cut_off(&new)];
    for (before, spoil) in spoil.iter().enumerate() {
        spoil();
        within(RELOADED, "the broken pair is refused", || {
            let refused = proxy.metrics().sum("glooshot_proxy_certificate_reloads_total", &[("outcome", "refused")]);
            (refused == (before + 1) as f64).then_some(())
        });
        let mut session = TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1);
        assert_eq!((session.ask(&get("/a")).status(), session.certificate()), (200, old.own.clone()));
    }
    files.replace(&new);
    within(RELOADED, "a good pair is taken after a broken one", || {
        let session = TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1);
        (session.certificate() == new.own).then_some(())
    });
}

#[test]
fn a_changed_authority_of_the_upstream_is_taken() {
    let (before, after) = (Authority::new(), Authority::new());
    let server = GoServer::start_tls(&Files::with(&after.issue(SERVICE_NAME)));
    let proxy = upstream(Setup::proxy().to(server.address()), &format!("ca={}", before.file())).start();
    assert_eq!(proxy.client().ask(&get("/a")).status(), 503);
    std::fs::copy(after.file(), before.file()).unwrap();
    within(RELOADED, "the upstream is trusted", || (proxy.client().ask(&get("/a")).status() == 200).then_some(()));
}

#[test]
fn files_that_do_not_fit_together_are_refused_before_anything_listens() {
    let authority = Authority::new();
    let files = Files::with(&authority.issue(NAME));
    files.replace_key(&authority.issue(NAME));
    let mut proxy = upstream(ending_tls(Setup::proxy().to(([127, 0, 0, 1], 1).into()), &files), "plaintext").spawn();
    assert_eq!(proxy.wait_for_exit(RELOADED).code(), Some(2));
    let said = proxy.all_lines().join("\n");
    assert!(said.contains("tls.key") || said.contains("tls.crt"), "{said}");
    assert!(!said.contains("listening"), "{said}");
}

#[test]
fn without_an_end_tls_passes_through_between_the_client_and_the_server() {
    let inner = Authority::new();
    let issued = inner.issue(NAME);
    let server = GoServer::start_tls(&Files::with(&issued));
    let experiment = Experiment::named("outside").abort(503, "100");
    let proxy = Setup::run(&experiment.yaml()).to(server.address()).start_with_faults_on();
    for (argument, protocol) in [("--http1.1", "HTTP/1.1"), ("--http2", "HTTP/2.0")] {
        let (transfer, body) = ask(proxy.address(), &inner, &[argument], "/a").only();
        assert_eq!((transfer.status, body.as_slice()), (200, &b"/a"[..]));
        assert_eq!((transfer.header("x-protocol"), transfer.header("x-server-name")), (Some(protocol), Some(NAME)));
        assert_eq!((transfer.header("via"), transfer.header("x-glooshot-fault")), (None, None));
    }
    assert_eq!(TlsClient::connect(proxy.address(), &inner, NAME, HTTP_1).certificate(), issued.own);
    proxy.wait_for_metric("glooshot_proxy_passed_through_total", &[("protocol", "tls")], 3.0);
    assert_eq!(proxy.metrics().sum("glooshot_proxy_injected_total", &[]), 0.0);
}

#[test]
fn tls_that_passes_through_is_not_changed_by_a_byte() {
    let upstream = Upstream::raw(|mut stream, recorder| {
        recorder.read(stream);
        // What looks like a record of an alert, and nothing that a proxy could have made.
        stream.write_all(b"\x15\x03\x03\x00\x02\x02\x28").unwrap();
    });
    let proxy = Glooshot::before(&upstream);
    let error = TlsClient::try_connect(proxy.address(), &Authority::new(), NAME, HTTP_1).unwrap_err();
    assert_eq!(alert(&error), Some(AlertDescription::HandshakeFailure), "{error}");
    let through = upstream.connections()[0].bytes.clone();
    assert!(through.starts_with(b"\x16\x03\x01"), "{through:?}");
    assert!(through.windows(NAME.len()).any(|window| window == NAME.as_bytes()), "the name that was asked for");
}

#[test]
fn a_websocket_runs_inside_tls() {
    let authority = Authority::new();
    let files = Files::with(&authority.issue(NAME));
    let server = echo();
    let proxy = upstream(ending_tls(Setup::proxy().to(server.address()), &files), "plaintext").start();
    let stream = TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1).into_stream();
    let (mut socket, _) = tungstenite::client(format!("wss://{NAME}/chat"), stream).unwrap();
    for text in ["a", "b"] {
        socket.send(tungstenite::Message::text(text)).unwrap();
        assert_eq!(socket.read().unwrap(), tungstenite::Message::text(text));
    }
}

#[test]
fn what_is_no_http_inside_tls_is_carried_on_in_the_clear() {
    let authority = Authority::new();
    let files = Files::with(&authority.issue(NAME));
    let server = Upstream::raw(|mut stream, recorder| {
        recorder.read(stream);
        stream.write_all(b"+PONG\r\n").unwrap();
    });
    let proxy = upstream(ending_tls(Setup::proxy().to(server.address()), &files), "plaintext").start();
    let mut stream = TlsClient::connect(proxy.address(), &authority, NAME, &[]).into_stream();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((&answer, server.connections()[0].bytes.as_slice()), (b"+PONG\r\n", &b"*1\r\n$4\r\nPING\r\n"[..]));
}

#[test]
fn a_client_that_breaks_off_its_handshake_disturbs_nobody() {
    let (authority, server) = (Authority::new(), GoServer::start());
    let files = Files::with(&authority.issue(NAME));
    let proxy = before_plain(&server, &files).start();
    let mut garbage = Client::connect(proxy.address());
    garbage.send(b"\x16\x03\x01\x00\x05hello");
    garbage.expect_end();
    Client::connect(proxy.address()).send(b"\x16\x03\x01\x02\x00\x01");
    assert_eq!(TlsClient::connect(proxy.address(), &authority, NAME, HTTP_1).ask(&get("/a")).text(), "/a");
    proxy.wait_for_metric("glooshot_proxy_rejected_total", &[("reason", "tls-handshake")], 2.0);
}
