//! Which queues may have events that nobody ticked: a bit for each, shared by queues whose ids are
//! equal modulo the number of bits. Whoever clears one has to look at all queues that share it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Set the queue's bit; true when it was not set.
pub fn mark(words: &[AtomicU64], queue: i32) -> bool {
    let (word, bit) = place(words, queue);
    word.fetch_or(bit, Ordering::SeqCst) & bit == 0
}

/// Set all bits.
pub fn mark_all(words: &[AtomicU64]) {
    for word in words {
        word.store(u64::MAX, Ordering::SeqCst);
    }
}

/// True when the queue's bit is set.
pub fn is_marked(words: &[AtomicU64], queue: i32) -> bool {
    let (word, bit) = place(words, queue);
    word.load(Ordering::SeqCst) & bit != 0
}

/// Clear the queue's bit.
pub fn clear(words: &[AtomicU64], queue: i32) {
    let (word, bit) = place(words, queue);
    word.fetch_and(!bit, Ordering::SeqCst);
}

/// True when two queues have one bit.
pub fn share_bit(words: &[AtomicU64], one: i32, other: i32) -> bool {
    let index = |queue: i32| {
        queue.unsigned_abs() % (u32::try_from(words.len()).unwrap_or(u32::MAX).saturating_mul(64))
    };
    index(one) == index(other)
}

/// True when the queue's id is not below the number of bits: one below may share its bit.
pub fn is_beyond(words: &[AtomicU64], queue: i32) -> bool {
    usize::try_from(queue.unsigned_abs()).is_ok_and(|number| number >= words.len() * 64)
}

fn place(words: &[AtomicU64], queue: i32) -> (&AtomicU64, u64) {
    let number = usize::try_from(queue.unsigned_abs()).expect("an address has at least 32 bits");
    let index = number % (words.len() * 64);
    (words.get(index / 64).expect("the index is taken modulo the bits"), 1 << (index % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_mark_is_news_once_and_stays_until_it_is_cleared(queue in any::<i32>()) {
            let words = [const { AtomicU64::new(0) }; 3];
            prop_assert!(!is_marked(&words, queue));
            prop_assert!(mark(&words, queue));
            prop_assert!(!mark(&words, queue));
            prop_assert!(is_marked(&words, queue));
            clear(&words, queue);
            prop_assert!(words.iter().all(|word| word.load(Ordering::SeqCst) == 0));
        }

        #[test]
        fn queues_that_share_a_bit_are_known(one in any::<i32>(), other in 0..400) {
            let words = [const { AtomicU64::new(0) }; 3];
            mark(&words, one);
            let shares = share_bit(&words, one, other);
            prop_assert_eq!(is_marked(&words, other), shares);
            let is_beyond = is_beyond(&words, one) || is_beyond(&words, other);
            prop_assert!(!shares || one.abs() == other || is_beyond);
        }

        #[test]
        fn marks_of_different_bits_do_not_touch_each_other(one in 0..192, other in 0..192) {
            let words = [const { AtomicU64::new(0) }; 3];
            mark(&words, one);
            prop_assert_eq!(is_marked(&words, other), one == other);
            mark_all(&words);
            clear(&words, one);
            prop_assert_eq!(is_marked(&words, other), one != other);
        }
    }
}
