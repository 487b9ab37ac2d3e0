//! What the numbers were measured on: processor, revision, peak memory.

use std::process::Command;

/// Processor, cores, memory and platform in words.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory_gib().map_or_else(String::new, |gib| format!(", {gib:.0} GiB memory"));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("{}, {cores} cores{memory}, {os} {arch}", cpu_model())
}

/// The revision of the sources that the program was built from, with `-dirty` and a digest behind
/// it if they differed from a commit; `unknown` for sources that are no clone, `debug build` for a
/// program that is not optimised. The variable LFADS_REVISION at build time overrides it.
pub const REVISION: &str = env!("LFADS_REVISION");

fn cpu_model() -> String {
    let model = if cfg!(target_os = "macos") {
        output_of("sysctl", &["-n", "machdep.cpu.brand_string"])
    } else if cfg!(target_os = "windows") {
        std::env::var("PROCESSOR_IDENTIFIER").ok()
    } else {
        proc_field("/proc/cpuinfo", "model name")
    };
    model.unwrap_or_else(|| "unknown processor".into())
}

fn memory_gib() -> Option<f64> {
    Some(kib(&proc_field("/proc/meminfo", "MemTotal")?)? / 1024.0 / 1024.0)
}

fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_string())
}

/// Measures the peak resident memory from its creation on (Linux; nothing elsewhere).
pub struct PeakMemory {
    counter_was_reset: bool,
}

impl PeakMemory {
    /// Resets the kernel's high-water mark of this process.
    pub fn start() -> Self {
        let counter_was_reset = std::fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { counter_was_reset }
    }

    /// Peak since [`PeakMemory::start`] in MB (10⁶ bytes).
    pub fn megabytes(&self) -> Option<f64> {
        if !self.counter_was_reset {
            return None;
        }
        Some(kib(&proc_field("/proc/self/status", "VmHWM")?)? * 1024.0 / 1e6)
    }
}

/// The value behind the first `name: value` line of a file under `/proc`.
fn proc_field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_string())
    })
}

fn kib(value: &str) -> Option<f64> {
    value.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_sees_a_released_allocation_and_forgets_it_after_a_reset() {
        let peak = PeakMemory::start();
        let before = peak.megabytes().unwrap();
        drop(std::hint::black_box(vec![1u8; 200_000_000]));
        let after = peak.megabytes().unwrap();
        assert!(after > before + 150.0, "{before} -> {after}");
        let fresh = PeakMemory::start().megabytes().unwrap();
        assert!(fresh < after - 100.0, "{after} -> {fresh}");
    }

    #[test]
    fn the_description_names_cores_and_platform() {
        let text = describe();
        assert!(text.contains("cores") && text.contains("linux"), "{text}");
    }
}
