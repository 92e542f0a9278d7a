// Messages as the lines show them: 64-bit integers as texts, what is not set as null.
import type { EffectiveLimits, Execution, Failure } from "./gen/hibana/v1/execution.js";
import type { Finding, Module, ModuleVersion } from "./gen/hibana/v1/module.js";

export type Line = Record<string, unknown>;

/** A time or a span of time. */
export function showMoment(at: { seconds: bigint; nanos: number }): Line {
  return { seconds: at.seconds.toString(), nanos: at.nanos };
}

export function showModule(it: Module): Line {
  return {
    name: it.name,
    uid: it.uid,
    tier: it.tier,
    owner: it.owner,
    module_name: it.moduleName,
    reference: it.reference,
    description: it.description,
    status: it.status,
    is_public: it.isPublic,
    labels: it.labels,
    live_version: it.liveVersion,
    etag: it.etag,
    create_time: it.createTime ? showMoment(it.createTime) : null,
  };
}

export function showVersion(it: ModuleVersion): Line {
  return {
    name: it.name,
    version: it.version,
    sha256: it.sha256,
    wasm_size_bytes: it.wasmSizeBytes.toString(),
    convention: it.convention,
    exports: it.exports.map((each) => ({
      name: each.name,
      parameters: each.parameters.map((parameter) => [parameter.name, parameter.type]),
      results: each.results,
      callable: each.callable,
    })),
    imports: it.imports.map(({ module, name, kind, type, granted }) => ({ module, name, kind, type, granted })),
    memory_pages: it.memoryPages.toString(),
    max_memory_pages: it.maxMemoryPages?.toString() ?? null,
    findings: it.findings.map(showFinding),
    runnable: it.runnable,
    published: it.published,
    creator: it.creator,
  };
}

export function showFinding({ severity, code, text, fix }: Finding): Line {
  return { severity, code, text, fix };
}

/** Null for a guest that did not fail. */
export function showFailure(it: Failure | undefined): Line | null {
  return it ? { code: it.code, message: it.message, exit_code: it.exitCode, backtrace: it.backtrace } : null;
}

export function showLimits(it: EffectiveLimits): Line {
  return {
    memory_bytes: it.memoryBytes.toString(),
    timeout: showMoment(it.timeout!),
    output_bytes: it.outputBytes.toString(),
  };
}

export function showRecord(it: Execution): Line {
  return {
    name: it.name,
    module: it.module,
    version: it.version,
    caller: it.caller,
    function: it.function,
    state: it.state,
    outcome: it.outcome,
    failure: showFailure(it.failure),
    create_time: showMoment(it.createTime!),
  };
}
