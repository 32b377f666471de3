//! What the agent knows of its machine: its name, what it has, how busy it is.

use std::fs;

use orion_types::{
    Capacity, CpuQuantity, MemoryQuantity,
    dns_label::{MAX_LABEL, to_dns_label},
    protocol::HostMetrics,
};

/// The host's name as a DNS label; `node` where nothing of it can stand in one.
pub fn node_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    to_dns_label(&name, MAX_LABEL).unwrap_or_else(|| "node".to_owned())
}

/// The kernel's id of this boot; empty where it does not say.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Cores this process may use, and the machine's memory.
pub(crate) fn capacity() -> Capacity {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let memory = memory().map(|memory| MemoryQuantity::from_bytes(memory.total));
    Capacity { cpu: Some(CpuQuantity::from_millis(cores * 1000)), memory }
}

/// Facts about the machine.
pub(crate) fn attributes() -> std::collections::BTreeMap<String, String> {
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    [("os", text(system.sysname())), ("kernel", text(system.release())), ("arch", text(system.machine()))]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

struct Memory {
    total: u64,
    available: u64,
}

fn memory() -> Option<Memory> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    Some(Memory { total: field("MemTotal:")?, available: field("MemAvailable:")? })
}

/// Processor time of all cores since the boot, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ticks {
    busy: u64,
    all: u64,
}

/// Reads how busy the machine is, each time since the time before.
#[derive(Debug, Default)]
pub(crate) struct HostMeter {
    last: Ticks,
}

impl HostMeter {
    /// How busy the machine has been since the last call, and how much memory is in use.
    pub(crate) fn read(&mut self) -> HostMetrics {
        let now = fs::read_to_string("/proc/stat").ok().and_then(|text| ticks(&text)).unwrap_or_default();
        let cpu = fraction(self.last, now);
        self.last = now;
        let used = memory().map_or(0, |memory| memory.total.saturating_sub(memory.available));
        HostMetrics { cpu, memory: used as f64 }
    }
}

/// The first line of /proc/stat: user nice system idle iowait irq softirq steal.
fn ticks(stat: &str) -> Option<Ticks> {
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    let all = fields.iter().sum();
    let idle = fields.get(3)? + fields.get(4)?;
    Some(Ticks { busy: all - idle, all })
}

fn fraction(before: Ticks, now: Ticks) -> f64 {
    let all = now.all.saturating_sub(before.all);
    if all == 0 { 0.0 } else { now.busy.saturating_sub(before.busy) as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_fraction_leaves_idle_and_waiting_out() {
        let before = ticks("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 …").expect("it reads");
        let now = ticks("cpu  150 0 50 820 80 0 0 0 0 0").expect("it reads");
        assert_eq!(fraction(before, now), 0.5);
        assert_eq!(fraction(now, now), 0.0);
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let capacity = capacity();
        assert!(capacity.cpu.is_some_and(|cpu| cpu.cores() >= 1.0));
        assert!(capacity.memory.is_some());
        assert!(HostMeter::default().read().memory > 0.0);
    }
}
