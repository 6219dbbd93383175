import { CallSlots } from "../../../src/rpc/call-slots.js";

/** How many slots the caller gets before it is refused. */
function takeAll(slots: CallSlots, caller: string): (() => void)[] {
  const taken: (() => void)[] = [];
  for (let leave = slots.take(caller); leave !== undefined; leave = slots.take(caller)) {
    taken.push(leave);
  }
  return taken;
}

test("a caller that takes all it can leaves as many as it has", () => {
  const slots = new CallSlots(8);
  expect(takeAll(slots, "a")).toHaveLength(4);
  expect(takeAll(slots, "b")).toHaveLength(2);
});

test("whoever has none gets one, as long as one is free", () => {
  const slots = new CallSlots(3);
  expect(["a", "b", "c", "d"].map((caller) => slots.take(caller) !== undefined)).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test("a slot that is left is free again", () => {
  const slots = new CallSlots(4);
  const [leave] = takeAll(slots, "a");
  expect(slots.take("a")).toBeUndefined();
  leave?.();
  expect(slots.take("a")).toBeDefined();
});
