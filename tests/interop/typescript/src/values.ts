// Typed values as the script and the lines spell them: decimal texts, the bits of floats, `nan`.
import type { FunctionResult } from "./gen/hibana/v1/execution.js";
import type { Value } from "./gen/hibana/v1/value.js";
import type { Line } from "./show.js";

export interface ShownValue {
  kind: string;
  value: string;
}

export function makeValue({ kind, value }: ShownValue): Value {
  switch (kind) {
    case "s32":
      return { kind: { $case: "s32Value", s32Value: Number(value) } };
    case "u32":
      return { kind: { $case: "u32Value", u32Value: Number(value) } };
    case "s64":
      return { kind: { $case: "s64Value", s64Value: BigInt(value) } };
    case "u64":
      return { kind: { $case: "u64Value", u64Value: BigInt(value) } };
    case "f32":
      return { kind: { $case: "f32Value", f32Value: value === "nan" ? NaN : Buffer.from(value, "hex").readFloatBE() } };
    case "f64":
      return { kind: { $case: "f64Value", f64Value: value === "nan" ? NaN : Buffer.from(value, "hex").readDoubleBE() } };
    default:
      throw new Error(`no such kind: ${kind}`);
  }
}

function showValue({ kind }: Value): ShownValue {
  switch (kind?.$case) {
    case "s32Value":
      return { kind: "s32", value: kind.s32Value.toString() };
    case "u32Value":
      return { kind: "u32", value: kind.u32Value.toString() };
    case "s64Value":
      return { kind: "s64", value: kind.s64Value.toString() };
    case "u64Value":
      return { kind: "u64", value: kind.u64Value.toString() };
    case "f32Value":
      return { kind: "f32", value: bits(kind.f32Value, 4) };
    case "f64Value":
      return { kind: "f64", value: bits(kind.f64Value, 8) };
    default:
      return { kind: String(kind?.$case), value: "" };
  }
}

function bits(number: number, size: 4 | 8): string {
  if (Number.isNaN(number)) return "nan";
  const buffer = Buffer.alloc(size);
  if (size === 4) buffer.writeFloatBE(number);
  else buffer.writeDoubleBE(number);
  return buffer.toString("hex");
}

/** Shows what a function returned, in the form in which it came. */
export function showResult(result: FunctionResult | undefined): Line {
  const form = result?.form;
  return {
    typed: form?.$case === "typed" ? form.typed.values.map(showValue) : null,
    json: form?.$case === "json" ? form.json : null,
  };
}
