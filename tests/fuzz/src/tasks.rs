//! An executor that stops when nothing can go on by itself, which no runtime tells.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

use hyper::rt::Executor;

/// More rounds than any input of the size that is tried needs.
const MOST_ROUNDS: usize = 1_000_000;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Tasks of one thread.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Rc<RefCell<Vec<Task>>>);

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.0.borrow().len())
    }
}

impl Tasks {
    /// Adds a task.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push(Box::pin(task));
    }

    /// Goes on until every task waits for something that only the caller can bring.
    pub(crate) fn run_until_idle(&self) {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        for _ in 0..MOST_ROUNDS {
            if !woken.0.swap(false, Ordering::Relaxed) {
                return;
            }
            let mut tasks = self.0.take();
            tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
            let mut new = self.0.borrow_mut();
            if !new.is_empty() {
                woken.0.store(true, Ordering::Relaxed);
            }
            tasks.append(&mut new);
            *new = tasks;
        }
        panic!("the tasks wake one another for ever");
    }

    /// Drops every task that is left.
    pub(crate) fn abort(&self) {
        // Dropping one may spawn or wake another.
        while !self.0.borrow().is_empty() {
            drop(self.0.take());
        }
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        self.spawn(future);
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
