import type { ServiceStatus } from "../../../src/telemetry/service-status.js";
import {
  addSample,
  axisTimes,
  chartTop,
  HISTORY_MS,
  linePath,
  percentOf,
  type Sample,
  silentSince,
} from "../../../web/status/samples.js";
import { aStatus } from "../../support/status.js";

const NOW = Date.UTC(2026, 2, 3, 12);
const NO_EVENTS = { recovered: 0, duplicates: 0, dead: 0, buffered: 0, forwarded: 0, setAside: 0 };

/** The status of a service that runs since NOW, `seconds` later. */
function statusAt(seconds: number, accepted: number, fields: Partial<ServiceStatus> = {}): ServiceStatus {
  const events = { ...NO_EVENTS, accepted, inserted: accepted };
  return aStatus({ uptimeMs: seconds * 1000, events, ...fields });
}

/** Samples of counts that were read every two seconds. */
function samplesOf(...accepted: number[]): Sample[] {
  return accepted.reduce<Sample[]>(
    (samples, count, i) => addSample(samples, statusAt(2 * i, count), NOW + 2_000 * i),
    [],
  );
}

describe("addSample", () => {
  it("knows no rate at first, then the average over the last ten seconds", () => {
    const rates = samplesOf(0, 100, 200, 300, 400, 500, 500, 500).map(({ acceptedRate }) => acceptedRate);
    expect(rates).toEqual([null, 50, 50, 50, 50, 50, 40, 30]);
  });

  it("has a rate for each of the counts", () => {
    const events = { ...NO_EVENTS, accepted: 60, inserted: 40, duplicates: 14, dead: 6 };
    const samples = addSample(samplesOf(0), statusAt(2, 0, { events }), NOW + 2_000);
    expect(samples.at(-1)).toMatchObject({
      acceptedRate: 30,
      insertedRate: 20,
      duplicatesRate: 7,
      deadRate: 3,
    });
  });

  it("knows no rate after a restart, until it has read the new counts twice", () => {
    const before = samplesOf(1_000, 1_000, 1_000);
    const restarted = addSample(before, statusAt(1, 2_000), NOW + 6_000);
    const after = addSample(restarted, statusAt(3, 2_010), NOW + 8_000);
    expect(after.slice(-2).map(({ acceptedRate }) => acceptedRate)).toEqual([null, 5]);
  });

  it("knows no rate after a worker has begun to count anew", () => {
    const samples = addSample(samplesOf(1_000), statusAt(2, 500), NOW + 2_000);
    expect(samples.at(-1)?.acceptedRate).toBeNull();
  });

  it("takes what a worker counts that was silent for a moment for no rate", () => {
    const all = addSample([], statusAt(2, 2_000, { processes: 2 }), NOW);
    const one = addSample(all, statusAt(6, 1_000), NOW + 4_000);
    const again = addSample(one, statusAt(14, 2_030, { processes: 2 }), NOW + 12_000);
    const after = addSample(again, statusAt(16, 2_040, { processes: 2 }), NOW + 14_000);
    expect(after.map(({ acceptedRate }) => acceptedRate)).toEqual([null, null, null, 5]);
  });

  it("knows no rate after a pause in which nothing was read", () => {
    const samples = addSample(samplesOf(1_000), statusAt(60, 2_000), NOW + 60_000);
    expect(samples.at(-1)?.acceptedRate).toBeNull();
  });

  it("keeps ten minutes", () => {
    const samples = addSample(samplesOf(1, 2, 3), statusAt(602, 4), NOW + 2_000 + HISTORY_MS);
    expect(samples.map(({ status }) => status.events.accepted)).toEqual([2, 3, 4]);
  });

  it("forgets what the future holds when the clock was set back", () => {
    const samples = addSample(samplesOf(1, 2, 3), statusAt(6, 4), NOW + 1_000);
    expect(samples.map(({ status }) => status.events.accepted)).toEqual([1, 4]);
  });
});

describe("linePath", () => {
  const rows = (...values: number[]) =>
    samplesOf(...values.map(() => 0)).map((sample, i) => ({ ...sample, bufferRows: values[i] ?? 0 }));

  it("ends at the right edge, with the top and the bottom as edges", () => {
    expect(linePath(rows(0, 50, 100), "bufferRows", 100)).toBe("M99.33 100.00L99.67 50.00L100.00 0.00");
  });

  it("is broken where a value is not known", () => {
    const samples = [1, null, 1, 1].map((acceptedRate, i) => ({
      ...(rows(0, 0, 0, 0)[i] as Sample),
      acceptedRate,
    }));
    expect(linePath(samples, "acceptedRate", 1)).toMatch(/^M[\d. ]+M[\d. ]+L[\d. ]+$/);
  });

  it("is broken where nothing was read", () => {
    const samples = addSample(rows(1, 1), statusAt(60, 0), NOW + 60_000);
    expect(linePath(samples, "bufferRows", 1)).toMatch(/^M[\d. ]+L[\d. ]+M[\d. ]+$/);
  });

  it("is nothing without samples", () => {
    expect(linePath([], "bufferRows", 1)).toBe("");
  });
});

test.each([
  [0, 1],
  [1, 1],
  [3, 5],
  [12, 20],
  [50, 50],
  [51, 100],
  [12_345, 20_000],
])("a chart whose highest value is %d has room up to %d", (highest, top) => {
  const samples = samplesOf(0, 0).map((sample) => ({ ...sample, bufferRows: highest }));
  expect(chartTop(samples, ["bufferRows", "acceptedRate"])).toBe(top);
});

test("no room is no percentage", () => {
  expect([
    percentOf({ bytes: 1, maxBytes: 4 }),
    percentOf({ bytes: 0, maxBytes: 0 }),
    percentOf(null),
  ]).toEqual([25, 0, 0]);
});

test("PostgreSQL is silent since the first sample of those in which it has not answered, up to now", () => {
  const silent = { ok: false, reason: "no answer within 2 s" } as const;
  const good = { ok: true, daysAhead: 7, rowsInDefault: 0, deadLetters: 0, clockAheadMs: 0 } as const;
  const samples = [silent, good, silent, silent].reduce<Sample[]>(
    (all, database, i) => addSample(all, statusAt(2 * i, 0, { database }), NOW + 2_000 * i),
    [],
  );
  expect(silentSince(samples)).toBe(NOW + 4_000);
  expect(silentSince(samples.slice(0, 2))).toBeNull();
  expect(silentSince([])).toBeNull();
});

test("the time axis ends with the newest sample", () => {
  const samples = samplesOf(0, 0);
  expect(axisTimes(samples)).toEqual([NOW + 2_000 - HISTORY_MS, NOW + 2_000 - HISTORY_MS / 2, NOW + 2_000]);
});
