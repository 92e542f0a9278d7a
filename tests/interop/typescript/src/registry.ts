// The calls of ModuleRegistry.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { once, within, type Caller } from "./caller.js";
import { Module, ModuleSpec, type ModuleVersion } from "./gen/hibana/v1/module.js";
import {
  CreateModuleRequest,
  ListModulesRequest,
  UpdateModuleRequest,
  UploadHeader,
  type DownloadModuleResponse,
  type CreateModuleResponse,
  type GetModuleResponse,
  type ListModulesResponse,
  type UpdateModuleResponse,
  type UploadModuleResponse,
} from "./gen/hibana/v1/module_registry.js";
import { showModule, showVersion, type Line } from "./show.js";

interface UploadInput {
  guest: string;
  name: string;
  version: string;
  chunk_bytes: number;
  description?: string;
  labels?: Record<string, string>;
  validate_only?: boolean;
}

function guest(name: string): Buffer {
  return readFileSync(`${process.env.HIBANA_GUESTS}/${name}.wasm`);
}

function sha256(data: Buffer): string {
  return createHash("sha256").update(data).digest("hex");
}

function showStored(answer: UploadModuleResponse | CreateModuleResponse): Line {
  return { existed: answer.existed, module: showModule(answer.module!), version: showVersion(answer.version!) };
}

/** Stores a module from a stream: the header, then chunks. */
export async function upload(caller: Caller, input: UploadInput): Promise<Line> {
  const wasm = guest(input.guest);
  const header = UploadHeader.create({
    moduleName: input.name,
    version: input.version,
    sha256: sha256(wasm),
    sizeBytes: BigInt(wasm.length),
    module: input.description ? ModuleSpec.create({ description: input.description, labels: input.labels }) : undefined,
  });
  const answer = await once<UploadModuleResponse>((callback) => {
    const call = caller.registry.uploadModule(caller.metadata, callback);
    call.write({ message: { $case: "header", header } });
    for (let at = 0; at < wasm.length; at += input.chunk_bytes) {
      call.write({ message: { $case: "chunk", chunk: wasm.subarray(at, at + input.chunk_bytes) } });
    }
    call.end();
  });
  return showStored(answer);
}

/** Sends a header and nothing more, until its deadline has passed. */
export async function uploadUnfinished(
  caller: Caller,
  input: { name: string; version: string; deadline_ms: number },
): Promise<Line> {
  const header = UploadHeader.create({ moduleName: input.name, version: input.version });
  const answer = await once<UploadModuleResponse>((callback) => {
    const call = caller.registry.uploadModule(caller.metadata, within(input.deadline_ms), callback);
    call.write({ message: { $case: "header", header } });
  });
  return showStored(answer);
}

/** Stores or inspects a module that comes in one message. */
export async function create(caller: Caller, input: UploadInput): Promise<Line> {
  const request = CreateModuleRequest.create({
    header: { moduleName: input.name, version: input.version, validateOnly: input.validate_only },
    wasm: guest(input.guest),
  });
  return showStored(await once<CreateModuleResponse>((done) => caller.registry.createModule(request, caller.metadata, done)));
}

/** Fetches one page after the other. */
export async function listModules(caller: Caller, input: { page_size: number }): Promise<Line> {
  const pages: string[][] = [];
  const totalSizes: string[] = [];
  let pageToken = "";
  do {
    const request = ListModulesRequest.create({ pageSize: input.page_size, pageToken });
    const page = await once<ListModulesResponse>((done) => caller.registry.listModules(request, caller.metadata, done));
    pages.push(page.modules.map((module) => module.moduleName));
    totalSizes.push(page.totalSize.toString());
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { pages, total_sizes: totalSizes };
}

export async function getModule(caller: Caller, input: { module: string }): Promise<Line> {
  const request = { module: input.module };
  const answer = await once<GetModuleResponse>((done) => caller.registry.getModule(request, caller.metadata, done));
  return { module: showModule(answer.module!) };
}

export async function updateModule(
  caller: Caller,
  input: { module: string; etag: string; description: string },
): Promise<Line> {
  const request = UpdateModuleRequest.create({
    module: Module.create({ name: input.module, etag: input.etag, description: input.description }),
    updateMask: ["description"],
  });
  const answer = await once<UpdateModuleResponse>((done) => caller.registry.updateModule(request, caller.metadata, done));
  return { module: showModule(answer.module!) };
}

/** Reads a version's bytes; the first message tells which version they are of. */
export async function download(caller: Caller, input: { version: string }): Promise<Line> {
  let version: ModuleVersion | undefined;
  const chunks: Buffer[] = [];
  const call = caller.registry.downloadModule({ version: input.version }, caller.metadata);
  for await (const part of call as AsyncIterable<DownloadModuleResponse>) {
    version = part.version ?? version;
    chunks.push(part.chunk);
  }
  const wasm = Buffer.concat(chunks);
  return { version: showVersion(version!), sha256: sha256(wasm), size: wasm.length.toString() };
}
