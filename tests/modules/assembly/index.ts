// A guest of AssemblyScript: a function for each kind of value that its compiler writes into a .d.ts.

export function greet(name: string): string {
  return "Hello, " + name + "!";
}

export function maybe(text: string | null): string | null {
  return text;
}

export function reverse(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) out[i] = data[data.length - 1 - i];
  return out;
}

export function copy(data: ArrayBuffer): ArrayBuffer {
  return data.slice(0);
}

export function sum(values: Array<f64>): f64 {
  let total = 0.0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

export function double(values: Int32Array): Array<i32> {
  const out = new Array<i32>();
  for (let i = 0; i < values.length; i++) out.push(values[i] * 2);
  return out;
}

export function same(values: StaticArray<u16>): StaticArray<u16> {
  return values;
}

export function choose(flag: bool, small: u8): u32 {
  return flag ? small : u32.MAX_VALUE;
}

export function fail(text: string): string {
  throw new Error("no " + text);
}
