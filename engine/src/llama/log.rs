//! Takes llama.cpp's log: everything goes to `tracing`, and the last errors are kept for messages.
//!
//! llama.cpp writes lines in pieces (a piece without a newline is continued by the next), so a line is gathered
//! before it is passed on.
#![expect(unsafe_code, reason = "a C callback is the only way to read llama.cpp's reasons")]

use llama_cpp_sys_2 as sys;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};

/// Error lines kept.
const KEPT: usize = 3;
/// A line longer than this is passed on in pieces.
const LINE_BYTES: usize = 8192;

/// The line being written and the last errors.
#[derive(Debug)]
struct Log {
    line: String,
    level: sys::ggml_log_level,
    errors: VecDeque<String>,
}

static LOG: Mutex<Log> =
    Mutex::new(Log { line: String::new(), level: sys::GGML_LOG_LEVEL_NONE, errors: VecDeque::new() });

/// Sends llama.cpp's and ggml's log here instead of to stderr.
pub(super) fn redirect() {
    // SAFETY: `receive` has the signature asked for, lives as long as the program, needs no user data, and may be
    // called from any thread.
    unsafe {
        sys::llama_log_set(Some(receive), std::ptr::null_mut());
        sys::ggml_log_set(Some(receive), std::ptr::null_mut());
    }
}

/// Forgets earlier errors: what comes next is about something else.
pub(super) fn forget() {
    LOG.lock().errors.clear();
}

/// The last errors since [`forget`], oldest first.
pub(super) fn last_errors() -> Option<String> {
    let errors: Vec<String> = LOG.lock().errors.iter().cloned().collect();
    Some(errors.join("; ")).filter(|text| !text.is_empty())
}

unsafe extern "C" fn receive(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a NUL-terminated string that lives for the call, and it is not null.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    let mut log = LOG.lock();
    if level != sys::GGML_LOG_LEVEL_CONT {
        log.level = level;
    }
    log.line.push_str(&text);
    if text.ends_with('\n') || log.line.len() > LINE_BYTES {
        let line = std::mem::take(&mut log.line);
        let line = line.trim_end();
        match log.level {
            sys::GGML_LOG_LEVEL_ERROR => {
                if log.errors.len() == KEPT {
                    log.errors.pop_front();
                }
                log.errors.push_back(line.to_owned());
                tracing::warn!(target: "llama.cpp", "{line}");
            }
            sys::GGML_LOG_LEVEL_WARN => tracing::info!(target: "llama.cpp", "{line}"),
            sys::GGML_LOG_LEVEL_DEBUG => tracing::trace!(target: "llama.cpp", "{line}"),
            _ => tracing::debug!(target: "llama.cpp", "{line}"),
        }
    }
}
