//! D12: who asks for more than there is gets a refusal at once, and what is done is still done in time.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::harness::{
    Gate, Setup, Step, Upstream, answer, get, glooshot::SERVICE, h2, load, paced, paced::Outcome, scale,
};

/// Requests that the service works on at a time, and that the proxy takes on.
const AT_A_TIME: usize = 10;
/// What the service works on one.
const WORK: Duration = Duration::from_millis(20);
/// More than it can do in a second.
const CAPACITY: u32 = 500;

/// A service that works on so many requests at a time; more wait. The most that were there at a time.
fn service() -> (Upstream, Arc<AtomicUsize>) {
    let free = Arc::new((Mutex::new(AT_A_TIME), Condvar::new()));
    let (there, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let told = most.clone();
    let upstream = Upstream::scripted(move |_| {
        most.fetch_max(there.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        let (count, news) = &*free;
        *news.wait_while(count.lock().unwrap(), |free| *free == 0).unwrap() -= 1;
        let done = Instant::now() + WORK;
        while let Some(left) = done.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        *count.lock().unwrap() += 1;
        news.notify_one();
        there.fetch_sub(1, Ordering::Relaxed);
        vec![Step::Send(answer("ok"))]
    });
    (upstream, told)
}

/// The time within which 99 of 100 were answered.
fn p99(outcomes: &[&Outcome]) -> Duration {
    let mut times = outcomes.iter().map(|outcome| outcome.took).collect::<Vec<_>>();
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().unwrap_or_default()
}

#[test]
fn d12_at_twice_the_capacity_what_is_too_much_is_refused_at_once_and_the_rest_is_done() {
    let time = Duration::from_secs(scale::OVERLOAD_SECONDS.get());
    let (upstream, most) = service();
    let limit = format!("requests={AT_A_TIME}");
    let proxy = Setup::proxy().to(upstream.address()).with(["--limit", &limit]).start();
    // As many clients as it serves at a time: the most that it can do.
    let (began, asked) = (Instant::now(), u64::from(CAPACITY));
    assert_eq!(load::send(proxy.address(), AT_A_TIME, asked, |_| get("/alone")).status(200), asked);
    let most_per_second = asked as f64 / began.elapsed().as_secs_f64();
    let outcomes = paced::send(proxy.address(), 2 * CAPACITY, time, &get("/a"));
    let answered = |status| {
        let is_it = |outcome: &&Outcome| outcome.answer.as_ref().is_ok_and(|answer| answer.status() == status);
        outcomes.iter().filter(is_it).collect::<Vec<_>>()
    };
    let (done, refused) = (answered(200), answered(503));
    assert_eq!(done.len() + refused.len(), outcomes.len(), "every request is answered, and with nothing else");
    for outcome in &refused {
        let answer = outcome.answer.as_ref().unwrap();
        assert_eq!(answer.one("x-glooshot-error"), Some("proxy; overloaded"), "{answer:?}");
        assert!(!answer.says_close(), "the connection is as good as before");
    }
    let goodput = done.len() as f64 / time.as_secs_f64() / most_per_second;
    let (late, refused_in) = (p99(&done), p99(&refused));
    println!(
        "D12: of {} requests at twice the capacity {} were done ({:.0} % of the most that is possible, 99 of 100 within {late:?}) \
         and {} refused (99 of 100 within {refused_in:?})",
        outcomes.len(),
        done.len(),
        goodput * 100.0,
        refused.len()
    );
    assert!(goodput > 0.5, "{goodput}");
    assert!(late < WORK + Duration::from_secs(1) && refused_in < Duration::from_secs(1), "{late:?}, {refused_in:?}");
    assert!(most.load(Ordering::Relaxed) <= AT_A_TIME, "nothing waits at the service");
    assert_eq!(
        upstream.requests().len() as u64,
        asked + done.len() as u64,
        "what is refused never reaches the service"
    );
    let labels = [("code", "503"), ("flag", "OM")];
    proxy.wait_for_metric("glooshot_proxy_requests_total", &labels, refused.len() as f64);
}

#[test]
fn d12_streams_are_refused_one_by_one() {
    let gate = Gate::closed();
    let opened = gate.clone();
    let upstream = Upstream::scripted(move |_| vec![Step::Wait(opened.clone()), Step::Send(answer("ok"))]);
    let protocol = format!("{SERVICE}=http1");
    let arguments = ["--limit", "requests=3", "--upstream-protocol", protocol.as_str()];
    let proxy = Setup::proxy().to(upstream.address()).with(arguments).start();
    let mut client = h2::Client::connect(proxy.address());
    let taken = [(); 3].map(|()| client.request(&h2::client::get("/a")));
    upstream.wait_for_requests(3);
    for _ in 0..5 {
        let refused = client.ask(&h2::client::get("/b"));
        assert_eq!((refused.status(), refused.one("x-glooshot-error")), (503, Some("proxy; overloaded")));
    }
    gate.open();
    for stream in taken {
        assert_eq!(client.answer(stream).status(), 200);
    }
    assert_eq!(client.ask(&h2::client::get("/c")).status(), 200, "there is room again");
    assert_eq!(client.goaways(), []);
}
