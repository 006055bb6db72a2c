//! Integers as text.

/// Write a number in decimal to the end of `buffer`; the part that was written.
pub fn write(number: i64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    let mut rest = number.unsigned_abs();
    let mut put = |byte: u8| {
        start -= 1;
        buffer[start] = byte;
    };
    loop {
        put(b'0' + u8::try_from(rest % 10).expect("a digit"));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        put(b'-');
    }
    &buffer[start..]
}

#[cfg(test)]
mod tests {
    use super::write;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    #[test]
    fn extremes_fit() {
        for number in [0, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(write(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }

    proptest! {
        #[test]
        fn numbers_read_back(number in any::<i64>()) {
            let mut buffer = [0; 20];
            let text = std::str::from_utf8(write(number, &mut buffer)).unwrap();
            prop_assert_eq!(text.parse::<i64>().unwrap(), number);
        }
    }
}
