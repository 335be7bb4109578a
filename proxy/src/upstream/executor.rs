//! hyper's tasks run beside the worker that owns them: nothing moves to another thread.
use std::future::Future;

/// Spawns onto the current thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, task: F) {
        // The handle is not kept: the task ends with its connection, and a panic in it ends only that.
        drop(tokio::task::spawn_local(task));
    }
}
