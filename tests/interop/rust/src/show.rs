//! Messages as the lines show them: 64-bit integers as texts, what is not set as null.

use prost_types::{Duration, Timestamp};
use serde_json::{json, Value as Json};

use crate::hibana::{EffectiveLimits, Execution, Failure, Finding, Module, ModuleVersion};
use crate::Saw;

pub fn show_time(at: &Timestamp) -> Json {
    json!({ "seconds": at.seconds.to_string(), "nanos": at.nanos })
}

pub fn show_span(span: &Duration) -> Json {
    json!({ "seconds": span.seconds.to_string(), "nanos": span.nanos })
}

pub fn show_module(it: &Module) -> Json {
    json!({
        "name": it.name,
        "uid": it.uid,
        "tier": it.tier().as_str_name(),
        "owner": it.owner,
        "module_name": it.module_name,
        "reference": it.reference,
        "description": it.description,
        "status": it.status().as_str_name(),
        "is_public": it.is_public,
        "labels": it.labels,
        "live_version": it.live_version,
        "etag": it.etag,
        "create_time": it.create_time.as_ref().map(show_time),
    })
}

pub fn show_version(it: &ModuleVersion) -> Json {
    let exports = it.exports.iter().map(|each| {
        let parameters: Vec<_> = each.parameters.iter().map(|one| [&one.name, &one.r#type]).collect();
        json!({
            "name": each.name, "parameters": parameters, "results": each.results, "callable": each.callable,
        })
    });
    let imports = it.imports.iter().map(|each| {
        json!({
            "module": each.module, "name": each.name, "kind": each.kind, "type": each.r#type, "granted": each.granted,
        })
    });
    json!({
        "name": it.name,
        "version": it.version,
        "sha256": it.sha256,
        "wasm_size_bytes": it.wasm_size_bytes.to_string(),
        "convention": it.convention().as_str_name(),
        "exports": exports.collect::<Vec<_>>(),
        "imports": imports.collect::<Vec<_>>(),
        "memory_pages": it.memory_pages.to_string(),
        "max_memory_pages": it.max_memory_pages.map(|pages| pages.to_string()),
        "findings": it.findings.iter().map(show_finding).collect::<Vec<_>>(),
        "runnable": it.runnable,
        "published": it.published,
        "creator": it.creator,
    })
}

pub fn show_finding(it: &Finding) -> Json {
    json!({ "severity": it.severity().as_str_name(), "code": it.code, "text": it.text, "fix": it.fix })
}

pub fn show_failure(it: &Failure) -> Json {
    json!({ "code": it.code, "message": it.message, "exit_code": it.exit_code, "backtrace": it.backtrace })
}

pub fn show_limits(it: &EffectiveLimits) -> Json {
    json!({
        "memory_bytes": it.memory_bytes.to_string(),
        "timeout": it.timeout.as_ref().map(show_span),
        "output_bytes": it.output_bytes.to_string(),
    })
}

pub fn show_record(it: &Execution) -> Saw {
    Ok(json!({
        "name": it.name,
        "module": it.module,
        "version": it.version,
        "caller": it.caller,
        "function": it.function,
        "state": it.state().as_str_name(),
        "outcome": it.outcome().as_str_name(),
        "failure": it.failure.as_ref().map(show_failure),
        "create_time": show_time(it.create_time.as_ref().ok_or("no create_time")?),
    }))
}
