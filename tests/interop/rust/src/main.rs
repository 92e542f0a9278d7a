//! Runs the script of tests/interop against a server and prints what it decoded, one JSON line a step.

mod caller;
mod errors;
mod executor;
mod registry;
mod show;
mod values;

use std::collections::HashMap;
use std::error::Error;

use serde_json::{json, Value as Json};

use caller::Caller;

/// What the generator made of the contract.
pub mod hibana {
    tonic::include_proto!("hibana.v1");
}

/// What a call saw, or why there is nothing to see.
pub type Saw = Result<Json, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("the path of the script is missing")?;
    let steps: Vec<Json> = serde_json::from_slice(&std::fs::read(path)?)?;
    let address = std::env::var("HIBANA_ADDRESS")?;
    let full_address = std::env::var("HIBANA_FULL_ADDRESS")?;
    let mut callers = HashMap::from([
        ("user", Caller::connect(&address, Some(&std::env::var("HIBANA_TOKEN")?))?),
        ("nobody", Caller::connect(&address, None)?),
        ("latecomer", Caller::connect(&full_address, Some(&std::env::var("HIBANA_FULL_TOKEN")?))?),
    ]);
    for step in &steps {
        let input = &step["input"];
        let speaker = input["as"].as_str().unwrap_or("user");
        let caller = callers.get_mut(speaker).ok_or("no such caller")?;
        let saw = run(caller, text(step, "call"), input).await?;
        println!("{}", json!({ "step": step["step"], "saw": saw }));
    }
    Ok(())
}

/// Makes the call of a step. A refusal of the service is something to print, any other error ends the program.
async fn run(caller: &mut Caller, call: &str, input: &Json) -> Saw {
    let saw = match call {
        "upload" => registry::upload(caller, input).await,
        "upload-unfinished" => registry::upload_unfinished(caller, input).await,
        "create" => registry::create(caller, input).await,
        "list-modules" => registry::list_modules(caller, input).await,
        "get-module" => registry::get_module(caller, input).await,
        "update-module" => registry::update_module(caller, input).await,
        "download" => registry::download(caller, input).await,
        "invoke" => executor::invoke(caller, input).await,
        "execute" => executor::execute(caller, input).await,
        "cancel" => executor::cancel(caller, input).await,
        "list-executions" => executor::list_executions(caller, input).await,
        "decode" => errors::decode(input),
        _ => Err(format!("no such call: {call}").into()),
    };
    match saw.map_err(|error| error.downcast::<tonic::Status>()) {
        Ok(saw) => Ok(saw),
        Err(Ok(refusal)) => Ok(json!({ "status": errors::show_refusal(&refusal)? })),
        Err(Err(error)) => Err(error),
    }
}

/// Returns a text of an input; nothing where there is none.
pub fn text<'a>(input: &'a Json, key: &str) -> &'a str {
    input[key].as_str().unwrap_or("")
}

/// Returns the entries of an object of texts.
pub fn texts(input: &Json, key: &str) -> HashMap<String, String> {
    let entries = input[key].as_object().into_iter().flatten();
    entries.map(|(name, value)| (name.clone(), value.as_str().unwrap_or("").into())).collect()
}
