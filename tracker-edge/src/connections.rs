//! The open connections of one worker, and how long each may take for what it is doing.
//!
//! No timer per request: a timer costs a tenth of one. The worker's clock ticks twice a second and every
//! connection notes the tick at which its phase began; a sweep at each tick closes those that are over
//! their limit. A connection that says nothing or sends its request drop by drop has [`REQUEST_TICKS`],
//! one that does not take its answer [`ANSWER_TICKS`], one that rests between requests [`IDLE_TICKS`], or
//! [`IDLE_TICKS_BUSY`] while the worker is nearly full.

use crate::metrics::Counters;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;

/// Time between two sweeps: how much later than its limit a connection may be closed.
pub(crate) const TICK: Duration = Duration::from_millis(500);
/// 4.5 s to send a request, so that with the sweep's delay it is closed within 5.
const REQUEST_TICKS: u32 = 9;
/// 1 s for the first request of a connection that was taken just before a stop: it may well be on its way. As long for a
/// client of HTTP/2 that has nothing in hand to say that it knows of the stop; one of HTTP/1.1 is not asked.
const FRESH_TICKS_FINISHING: u32 = 2;
/// 10 s to take an answer; the kernel gives up after 5 s without any progress.
const ANSWER_TICKS: u32 = 20;
/// 29.5 s between requests.
const IDLE_TICKS: u32 = 59;
/// 1 s between requests while the worker is nearly full.
const IDLE_TICKS_BUSY: u32 = 2;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Waiting for its first request, or in the middle of one.
    Request,
    /// Handling a request, or writing the answer.
    Answer,
    /// Between requests.
    Idle,
}

/// What a connection is asked to do at its next turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ask {
    Nothing,
    /// Finish the request in hand, then close.
    Finish,
    /// Close now.
    Close,
}

/// One connection, as its worker sees it.
pub(crate) struct Connection {
    phase: Cell<Phase>,
    since: Cell<u32>,
    ask: Cell<Ask>,
    /// Nothing has come over it yet.
    fresh: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    index: Cell<usize>,
    /// What came over it breaks HTTP in a way the parser lets pass.
    pub(crate) malformed: Cell<bool>,
    tick: Rc<Cell<u32>>,
}

impl Connection {
    /// Enters a phase, whatever the one before.
    #[inline]
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.tick.get());
    }

    /// Enters a phase as of an earlier tick.
    pub(crate) fn enter_since(&self, phase: Phase, since: u32) {
        self.phase.set(phase);
        self.since.set(since);
    }

    /// The current tick.
    pub(crate) fn now(&self) -> u32 {
        self.tick.get()
    }

    /// Whether one that rests since this tick has less time left than a request has.
    pub(crate) fn rests_long(&self, since: u32) -> bool {
        self.now().wrapping_sub(since) > IDLE_TICKS - REQUEST_TICKS
    }

    /// Bytes came in: the start of a request, unless one is in hand or coming already.
    #[inline]
    pub(crate) fn received(&self) {
        self.fresh.set(false);
        if self.phase.get() == Phase::Idle {
            self.enter(Phase::Request);
        }
    }

    /// Everything written so far was taken.
    #[inline]
    pub(crate) fn written(&self) {
        if self.phase.get() == Phase::Answer {
            self.enter(Phase::Idle);
        }
    }

    pub(crate) fn asked(&self) -> Ask {
        self.ask.get()
    }

    /// Keeps the way to wake the connection's task. It stays the same for the task's life.
    pub(crate) fn keep_waker(&self, waker: &Waker) {
        if self.waker.borrow().is_none() {
            *self.waker.borrow_mut() = Some(waker.clone());
        }
    }

    /// Drives what comes before the first request, unless the sweep ends the connection first.
    pub(crate) async fn unless_closed<F: Future>(&self, before: F) -> Option<F::Output> {
        let mut before = pin!(before);
        poll_fn(|context| {
            self.keep_waker(context.waker());
            if self.asked() == Ask::Close {
                return Poll::Ready(None);
            }
            before.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn ask(&self, ask: Ask) {
        self.ask.set(ask);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    fn is_late(&self, now: u32, idle_ticks: u32, finishing: bool) -> bool {
        let limit = match self.phase.get() {
            Phase::Request if finishing && self.fresh.get() => FRESH_TICKS_FINISHING,
            Phase::Request => REQUEST_TICKS,
            Phase::Answer => ANSWER_TICKS,
            Phase::Idle if finishing => FRESH_TICKS_FINISHING,
            Phase::Idle => idle_ticks,
        };
        now.wrapping_sub(self.since.get()) >= limit
    }
}

/// All connections of a worker.
pub(crate) struct Connections {
    open: RefCell<Vec<Rc<Connection>>>,
    max: usize,
    tick: Rc<Cell<u32>>,
    finishing: Cell<bool>,
    left: Notify,
    counters: Arc<Counters>,
}

impl Connections {
    pub(crate) fn new(max: usize, counters: Arc<Counters>) -> Self {
        Self {
            open: RefCell::default(),
            max,
            tick: Rc::default(),
            finishing: Cell::new(false),
            left: Notify::new(),
            counters,
        }
    }

    /// Registers a connection; the guard takes it off again.
    pub(crate) fn enter(self: &Rc<Self>) -> Guard {
        let mut open = self.open.borrow_mut();
        let connection = Rc::new(Connection {
            phase: Cell::new(Phase::Request),
            since: Cell::new(self.tick.get()),
            ask: Cell::new(Ask::Nothing),
            fresh: Cell::new(true),
            waker: RefCell::new(None),
            index: Cell::new(open.len()),
            malformed: Cell::new(false),
            tick: Rc::clone(&self.tick),
        });
        open.push(Rc::clone(&connection));
        Guard { connections: Rc::clone(self), connection }
    }

    pub(crate) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.max
    }

    /// Ends when a connection has left since this was last waited for.
    pub(crate) async fn left(&self) {
        self.left.notified().await;
    }

    /// Moves the clock on and closes what is late.
    pub(crate) fn sweep(&self) {
        let now = self.tick.get().wrapping_add(1);
        self.tick.set(now);
        let open = self.open.borrow();
        let idle_ticks = if open.len() * 5 >= self.max * 4 { IDLE_TICKS_BUSY } else { IDLE_TICKS };
        let finishing = self.finishing.get();
        for connection in open.iter().filter(|connection| connection.is_late(now, idle_ticks, finishing)) {
            if connection.asked() != Ask::Close {
                self.counters.timed_out.add();
                connection.ask(Ask::Close);
            }
        }
    }

    /// Asks all to finish what they have in hand and close. One that has said nothing yet was taken a moment
    /// ago: its request is on its way, and is answered with the word that nothing follows.
    pub(crate) fn finish_all(&self) {
        self.finishing.set(true);
        for connection in self.open.borrow().iter() {
            if connection.asked() == Ask::Nothing && !connection.fresh.get() {
                connection.ask(Ask::Finish);
            }
        }
    }
}

/// Keeps a connection registered.
pub(crate) struct Guard {
    connections: Rc<Connections>,
    pub(crate) connection: Rc<Connection>,
}

impl Guard {
    /// Counts what the parser refused.
    pub(crate) fn refused(&self) {
        self.connections.counters.refused.add();
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut open = self.connections.open.borrow_mut();
        let index = self.connection.index.get();
        open.swap_remove(index);
        if let Some(moved) = open.get(index) {
            moved.index.set(index);
        }
        drop(open);
        self.connections.counters.closed.add();
        if std::thread::panicking() {
            self.connections.counters.panics.add();
        }
        self.connections.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(max: usize) -> Rc<Connections> {
        Rc::new(Connections::new(max, Arc::default()))
    }

    #[test]
    fn guards_take_their_own_connection_off() {
        let all = connections(10);
        let mut guards: Vec<_> = (0..5).map(|_| all.enter()).collect();
        for index in [1, 3, 0, 1, 0] {
            guards.remove(index);
            for (index, connection) in all.open.borrow().iter().enumerate() {
                assert_eq!(connection.index.get(), index);
            }
            assert_eq!(all.len(), guards.len());
        }
        assert_eq!(all.counters.closed.get(), 5);
    }

    #[test]
    fn each_phase_has_its_limit() {
        let all = connections(100);
        let guard = all.enter();
        let connection = &guard.connection;
        let sweep = |ticks| (0..ticks).for_each(|_| all.sweep());
        sweep(REQUEST_TICKS - 1);
        assert_eq!(connection.asked(), Ask::Nothing);
        connection.enter(Phase::Answer);
        sweep(ANSWER_TICKS - 1);
        connection.written();
        sweep(IDLE_TICKS - 1);
        connection.received();
        sweep(REQUEST_TICKS - 1);
        connection.received();
        assert_eq!(connection.asked(), Ask::Nothing);
        all.sweep();
        assert_eq!(connection.asked(), Ask::Close, "more bytes of the same request buy no time");
        assert_eq!(all.counters.timed_out.get(), 1);
    }

    #[tokio::test]
    async fn f12_a_panic_ends_one_connection_and_is_counted() {
        let all = connections(10);
        let healthy = all.enter();
        let guard = all.enter();
        let local = tokio::task::LocalSet::new();
        let panicked = local.run_until(async {
            tokio::task::spawn_local(async move {
                let _guard = guard;
                panic!("on purpose");
            })
            .await
        });
        assert!(panicked.await.unwrap_err().is_panic());
        assert_eq!((all.len(), all.counters.panics.get()), (1, 1));
        drop(healthy);
        assert_eq!((all.len(), all.counters.panics.get()), (0, 1));
    }

    #[test]
    fn a_full_worker_does_without_idle_connections() {
        let all = connections(5);
        let guards: Vec<_> = (0..4).map(|_| all.enter()).collect();
        guards[0].connection.enter(Phase::Answer);
        guards[0].connection.written();
        (0..IDLE_TICKS_BUSY).for_each(|_| all.sweep());
        let asked: Vec<_> = guards.iter().map(|guard| guard.connection.asked()).collect();
        assert_eq!(asked, [Ask::Close, Ask::Nothing, Ask::Nothing, Ask::Nothing]);
    }
}
