//! What the command wasm-bindgen does for examples/rust, by the library that the command itself calls. CI builds this
//! in half of the time that `cargo install wasm-bindgen-cli` takes, most of which goes into parts that no example needs.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ["--target", "web", "--out-dir", place, file] = words[..] else {
        eprintln!("usage: wasm-bindgen --target web --out-dir DIR FILE");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    match bindgen.input_path(file).web(true).and_then(|web| web.typescript(true).generate(place)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasm-bindgen: {error:?}");
            ExitCode::FAILURE
        }
    }
}
