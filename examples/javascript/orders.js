/** Records are objects, lists are arrays, and an option that is none is undefined. */
export function bills(orders) {
  const found = new Map();
  for (const { customer, item, cents, count } of orders) {
    const bill = found.get(customer) ?? { customer, items: [], cents: 0 };
    bill.items.push(`${count} x ${item}`);
    bill.cents += cents * count;
    bill.note = bill.cents >= 10000 ? "free delivery" : undefined;
    found.set(customer, bill);
  }
  return [...found.values()].sort((a, b) => b.cents - a.cents);
}
