//! The order to stop what llama.cpp is doing: one flag, looked at while a model loads and between any two operations of
//! a computation, so that neither ever holds up the end of the process.
//!
//! llama.cpp asks for an abort callback in its context parameters, which the bindings do not expose; they are written
//! through the one field of the bindings' wrapper. Nothing else of it is touched.

use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_sys_2 as sys;
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is raised once. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Stops what looks at it, now and from now on.
    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was raised.
    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Has every computation of a context made from `params` look at this flag. The context must not outlive it.
    pub(super) fn watch_over(&self, params: &mut LlamaContextParams) {
        // The wrapper is no larger than what it wraps, so what it wraps begins where it begins.
        const {
            assert!(size_of::<LlamaContextParams>() == size_of::<sys::llama_context_params>());
            assert!(align_of::<LlamaContextParams>() == align_of::<sys::llama_context_params>());
        }
        let params = std::ptr::from_mut(params).cast::<sys::llama_context_params>();
        // SAFETY: `LlamaContextParams` has one field, a `llama_context_params` (the bindings' version is pinned), and by
        // the sizes above it lies at the wrapper's address; the reference it came from is unique.
        #[expect(unsafe_code, reason = "the bindings have no setter for the abort callback")]
        let params = unsafe { &mut *params };
        params.abort_callback = Some(asked_to_stop);
        params.abort_callback_data = Arc::as_ptr(&self.0).cast_mut().cast::<c_void>();
    }
}

/// Called by llama.cpp between two operations; true ends the computation.
#[expect(unsafe_code, reason = "a C callback")]
unsafe extern "C" fn asked_to_stop(flag: *mut c_void) -> bool {
    // SAFETY: `flag` is the `AtomicBool` that `watch_over` was given, which `Context` keeps alive.
    unsafe { &*flag.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    #[test]
    fn the_wrapper_is_what_it_is_taken_for() {
        let interrupt = Interrupt::default();
        let mut params = LlamaContextParams::default().with_n_ctx(NonZeroU32::new(1234)).with_n_batch(77);
        interrupt.watch_over(&mut params);
        // What is written through the bindings is read through the field, and nothing but the callback has changed.
        #[expect(unsafe_code, reason = "looks behind the wrapper as `watch_over` does")]
        // SAFETY: as in `watch_over`.
        let inner = unsafe { &*std::ptr::from_ref(&params).cast::<sys::llama_context_params>() };
        assert_eq!((inner.n_ctx, inner.n_batch), (1234, 77));
        let (callback, data) = (inner.abort_callback.unwrap(), inner.abort_callback_data);
        #[expect(unsafe_code, reason = "calls the callback as llama.cpp would")]
        // SAFETY: the flag is alive.
        let asked = || unsafe { callback(data) };
        assert!(!asked());
        interrupt.clone().raise();
        assert!(asked() && interrupt.raised());
    }
}
