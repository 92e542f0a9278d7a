// The interface hibana:guest/text in JavaScript.
export const text = {
  greet(name) {
    return `Hello, ${name}!`;
  },
  count(words) {
    const found = new Map();
    for (const word of words) found.set(word, (found.get(word) ?? 0) + 1);
    return [...found].map(([word, count]) => ({ word, count }));
  },
  turn(data) {
    return Uint8Array.from(data).reverse();
  },
  parse(number) {
    if (!/^-?[0-9]+$/.test(number)) throw `no number: ${number}`;
    return Number(number);
  },
};
