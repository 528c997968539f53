//! Where memory comes from, and how it is given back.
//!
//! Packets come and go in batches of tens of kilobytes: the C library's allocator gives such memory
//! back to the kernel and asks for it again each time. Mimalloc keeps it for a moment instead, and
//! gives back what is free when it is next asked for some: a process that falls quiet keeps all.
//! Its own use of huge pages is switched off (the feature `small-pages`): clearing 2 MB at a time
//! took half of all processor time.

use std::time::Duration;

use mimalloc::MiMalloc;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often what is free is given back.
const EVERY: Duration = Duration::from_secs(5);
/// A process is quiet that uses less than this share of a processor.
const QUIET: f64 = 0.02;

/// Gives back what is free, again and again: a tenth of a quiet agent's memory, and more after many
/// clients. While the process is quiet, also those pages of the program that nobody executes: then
/// an agent left alone holds 9.9 MB in place of 20.6 (`spinglass lab doors`).
pub(crate) async fn keep_giving_back() {
    let mut ticks = tokio::time::interval(EVERY);
    let mut used = processor_seconds();
    loop {
        ticks.tick().await;
        collect();
        let now = processor_seconds();
        if now - used < QUIET * EVERY.as_secs_f64() {
            unmap_program();
        }
        used = now;
    }
}

/// The processor time that the process has used.
fn processor_seconds() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

#[expect(unsafe_code, reason = "the allocator is C, and has no other way to be told")]
fn collect() {
    // SAFETY: `mi_collect` may be called at any time by any thread; it frees nothing in use.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

/// Unmaps the program's own pages, and its libraries'. What is executed again is there again, in
/// microseconds: the kernel holds the file. Half of them nobody executes after the start (the
/// command line's description alone is half a megabyte), and the kernel maps sixteen where one is
/// touched.
#[cfg(target_os = "linux")]
fn unmap_program() {
    // Where the system does not tell, they stay.
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(program_pages).for_each(unmap);
}

#[cfg(not(target_os = "linux"))]
const fn unmap_program() {}

/// The addresses of a mapping, if it is of a program's file, and holds code, or what comes before
/// it: constants. What comes after is written while the program is loaded.
#[cfg(target_os = "linux")]
fn program_pages(line: &str) -> Option<std::ops::Range<usize>> {
    let mut fields = line.split_ascii_whitespace();
    let (from, to) = fields.next()?.split_once('-')?;
    let (access, offset) = (fields.next()?, fields.next()?);
    let is_constant = access == "r-xp" || access == "r--p" && offset == "00000000";
    let is_program = is_constant && fields.nth(2)?.starts_with('/');
    let address = |digits| usize::from_str_radix(digits, 16).ok();
    is_program.then_some(address(from)?..address(to)?)
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "measured: 3 MB of a quiet agent's 11 (`spinglass lab fleet`)")]
fn unmap(pages: std::ops::Range<usize>) {
    use rustix::mm::{Advice, madvise};

    let start = std::ptr::with_exposed_provenance_mut(pages.start);
    // SAFETY: the pages are a file's, and were never written: at the next access they are read from
    // the file again, as they were.
    let _stay = unsafe { madvise(start, pages.len(), Advice::LinuxDontNeed) };
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_is_executed_is_given_back_and_nothing_else() {
        let code = "55d0c0e00000-55d0c1a6a000 r-xp 00303000 fe:00 5450162    /usr/bin/spinglass";
        assert_eq!(program_pages(code), Some(0x55d0_c0e0_0000..0x55d0_c1a6_a000));
        let first = "55d0c0a00000-55d0c0e00000 r--p 00000000 fe:00 5450162    /usr/bin/spinglass";
        assert_eq!(program_pages(first), Some(0x55d0_c0a0_0000..0x55d0_c0e0_0000));
        for line in [
            "55d0c1a6a000-55d0c1ad0000 r--p 00e26000 fe:00 5450162    /usr/bin/spinglass",
            "7ffd1d5f2000-7ffd1d5f4000 r-xp 00000000 00:00 0          [vdso]",
            "20000000000-20040000000 rw-p 00000000 00:00 0",
            "",
        ] {
            assert_eq!(program_pages(line), None, "{line}");
        }
        unmap_program();
    }
}
