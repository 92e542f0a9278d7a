//! The calls of ModuleRegistry.

use std::path::Path;
use std::time::Duration;

use prost_types::FieldMask;
use serde_json::{json, Value as Json};
use sha2::{Digest, Sha256};
use tonic::codegen::tokio_stream::{self, StreamExt};
use tonic::Request;

use crate::caller::Caller;
use crate::hibana::upload_module_request::Message;
use crate::hibana::{
    CreateModuleRequest, DownloadModuleRequest, GetModuleRequest, ListModulesRequest, Module, ModuleSpec,
    UpdateModuleRequest, UploadHeader, UploadModuleRequest,
};
use crate::show::{show_module, show_version};
use crate::{text, texts, Saw};

/// Stores a module from a stream: the header, then chunks.
pub async fn upload(caller: &mut Caller, input: &Json) -> Saw {
    let wasm = guest(input)?;
    let mut header = header(input);
    header.sha256 = hex::encode(Sha256::digest(&wasm));
    header.size_bytes = wasm.len().try_into()?;
    if !input["description"].is_null() {
        header.module = Some(ModuleSpec {
            description: text(input, "description").into(),
            labels: texts(input, "labels"),
            ..Default::default()
        });
    }
    let size = input["chunk_bytes"].as_u64().ok_or("chunk_bytes is missing")?;
    let chunks = wasm.chunks(size.try_into()?).map(|chunk| Message::Chunk(chunk.to_vec()));
    let messages: Vec<_> = std::iter::once(Message::Header(header)).chain(chunks).map(message).collect();
    let answer = caller.registry.upload_module(tokio_stream::iter(messages)).await?.into_inner();
    show_stored(answer.existed, answer.module, answer.version)
}

/// Sends a header and nothing more, until its deadline has passed.
pub async fn upload_unfinished(caller: &mut Caller, input: &Json) -> Saw {
    let first = tokio_stream::once(message(Message::Header(header(input))));
    let mut request = Request::new(first.chain(tokio_stream::pending()));
    let milliseconds = input["deadline_ms"].as_u64().ok_or("deadline_ms is missing")?;
    request.set_timeout(Duration::from_millis(milliseconds));
    let answer = caller.registry.upload_module(request).await?.into_inner();
    show_stored(answer.existed, answer.module, answer.version)
}

/// Stores or inspects a module that comes in one message.
pub async fn create(caller: &mut Caller, input: &Json) -> Saw {
    let mut header = header(input);
    header.validate_only = input["validate_only"].as_bool().unwrap_or(false);
    let request = CreateModuleRequest { header: Some(header), wasm: guest(input)? };
    let answer = caller.registry.create_module(request).await?.into_inner();
    show_stored(answer.existed, answer.module, answer.version)
}

/// Fetches one page after the other.
pub async fn list_modules(caller: &mut Caller, input: &Json) -> Saw {
    let (mut pages, mut totals) = (vec![], vec![]);
    let page_size = input["page_size"].as_i64().unwrap_or(0).try_into()?;
    let mut request = ListModulesRequest { page_size, ..Default::default() };
    loop {
        let page = caller.registry.list_modules(request.clone()).await?.into_inner();
        pages.push(page.modules.into_iter().map(|module| module.module_name).collect::<Vec<_>>());
        totals.push(page.total_size.to_string());
        if page.next_page_token.is_empty() {
            return Ok(json!({ "pages": pages, "total_sizes": totals }));
        }
        request.page_token = page.next_page_token;
    }
}

pub async fn get_module(caller: &mut Caller, input: &Json) -> Saw {
    let request = GetModuleRequest { module: text(input, "module").into() };
    let module = caller.registry.get_module(request).await?.into_inner().module;
    Ok(json!({ "module": show_module(&module.ok_or("no module")?) }))
}

pub async fn update_module(caller: &mut Caller, input: &Json) -> Saw {
    let changed = Module {
        name: text(input, "module").into(),
        etag: text(input, "etag").into(),
        description: text(input, "description").into(),
        ..Default::default()
    };
    let request = UpdateModuleRequest {
        module: Some(changed),
        update_mask: Some(FieldMask { paths: vec!["description".into()] }),
        ..Default::default()
    };
    let module = caller.registry.update_module(request).await?.into_inner().module;
    Ok(json!({ "module": show_module(&module.ok_or("no module")?) }))
}

/// Reads a version's bytes; the first message tells which version they are of.
pub async fn download(caller: &mut Caller, input: &Json) -> Saw {
    let request = DownloadModuleRequest { version: text(input, "version").into() };
    let mut parts = caller.registry.download_module(request).await?.into_inner();
    let (mut version, mut wasm) = (None, vec![]);
    while let Some(part) = parts.message().await? {
        version = part.version.or(version);
        wasm.extend(part.chunk);
    }
    Ok(json!({
        "version": show_version(&version.ok_or("no version")?),
        "sha256": hex::encode(Sha256::digest(&wasm)),
        "size": wasm.len().to_string(),
    }))
}

fn header(input: &Json) -> UploadHeader {
    UploadHeader {
        module_name: text(input, "name").into(),
        version: text(input, "version").into(),
        ..Default::default()
    }
}

fn message(message: Message) -> UploadModuleRequest {
    UploadModuleRequest { message: Some(message) }
}

fn guest(input: &Json) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let folder = std::env::var("HIBANA_GUESTS")?;
    Ok(std::fs::read(Path::new(&folder).join(text(input, "guest")).with_extension("wasm"))?)
}

fn show_stored(existed: bool, module: Option<Module>, version: Option<crate::hibana::ModuleVersion>) -> Saw {
    Ok(json!({
        "existed": existed,
        "module": show_module(&module.ok_or("no module")?),
        "version": show_version(&version.ok_or("no version")?),
    }))
}
