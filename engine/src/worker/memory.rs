//! Refuses a model that the machine cannot hold before llama.cpp maps it: a file mapped beyond the memory there is loads, and
//! then reads the disk for every token.

use super::WorkerOptions;
use crate::EngineError;
use crate::adapters;
use crate::models::memory_needed;

/// # Errors
/// [`EngineError::TooBig`] when weights and KV memory are more than the machine (or its control group) has.
pub(super) fn fits(options: &WorkerOptions) -> Result<(), EngineError> {
    // What goes to a GPU does not stay here, and what is wrong with the file llama.cpp tells better.
    let on_gpu = options.loading.gpu_layers.is_some_and(|layers| layers > 0);
    let needed = memory_needed(&options.model, options.context, options.parallel, &options.loading);
    let needed = needed.map(|needed| needed.saturating_add(adapters::bytes(&options.adapters)));
    match (needed, there()) {
        (Ok(needed), Some(there)) if needed > there && !on_gpu => {
            Err(EngineError::TooBig { needed_mb: needed.div_ceil(1_000_000), there_mb: there / 1_000_000 })
        }
        _ => Ok(()),
    }
}

/// Bytes of main memory that this process may use, where that can be told.
fn there() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<u64>().ok());
    match (machine, group) {
        (Some(machine), Some(group)) => Some(machine.min(group)),
        (machine, group) => machine.or(group),
    }
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_tells_its_memory() {
        assert_eq!(total("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16384 * 1024));
        assert_eq!(total("nonsense"), None);
    }
}
