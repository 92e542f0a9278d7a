//! Counts the words of a text on stdin and writes the most frequent ones: `words [HOW-MANY]`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let wanted = match std::env::args().nth(1).map(|text| text.parse()) {
        None => 10,
        Some(Ok(number)) => number,
        Some(Err(_)) => {
            eprintln!("words: the argument is not a number");
            return ExitCode::from(2);
        }
    };
    match count(io::stdin().lock()).and_then(|found| report(&found, wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("words: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads lines until their end and returns how often each word occurs, in lower case.
fn count(text: impl BufRead) -> io::Result<BTreeMap<String, u64>> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        for word in line?.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
            *found.entry(word.to_lowercase()).or_insert(0) += 1;
        }
    }
    Ok(found)
}

/// Writes the most frequent words, and in the order of the alphabet those that are equally frequent.
fn report(found: &BTreeMap<String, u64>, wanted: usize) -> io::Result<()> {
    let mut words: Vec<_> = found.iter().collect();
    words.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
    let mut out = io::stdout().lock();
    for (word, times) in words.into_iter().take(wanted) {
        writeln!(out, "{times:>4}  {word}")?;
    }
    Ok(())
}
