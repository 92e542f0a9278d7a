// The interface hibana:guest/text in JavaScript.
class Tally {
  constructor(start) {
    this.count = start;
  }
  add(words) {
    this.count += words.length;
    return this.count;
  }
  feed(data) {
    this.count += data.length;
    return this.count;
  }
  static join(all) {
    return new Tally(all.reduce((sum, each) => sum + each.count, 0));
  }
}

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
  Tally,
  tallies(starts) {
    return starts.map((start) => new Tally(start));
  },
};
