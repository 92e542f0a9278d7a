// Who a step speaks for: a connection and a token.
import { credentials, Metadata, type CallOptions, type ServiceError } from "@grpc/grpc-js";

import { ExecutorClient } from "./gen/hibana/v1/executor.js";
import { ModuleRegistryClient } from "./gen/hibana/v1/module_registry.js";

export interface Caller {
  registry: ModuleRegistryClient;
  executor: ExecutorClient;
  metadata: Metadata;
  close(): void;
}

export function connect(address: string, token?: string): Caller {
  const registry = new ModuleRegistryClient(address, credentials.createInsecure());
  const executor = new ExecutorClient(address, credentials.createInsecure());
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return {
    registry,
    executor,
    metadata,
    close() {
      registry.close();
      executor.close();
    },
  };
}

export type Callback<T> = (error: ServiceError | null, answer: T) => void;

/** Makes a promise of a call that answers once. */
export function once<T>(start: (callback: Callback<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, answer) => (error ? reject(error) : resolve(answer)));
  });
}

/** Makes a call end when so many milliseconds have passed. */
export function within(milliseconds?: number): CallOptions {
  return milliseconds === undefined ? {} : { deadline: Date.now() + milliseconds };
}
