//! The end of an exchange from outside: over HTTP/2 its stream is reset, over HTTP/1.1 its connection is closed.
//! Callers and upstreams alike.
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Whoever holds it may end the exchange; whoever drives the exchange polls it.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    is_made: Cell<bool>,
    driver: RefCell<Option<Waker>>,
}

impl Cut {
    /// Ends the exchange: its driver drops everything that belongs to it.
    pub(crate) fn make(&self) {
        self.is_made.set(true);
        self.wake();
    }

    /// Has the driver look at what else may have to end.
    pub(crate) fn wake(&self) {
        if let Some(driver) = self.driver.take() {
            driver.wake();
        }
    }

    /// Ready once the cut is made.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_made.get() {
            return Poll::Ready(());
        }
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Runs each HTTP/2 stream of a connection beside the worker, until it ends or is cut.
///
/// On the side that is called hyper calls the service and then hands the stream's task over; on the side that calls
/// it asks the body for its first part and then hands the task over that sends the rest. Either way the cut that was
/// left here last is that of the task that comes next. hyper itself has no way to end such a task while it waits for
/// the other end to make room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streams(Rc<RefCell<Option<Left>>>);

/// A cut for the task that comes next.
#[derive(Debug)]
struct Left {
    cut: Rc<Cut>,
    /// Whether it is that of the tasks too that this one begins.
    is_passed_on: bool,
}

impl Streams {
    /// The cut of the stream whose task comes next.
    pub(crate) fn begin(&self) -> Rc<Cut> {
        let cut = Rc::new(Cut::default());
        self.0.replace(Some(Left { cut: Rc::clone(&cut), is_passed_on: false }));
        cut
    }

    /// The same for a stream that will be a tunnel: the task that waits for the answer begins the one that sends the bytes,
    /// and is over then.
    pub(crate) fn begin_tunnel(&self, cut: &Rc<Cut>) {
        self.0.replace(Some(Left { cut: Rc::clone(cut), is_passed_on: true }));
    }

    /// Polls a task whose own tasks have its cut.
    fn passing_on<T>(&self, cut: &Rc<Cut>, poll: impl FnOnce() -> T) -> T {
        let before = self.0.replace(Some(Left { cut: Rc::clone(cut), is_passed_on: true }));
        let polled = poll();
        self.0.replace(before);
        polled
    }
}

impl<F: Future + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, task: F) {
        let (left, streams) = (self.0.take(), self.clone());
        // The handle is not kept: the task ends with its stream, and a panic in it ends only that.
        drop(tokio::task::spawn_local(async move {
            let mut task = pin!(task);
            poll_fn(|cx| match &left {
                Some(left) if left.cut.poll(cx).is_ready() => Poll::Ready(()),
                Some(Left { cut, is_passed_on: true }) => {
                    streams.passing_on(cut, || task.as_mut().poll(cx).map(drop))
                }
                Some(_) | None => task.as_mut().poll(cx).map(drop),
            })
            .await;
        }));
    }
}
