// Runs the script of tests/interop against a server and prints what it decoded, one JSON line a step.
import { readFileSync } from "node:fs";

import { status as Code, type ServiceError } from "@grpc/grpc-js";

import { connect, type Caller } from "./caller.js";
import { decode, showRefusal } from "./errors.js";
import { cancel, execute, invoke, listExecutions } from "./executor.js";
import { create, download, getModule, listModules, updateModule, upload, uploadUnfinished } from "./registry.js";
import type { Line } from "./show.js";

interface Step {
  step: string;
  call: string;
  input: { as?: string };
}

type Call = (caller: Caller, input: any) => Promise<Line>;

const calls: Record<string, Call> = {
  upload,
  "upload-unfinished": uploadUnfinished,
  create,
  "list-modules": listModules,
  "get-module": getModule,
  "update-module": updateModule,
  download,
  invoke,
  execute,
  cancel,
  "list-executions": listExecutions,
  decode: async (_caller, input) => decode(input),
};

const { HIBANA_ADDRESS, HIBANA_TOKEN, HIBANA_FULL_ADDRESS, HIBANA_FULL_TOKEN } = process.env;
const callers: Record<string, Caller> = {
  user: connect(HIBANA_ADDRESS!, HIBANA_TOKEN),
  nobody: connect(HIBANA_ADDRESS!),
  latecomer: connect(HIBANA_FULL_ADDRESS!, HIBANA_FULL_TOKEN),
};

function isRefusal(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && typeof error.code === "number" && error.code in Code;
}

// A refusal of the service is something to print, any other error ends the program.
async function run({ call, input }: Step): Promise<Line> {
  try {
    return await calls[call](callers[input.as ?? "user"], input);
  } catch (error) {
    if (isRefusal(error)) return { status: showRefusal(error) };
    throw error;
  }
}

const steps: Step[] = JSON.parse(readFileSync(process.argv[2], "utf8"));
for (const step of steps) {
  console.log(JSON.stringify({ step: step.step, saw: await run(step) }));
}
for (const caller of Object.values(callers)) caller.close();
