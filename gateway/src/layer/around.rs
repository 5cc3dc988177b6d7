//! A tower layer out of an async function `(call, next) -> response`.
//!
//! The services in the stack are always ready, so a clone of the inner one can be called at once.

use std::future::Future;
use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::call::Call;

/// Makes a layer of `run`.
pub fn around<F>(run: F) -> Around<F> {
    Around(run)
}

/// The layer made by [`around`].
#[derive(Debug, Clone)]
pub struct Around<F>(F);

/// A service wrapped by [`Around`].
#[derive(Debug, Clone)]
pub struct Wrapped<S, F> {
    inner: S,
    run: F,
}

impl<S, F: Clone> Layer<S> for Around<F> {
    type Service = Wrapped<S, F>;

    fn layer(&self, inner: S) -> Wrapped<S, F> {
        Wrapped { inner, run: self.0.clone() }
    }
}

impl<S, F, Answer, T, E> Service<Call> for Wrapped<S, F>
where
    S: Clone,
    F: Fn(Call, S) -> Answer,
    Answer: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = E;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Answer {
        (self.run)(call, self.inner.clone())
    }
}
