//! nginx with one worker and a fixed answer of 64 bytes.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::on_core::on_core;

const CONFIG: &str = r#"
worker_processes 1; daemon off; master_process off; pid @DIR@/nginx.pid; error_log @DIR@/error.log;
events { worker_connections 8192; }
http {
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  client_body_temp_path @DIR@/body; proxy_temp_path @DIR@/proxy; fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi; scgi_temp_path @DIR@/scgi;
  server {
    listen @ADDRESS@ reuseport backlog=4096;
    location / { return 200 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n"; }
  }
}
"#;

/// Runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Nginx {
    /// Starts it on the second core and waits until it listens.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = directory.path().to_str().unwrap();
        let config = CONFIG.replace("@DIR@", path).replace("@ADDRESS@", &address.to_string());
        let file = directory.path().join("nginx.conf");
        fs::write(&file, config).unwrap();
        let args = ["-p", path, "-c", file.to_str().unwrap()].map(str::to_owned);
        let mut command = on_core(1, "nginx", &args);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let nginx = Self { child, address, _directory: directory };
        let patience = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < patience, "nginx does not listen; is it installed?");
            std::thread::yield_now();
        }
        nginx
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
