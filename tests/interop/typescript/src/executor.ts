// The calls of Executor.
import { once, within, type Caller } from "./caller.js";
import type { Duration } from "./gen/google/protobuf/duration.js";
import type { Execution } from "./gen/hibana/v1/execution.js";
import {
  ExecuteRequest,
  InvokeRequest,
  ListExecutionsRequest,
  type CancelExecutionResponse,
  type ExecuteResponse,
  type InvokeResponse,
  type ListExecutionsResponse,
} from "./gen/hibana/v1/executor.js";
import { showFailure, showLimits, showRecord, type Line } from "./show.js";
import { makeValue, showResult, type ShownValue } from "./values.js";

interface RunInput {
  module: string;
  function: string;
  typed?: ShownValue[];
  json?: unknown[];
  stdin?: string;
  env?: Record<string, string>;
  timeout_ms?: number;
  deadline_ms?: number;
}

function milliseconds(all: number): Duration {
  return { seconds: BigInt(Math.floor(all / 1000)), nanos: (all % 1000) * 1_000_000 };
}

/** Runs a function and gets one answer. */
export async function invoke(caller: Caller, input: RunInput): Promise<Line> {
  const request = InvokeRequest.create({
    module: input.module,
    function: input.function,
    arguments: input.json
      ? { $case: "jsonArguments", jsonArguments: input.json }
      : { $case: "typedArguments", typedArguments: { values: (input.typed ?? []).map(makeValue) } },
    stdin: Buffer.from(input.stdin ?? "", "hex"),
    env: input.env ?? {},
    limits: input.timeout_ms ? { timeout: milliseconds(input.timeout_ms), memoryBytes: 0n } : undefined,
  });
  const answer = await once<InvokeResponse>((done) => caller.executor.invoke(request, caller.metadata, done));
  return {
    execution: answer.execution,
    version: answer.version,
    outcome: answer.outcome,
    ...showResult(answer.result),
    failure: showFailure(answer.failure),
    stdout: answer.stdout.toString("hex"),
    stderr: answer.stderr.toString("hex"),
  };
}

/** Runs a function and reads its events up to the last. */
export async function execute(caller: Caller, input: RunInput): Promise<Line> {
  const request = ExecuteRequest.create({
    module: input.module,
    function: input.function,
    arguments: { $case: "typedArguments", typedArguments: { values: (input.typed ?? []).map(makeValue) } },
  });
  const sequences: string[] = [];
  const events: string[] = [];
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const saw: Line = {};
  const call = caller.executor.execute(request, caller.metadata, within(input.deadline_ms));
  for await (const { event } of call as AsyncIterable<ExecuteResponse>) {
    sequences.push(event!.sequence.toString());
    const what = event!.event!;
    events.push(what.$case);
    switch (what.$case) {
      case "started":
        Object.assign(saw, {
          execution: what.started.execution,
          version: what.started.version,
          sha256: what.started.sha256,
          limits: showLimits(what.started.limits!),
        });
        break;
      case "stdout":
        stdout.push(what.stdout);
        break;
      case "stderr":
        stderr.push(what.stderr);
        break;
      case "result":
        Object.assign(saw, {
          outcome: what.result.outcome,
          ...showResult(what.result.result),
          failure: showFailure(what.result.failure),
          stdout_bytes: what.result.stdoutBytes.toString(),
          stderr_bytes: what.result.stderrBytes.toString(),
        });
    }
  }
  return {
    ...saw,
    sequences,
    events,
    stdout: Buffer.concat(stdout).toString("hex"),
    stderr: Buffer.concat(stderr).toString("hex"),
  };
}

/** Starts a guest that never ends, and ends it with a second call. */
export async function cancel(caller: Caller, input: RunInput): Promise<Line> {
  const saw: Line = {};
  const request = ExecuteRequest.create({ module: input.module });
  const call = caller.executor.execute(request, caller.metadata);
  for await (const { event } of call as AsyncIterable<ExecuteResponse>) {
    const what = event!.event!;
    if (what.$case === "started") {
      const { execution: name } = what.started;
      const cancelled = await once<CancelExecutionResponse>((done) =>
        caller.executor.cancelExecution({ name }, caller.metadata, done),
      );
      saw.execution = name;
      saw.record = showRecord(cancelled.execution!);
    } else if (what.$case === "result") {
      saw.outcome = what.result.outcome;
    }
  }
  return saw;
}

/** Fetches one page after the other. */
export async function listExecutions(caller: Caller, input: { module: string; page_size: number }): Promise<Line> {
  const pages: Line[][] = [];
  const totalSizes: string[] = [];
  let pageToken = "";
  do {
    const request = ListExecutionsRequest.create({ module: input.module, pageSize: input.page_size, pageToken });
    const page = await once<ListExecutionsResponse>((done) =>
      caller.executor.listExecutions(request, caller.metadata, done),
    );
    pages.push(page.executions.map((each: Execution) => showRecord(each)));
    totalSizes.push(page.totalSize.toString());
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return { pages, total_sizes: totalSizes };
}
