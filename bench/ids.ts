/**
 * What an event id costs beside the `uuid` package: both make UUIDv7s into one buffer, by turns; prints the medians and
 * their ratio. What was made is looked at: each id must be above the one before.
 */
import { v7 } from "uuid";
import { EventIds } from "../src/event/event-id.js";
import { ID_BYTES } from "../src/event/uuid.js";
import { describeMachine } from "./support/report.js";
import { median } from "./support/statistics.js";

const IDS = Number(process.env.BENCH_IDS ?? 1_000_000);
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7);

const ids = new EventIds({ now: Date.now });
const makers = {
  ours: (target: Uint8Array) => ids.next(target),
  uuid: (target: Uint8Array) => void v7(undefined, target),
};

/** Ids per second. */
function rate(make: (target: Uint8Array) => void): number {
  const [even, odd] = [new Uint8Array(ID_BYTES), new Uint8Array(ID_BYTES)];
  const start = performance.now();
  for (let i = 0; i < IDS; i += 2) {
    make(even);
    make(odd);
  }
  const seconds = (performance.now() - start) / 1e3;
  if (Buffer.compare(even, odd) >= 0) {
    throw new Error("an id is not above the one before");
  }
  return IDS / seconds;
}

const rates = { ours: [] as number[], uuid: [] as number[] };
for (let round = 1; round <= ROUNDS; round++) {
  rates.ours.push(rate(makers.ours));
  rates.uuid.push(rate(makers.uuid));
}
const [ours, theirs] = [median(rates.ours), median(rates.uuid)];
const perSecond = (value: number) => Math.round(value).toLocaleString("en-US");
console.log(
  `ours ${perSecond(ours)} ids/s, uuid ${perSecond(theirs)} ids/s, ratio ${(ours / theirs).toFixed(1)}`,
);
console.log(`${ROUNDS} rounds by turns of ${perSecond(IDS)} ids; ${describeMachine()}`);
