//! Integers as text.

const DIGITS: &[u8; 10] = b"0123456789";

/// Write a number in decimal to the end of `buffer`; the part that was written.
pub fn write(number: i64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut start = buffer.len();
    let mut rest = number.unsigned_abs();
    let mut put = |byte: u8| {
        start -= 1;
        if let Some(place) = buffer.get_mut(start) {
            *place = byte;
        }
    };
    loop {
        let digit = usize::try_from(rest % 10).unwrap_or(0);
        put(DIGITS[digit]);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        put(b'-');
    }
    buffer.get(start..).unwrap_or_default()
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
