//! What peers cost before they are authenticated: few connections, few bytes, little time, whatever they send.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use glooshot::control::server::Bounds;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

use crate::{
    controller::{NAME, World},
    harness::{Client, Ending, load::CountingUpstream, within},
};

/// The time that strangers have in these tests.
const TIME: Duration = Duration::from_millis(700);

fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn bounds() -> Bounds {
    Bounds { time: TIME, ..Bounds::default() }
}

/// A TLS session as a proxy would begin it.
fn session(world: &World, to: SocketAddr) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.pki.bundle().as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(NAME).unwrap()).unwrap();
    StreamOwned::new(connection, TcpStream::connect(to).unwrap())
}

#[test]
fn who_says_nothing_is_cut_when_its_time_is_over_and_proxies_are_served_meanwhile() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller_at(anywhere(), bounds());
    let began = Instant::now();
    let mut silent: Vec<Client> =
        (2..10).map(|last| Client::connect_from([127, 0, 0, last].into(), controller.address)).collect();
    let _proxy = world.proxy("one", upstream.address(), &[&controller]);
    for client in &mut silent {
        assert_ne!(client.read_to_end_within(TIME * 5).1, Ending::StillOpen);
    }
    assert!(began.elapsed() >= TIME / 2);
}

#[test]
fn one_address_has_four_places_and_keeps_nobody_else_out() {
    let (world, upstream) = (World::new(), CountingUpstream::start());
    let controller = world.controller_at(anywhere(), Bounds::default());
    let from = [127, 0, 0, 9].into();
    let _four: Vec<Client> = (0..4).map(|_| Client::connect_from(from, controller.address)).collect();
    let mut fifth = Client::connect_from(from, controller.address);
    fifth.expect_end();
    let _proxy = world.proxy("one", upstream.address(), &[&controller]);
}

#[test]
fn garbage_ends_the_connection_at_once() {
    let world = World::new();
    let controller = world.controller_at(anywhere(), Bounds::default());
    let garbage =
        [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 64], &[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9], &[0xff; 4_000]];
    for bytes in garbage {
        let mut client = Client::connect(controller.address);
        client.send(bytes);
        // Behind an alert of TLS at the most.
        let (came, ending) = client.read_to_end();
        assert_ne!(ending, Ending::StillOpen);
        assert!(came.len() <= 7, "{came:?}");
    }
}

#[test]
fn who_sends_more_than_64_kib_without_a_token_is_cut() {
    let world = World::new();
    let controller = world.controller_at(anywhere(), Bounds::default());
    let mut session = session(&world, controller.address);
    session.sock.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    session.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    // WINDOW_UPDATE frames of one byte are legal for a long time.
    let frames = b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01".repeat(80);
    let mut sent = 0;
    let cut = within(Duration::from_secs(5), "the connection is cut", || {
        let wrote = session.write_all(&frames).and_then(|()| session.flush());
        sent += frames.len();
        wrote.err().or_else(|| (sent > 8 << 20).then(|| panic!("{sent} bytes were taken")))
    });
    assert!(sent >= 48 << 10, "cut after {sent} bytes: {cut}");
}

#[test]
fn a_call_without_a_token_or_to_another_place_is_answered_and_never_seated() {
    let world = World::new();
    let controller = world.controller_at(anywhere(), bounds());
    let mut session = session(&world, controller.address);
    // A GET of / by static table entries: :method GET, :scheme https, :path /, and an authority.
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(b"\0\0\x06\x01\x05\0\0\0\x01\x82\x87\x84\x41\x01x");
    session.write_all(&bytes).unwrap();
    let mut came = Vec::new();
    let _cut = session.read_to_end(&mut came);
    let text = String::from_utf8_lossy(&came);
    assert!(text.contains("there is only POST /glooshot.control"), "{text}");
    assert_eq!(controller.proxies(), []);
}
