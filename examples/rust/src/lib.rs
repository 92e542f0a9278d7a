//! Functions over strings, bytes and numbers, exported by wasm-bindgen. Nothing here is special to Hibana.

use wasm_bindgen::prelude::*;

/// Makes of a title what can stand in an address: lower case, with hyphens for everything between words.
#[wasm_bindgen]
pub fn slug(title: &str) -> String {
    let words = title.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

/// Returns the middle one of some numbers, or none of none.
#[wasm_bindgen]
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Returns the bytes in hexadecimal digits.
#[wasm_bindgen]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Turns a duration like `1h30m` into seconds.
#[wasm_bindgen]
pub fn seconds(duration: &str) -> Result<u32, JsError> {
    let (mut sum, mut number) = (0_u32, String::new());
    for letter in duration.chars() {
        let unit = match letter {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            digit if digit.is_ascii_digit() => {
                number.push(digit);
                continue;
            }
            other => return Err(JsError::new(&format!("{other:?} is no unit of time"))),
        };
        let count: u32 = number.parse().map_err(|_| JsError::new("a number is missing or too large"))?;
        sum = count.checked_mul(unit).and_then(|part| sum.checked_add(part)).ok_or_else(|| JsError::new("too long"))?;
        number.clear();
    }
    if number.is_empty() {
        Ok(sum)
    } else {
        Err(JsError::new("the last number has no unit"))
    }
}
