/** Puts a capital in front of every word. */
export function title(text: string): string {
  const words = text.trim().split(" ");
  for (let index = 0; index < words.length; index++) {
    const word = words[index];
    words[index] = word.charAt(0).toUpperCase() + word.substring(1).toLowerCase();
  }
  return words.join(" ");
}

/** Finds the first address of a web page in a text; null where there is none. */
export function link(text: string): string | null {
  const start = text.indexOf("https://");
  if (start < 0) return null;
  const end = text.indexOf(" ", start);
  return end < 0 ? text.substring(start) : text.substring(start, end);
}

/** Averages each value with those before it, as many as `width` tells. */
export function smooth(values: Float64Array, width: i32): Float64Array {
  const smoothed = new Float64Array(values.length);
  let sum = 0.0;
  for (let index = 0; index < values.length; index++) {
    sum += values[index];
    if (index >= width) sum -= values[index - width];
    smoothed[index] = sum / f64(min(index + 1, width));
  }
  return smoothed;
}
