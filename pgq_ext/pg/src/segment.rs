//! The layout of a piece of shared memory: a header, some slots, and one entry for each process
//! that the server allows.

use std::mem::{align_of, size_of};
use std::slice;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64};

use super::{ports, shmem};

/// What may lie in shared memory: all processes use it at the same time without a lock, and zeroed
/// memory is a value of it.
///
/// # Safety
/// Made of atomics alone, for which both hold.
pub unsafe trait Shareable: Sync {}

// SAFETY: an atomic; zero is one of its values.
unsafe impl Shareable for AtomicBool {}
// SAFETY: as above.
unsafe impl Shareable for AtomicI32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicI64 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU64 {}
// SAFETY: as its elements are.
unsafe impl<T: Shareable, const N: usize> Shareable for [T; N] {}

/// Declares a structure that may lie in shared memory, since each of its fields may: the compiler
/// refuses others. One constant parameter is written as `struct Name[const N]`.
#[macro_export]
macro_rules! shareable {
    (
        $(#[$meta:meta])*
        $visibility:vis struct $name:ident $([const $size:ident])? {
            $($(#[$field_meta:meta])* $field_visibility:vis $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        $visibility struct $name $(<const $size: usize>)? {
            $($(#[$field_meta])* $field_visibility $field: $type,)*
        }

        // SAFETY: all fields are, and there is nothing else in it.
        unsafe impl $(<const $size: usize>)? $crate::segment::Shareable for $name $(<$size>)?
        where
            $($type: $crate::segment::Shareable,)*
        {
        }
    };
}

/// The parts of the piece, if the server has given it to us: what was requested as [`size`] of the
/// same types and number of slots.
pub fn map<H, S, P>(slots: usize) -> Option<(&'static H, &'static [S], &'static [P])>
where
    H: Shareable,
    S: Shareable,
    P: Shareable,
{
    const {
        assert!(align_of::<H>() <= shmem::ALIGNMENT, "the piece begins less aligned");
        assert!(size_of::<H>().is_multiple_of(align_of::<S>()), "slots follow the header");
        assert!(
            (size_of::<H>() + size_of::<S>()).is_multiple_of(align_of::<P>())
                && size_of::<S>().is_multiple_of(align_of::<P>()),
            "processes follow the slots"
        );
    }
    let start = shmem::start()?;
    assert!(size::<H, S, P>(slots) <= shmem::size(), "more is mapped than was requested");
    // SAFETY: the piece is as long as it has to be, and each part is aligned, as asserted; zeroed
    // memory is valid for each type and may be shared (`Shareable`), and stays mapped until the
    // process ends.
    unsafe {
        let first = start.add(size_of::<H>());
        let processes = first.add(size_of::<S>() * slots);
        Some((
            start.cast::<H>().as_ref(),
            slice::from_raw_parts(first.cast::<S>().as_ptr(), slots),
            slice::from_raw_parts(processes.cast::<P>().as_ptr(), ports::max_backends()),
        ))
    }
}

/// Bytes of the piece.
pub fn size<H, S, P>(slots: usize) -> usize {
    size_of::<H>() + size_of::<S>() * slots + size_of::<P>() * ports::max_backends()
}
