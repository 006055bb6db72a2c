//! x86-64: the first instruction, system calls, and memory functions.
//!
//! Linux `Documentation/arch/x86/entry_64.rst` and the x86-64 System V ABI, sections 3.4.1 (the
//! stack at a program's start) and A.2.1 (system calls).

use core::arch::{asm, naked_asm};
use core::ffi::c_char;

use super::start;

// <asm/unistd_64.h>
pub(super) const WRITE: usize = 1;
pub(super) const SOCKET: usize = 41;
pub(super) const CONNECT: usize = 42;
pub(super) const SENDTO: usize = 44;
pub(super) const RECVFROM: usize = 45;
pub(super) const GETSOCKOPT: usize = 55;
pub(super) const EXECVE: usize = 59;
pub(super) const GETEUID: usize = 107;
pub(super) const EXIT_GROUP: usize = 231;
pub(super) const READLINKAT: usize = 267;
pub(super) const FACCESSAT: usize = 269;
pub(super) const PPOLL: usize = 271;

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
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Where the kernel starts the program, with the stack that [`start`] wants.
#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "mov rdi, rsp", "and rsp, -16", "call {start}", "ud2", start = sym start)
}

// The compiler calls these for copies and comparisons, and without a C library nobody else has
// them; another one that it wants is an error of the linker. In assembly, so that it does not make
// a call of itself out of the loop.

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(_to: *mut u8, _from: *const u8, _count: usize) -> *mut u8 {
    naked_asm!("mov rax, rdi", "mov rcx, rdx", "rep movsb", "ret")
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(_to: *mut u8, _byte: i32, _count: usize) -> *mut u8 {
    naked_asm!("mov r8, rdi", "mov eax, esi", "mov rcx, rdx", "rep stosb", "mov rax, r8", "ret")
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(_one: *const u8, _other: *const u8, _count: usize) -> i32 {
    naked_asm!(
        "xor eax, eax",
        "mov rcx, rdx",
        // For no bytes at all: the flags say equal.
        "cmp eax, eax",
        "repe cmpsb",
        "je 2f",
        "movzx eax, byte ptr [rdi - 1]",
        "movzx ecx, byte ptr [rsi - 1]",
        "sub eax, ecx",
        "2: ret"
    )
}

#[unsafe(naked)]
#[unsafe(no_mangle)]
unsafe extern "C" fn strlen(_string: *const c_char) -> usize {
    naked_asm!("mov rax, -1", "2:", "inc rax", "cmp byte ptr [rdi + rax], 0", "jne 2b", "ret")
}
