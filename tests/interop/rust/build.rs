//! Generates the client from the contract.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-env-changed=HIBANA_PROTO");
    let proto = std::env::var("HIBANA_PROTO").unwrap_or_else(|_| "../../../proto".into());
    let proto = PathBuf::from(proto);
    println!("cargo:rerun-if-changed={}", proto.display());
    let files = ["hibana/v1/module_registry.proto", "hibana/v1/executor.proto"];
    let contract = protox::compile(files, [&proto])?;
    tonic_prost_build::configure().build_server(false).build_transport(false).compile_fds(contract)?;
    Ok(())
}
