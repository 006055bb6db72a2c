//! aarch64: the first instruction, system calls, and memory functions.
//!
//! Linux `Documentation/arch/arm64` and `arch/arm64/include/asm/elf.h`: number of a call in x8,
//! arguments in x0 to x5, result in x0; the stack is aligned at a program's start.

use core::arch::{asm, naked_asm};
use core::ffi::c_char;

use super::start;

// <asm-generic/unistd.h>
pub(super) const FACCESSAT: usize = 48;
pub(super) const WRITE: usize = 64;
pub(super) const PPOLL: usize = 73;
pub(super) const READLINKAT: usize = 78;
pub(super) const EXIT_GROUP: usize = 94;
pub(super) const GETEUID: usize = 175;
pub(super) const SOCKET: usize = 198;
pub(super) const CONNECT: usize = 203;
pub(super) const SENDTO: usize = 206;
pub(super) const RECVFROM: usize = 207;
pub(super) const GETSOCKOPT: usize = 209;
pub(super) const EXECVE: usize = 221;

/// Call the kernel; its result, an error negative.
///
/// # Safety
/// Arguments that the kernel takes for addresses must be valid for what it does with them, and of
/// pointers whose provenance is exposed: the compiler must not think that nobody reads or writes
/// there.
pub(super) unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY: the caller answers for the arguments; the kernel changes nothing but these registers
    // and what they point to.
    unsafe {
        asm!(
            "svc #0",
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f, in("x8") number,
            options(nostack),
        );
    }
    result
}

/// Where the kernel starts the program, with the stack that [`start`] wants.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x30, xzr", "mov x0, sp", "bl {start}", "brk #1", start = sym start)
}

// The compiler calls these for copies and comparisons, and without a C library nobody else has
// them; another one that it wants is an error of the linker. In assembly, so that it does not make
// a call of itself out of the loop.

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(_to: *mut u8, _from: *const u8, _count: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "cbz x2, 3f",
        "2:",
        "ldrb w4, [x1], #1",
        "strb w4, [x3], #1",
        "subs x2, x2, #1",
        "b.ne 2b",
        "3: ret"
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(_to: *mut u8, _byte: i32, _count: usize) -> *mut u8 {
    naked_asm!(
        "mov x3, x0",
        "cbz x2, 3f",
        "2:",
        "strb w1, [x3], #1",
        "subs x2, x2, #1",
        "b.ne 2b",
        "3: ret"
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(_one: *const u8, _other: *const u8, _count: usize) -> i32 {
    naked_asm!(
        "mov w5, wzr",
        "cbz x2, 3f",
        "2:",
        "ldrb w3, [x0], #1",
        "ldrb w4, [x1], #1",
        "subs w5, w3, w4",
        "b.ne 3f",
        "subs x2, x2, #1",
        "b.ne 2b",
        "3: mov w0, w5",
        "ret"
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(_string: *const c_char) -> usize {
    naked_asm!(
        "mov x1, x0",
        "2:",
        "ldrb w2, [x1], #1",
        "cbnz w2, 2b",
        "sub x0, x1, x0",
        "sub x0, x0, #1",
        "ret"
    )
}
