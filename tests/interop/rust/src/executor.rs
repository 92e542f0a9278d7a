//! The calls of Executor.

use std::time::Duration;

use serde_json::{json, Value as Json};
use tonic::Request;

use crate::caller::Caller;
use crate::hibana::execution_event::Event;
use crate::hibana::{
    execute_request, invoke_request, CallLimits, CancelExecutionRequest, ExecuteRequest, InvokeRequest,
    ListExecutionsRequest,
};
use crate::show::{show_failure, show_limits, show_record};
use crate::values::{json_arguments, show_json, show_typed, typed_arguments};
use crate::{text, texts, Saw};

/// Runs a function and gets one answer.
pub async fn invoke(caller: &mut Caller, input: &Json) -> Saw {
    let arguments = match input["json"].as_array() {
        Some(items) => invoke_request::Arguments::JsonArguments(json_arguments(items)),
        None => invoke_request::Arguments::TypedArguments(typed_arguments(&input["typed"])?),
    };
    let timeout = input["timeout_ms"].as_u64().map(Duration::from_millis);
    let limits = match timeout {
        Some(timeout) => Some(CallLimits { timeout: Some(timeout.try_into()?), ..Default::default() }),
        None => None,
    };
    let request = InvokeRequest {
        module: text(input, "module").into(),
        function: text(input, "function").into(),
        arguments: Some(arguments),
        stdin: hex::decode(text(input, "stdin"))?,
        env: texts(input, "env"),
        limits,
        ..Default::default()
    };
    let answer = caller.executor.invoke(request).await?.into_inner();
    Ok(json!({
        "execution": answer.execution,
        "version": answer.version,
        "outcome": answer.outcome().as_str_name(),
        "typed": show_typed(answer.result.as_ref()),
        "json": show_json(answer.result.as_ref()),
        "failure": answer.failure.as_ref().map(show_failure),
        "stdout": hex::encode(&answer.stdout),
        "stderr": hex::encode(&answer.stderr),
    }))
}

/// Runs a function and reads its events up to the last.
pub async fn execute(caller: &mut Caller, input: &Json) -> Saw {
    let mut request = Request::new(ExecuteRequest {
        module: text(input, "module").into(),
        function: text(input, "function").into(),
        arguments: Some(execute_request::Arguments::TypedArguments(typed_arguments(&input["typed"])?)),
        ..Default::default()
    });
    if let Some(milliseconds) = input["deadline_ms"].as_u64() {
        request.set_timeout(Duration::from_millis(milliseconds));
    }
    let mut answers = caller.executor.execute(request).await?.into_inner();
    let (mut sequences, mut events) = (vec![], vec![]);
    let (mut stdout, mut stderr) = (vec![], vec![]);
    let mut saw = json!({});
    while let Some(answer) = answers.message().await? {
        let event = answer.event.ok_or("no event")?;
        sequences.push(event.sequence.to_string());
        match event.event.ok_or("an event of an unknown kind")? {
            Event::Started(started) => {
                events.push("started");
                saw["execution"] = json!(started.execution);
                saw["version"] = json!(started.version);
                saw["sha256"] = json!(started.sha256);
                saw["limits"] = show_limits(&started.limits.ok_or("no limits")?);
            }
            Event::Stdout(data) => {
                events.push("stdout");
                stdout.extend(data);
            }
            Event::Stderr(data) => {
                events.push("stderr");
                stderr.extend(data);
            }
            Event::Result(result) => {
                events.push("result");
                saw["outcome"] = json!(result.outcome().as_str_name());
                saw["typed"] = json!(show_typed(result.result.as_ref()));
                saw["json"] = json!(show_json(result.result.as_ref()));
                saw["failure"] = json!(result.failure.as_ref().map(show_failure));
                saw["stdout_bytes"] = json!(result.stdout_bytes.to_string());
                saw["stderr_bytes"] = json!(result.stderr_bytes.to_string());
            }
            _ => events.push("other"),
        }
    }
    saw["sequences"] = json!(sequences);
    saw["events"] = json!(events);
    saw["stdout"] = json!(hex::encode(stdout));
    saw["stderr"] = json!(hex::encode(stderr));
    Ok(saw)
}

/// Starts a guest that never ends, and ends it with a second call.
pub async fn cancel(caller: &mut Caller, input: &Json) -> Saw {
    let request = ExecuteRequest { module: text(input, "module").into(), ..Default::default() };
    let mut answers = caller.executor.execute(request).await?.into_inner();
    let mut saw = json!({});
    while let Some(answer) = answers.message().await? {
        match answer.event.and_then(|event| event.event) {
            Some(Event::Started(started)) => {
                let request = CancelExecutionRequest { name: started.execution.clone() };
                let cancelled = caller.executor.cancel_execution(request).await?.into_inner();
                saw["execution"] = json!(started.execution);
                saw["record"] = show_record(&cancelled.execution.ok_or("no record")?)?;
            }
            Some(Event::Result(result)) => saw["outcome"] = json!(result.outcome().as_str_name()),
            _ => {}
        }
    }
    Ok(saw)
}

/// Fetches one page after the other.
pub async fn list_executions(caller: &mut Caller, input: &Json) -> Saw {
    let (mut pages, mut totals) = (vec![], vec![]);
    let mut request = ListExecutionsRequest {
        module: text(input, "module").into(),
        page_size: input["page_size"].as_i64().unwrap_or(0).try_into()?,
        ..Default::default()
    };
    loop {
        let page = caller.executor.list_executions(request.clone()).await?.into_inner();
        pages.push(page.executions.iter().map(show_record).collect::<Result<Vec<_>, _>>()?);
        totals.push(page.total_size.to_string());
        if page.next_page_token.is_empty() {
            return Ok(json!({ "pages": pages, "total_sizes": totals }));
        }
        request.page_token = page.next_page_token;
    }
}
