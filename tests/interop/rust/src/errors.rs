//! Errors and their details, which travel as a google.rpc.Status in the trailing metadata.

use std::error::Error;

use base64::prelude::{Engine, BASE64_STANDARD};
use prost::Message;
use prost_types::Any;
use serde_json::{json, Value as Json};
use tonic::{Code, TimeoutExpired};
use tonic_types::pb::{BadRequest, ErrorInfo, QuotaFailure, RetryInfo, Status};

use crate::hibana::Finding;
use crate::show::{show_finding, show_span};
use crate::{text, Saw};

/// Returns the code of a refusal. tonic calls it Cancelled when a deadline passes on its own side.
fn code(refusal: &tonic::Status) -> Code {
    let mut cause = refusal.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return Code::DeadlineExceeded;
        }
        cause = error.source();
    }
    refusal.code()
}

/// Spells a code as the contract does; Rust spells it its own way.
fn name(code: Code) -> String {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT".into(),
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED".into(),
        Code::NotFound => "NOT_FOUND".into(),
        Code::AlreadyExists => "ALREADY_EXISTS".into(),
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED".into(),
        Code::Aborted => "ABORTED".into(),
        Code::Unauthenticated => "UNAUTHENTICATED".into(),
        other => format!("{other:?}"),
    }
}

/// Shows a refused call.
pub fn show_refusal(refusal: &tonic::Status) -> Saw {
    let mut saw = show_status(&Status::decode(refusal.details())?)?;
    saw["code"] = json!(name(code(refusal)));
    saw["message"] = json!(refusal.message());
    Ok(saw)
}

/// Shows a status that did not come from a call.
pub fn decode(input: &Json) -> Saw {
    show_status(&Status::decode(&*BASE64_STANDARD.decode(text(input, "status"))?)?)
}

fn show_status(status: &Status) -> Saw {
    let details = status.details.iter().map(show_detail).collect::<Result<Vec<_>, _>>()?;
    Ok(json!({ "packed_code": status.code, "packed_message": status.message, "details": details }))
}

/// Shows one detail; of a kind that the contract does not name, only what it is.
fn show_detail(packed: &Any) -> Result<Json, Box<dyn Error>> {
    let kind = packed.type_url.rsplit('/').next().unwrap_or("");
    let value = &*packed.value;
    let mut saw = match kind {
        "google.rpc.ErrorInfo" => {
            let info = ErrorInfo::decode(value)?;
            json!({ "reason": info.reason, "domain": info.domain, "metadata": info.metadata })
        }
        "google.rpc.BadRequest" => {
            let violations = BadRequest::decode(value)?
                .field_violations
                .into_iter()
                .map(|each| json!({ "field": each.field, "description": each.description, "reason": each.reason }));
            json!({ "violations": violations.collect::<Vec<_>>() })
        }
        "google.rpc.RetryInfo" => {
            json!({ "retry_delay": RetryInfo::decode(value)?.retry_delay.as_ref().map(show_span) })
        }
        "google.rpc.QuotaFailure" => {
            let violations = QuotaFailure::decode(value)?.violations.into_iter();
            let violations = violations.map(|each| json!({ "subject": each.subject, "description": each.description }));
            json!({ "violations": violations.collect::<Vec<_>>() })
        }
        "hibana.v1.Finding" => show_finding(&Finding::decode(value)?),
        _ => json!({}),
    };
    saw["type"] = json!(kind);
    Ok(saw)
}
