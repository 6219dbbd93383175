import fc from "fast-check";
import { DAY_MS, dayPartition, describePartitions } from "../../../src/postgres/partitions.js";
import { anyTimeMs, anyUuidv7 } from "../../support/arbitraries.js";
import { uuidv7At } from "../../support/encoded.js";

describe("dayPartition", () => {
  it("is named after the day in UTC", () => {
    expect(dayPartition(Date.UTC(2026, 10, 24)).name).toBe("incoming_20261124");
    expect(dayPartition(Date.UTC(2026, 10, 25) - 1).name).toBe("incoming_20261124");
    expect(dayPartition(Date.UTC(2026, 10, 25)).name).toBe("incoming_20261125");
  });

  it("holds each UUIDv7 made on its day, and no other", () => {
    const idAtTime = anyTimeMs.chain((timeMs) =>
      anyUuidv7(fc.constant(timeMs)).map((id) => ({ timeMs, id })),
    );
    fc.assert(
      fc.property(idAtTime, ({ timeMs, id }) => {
        // Lower-case UUIDs of one length sort as PostgreSQL sorts them: byte by byte.
        const holds = ({ from, to }: { from: string; to: string }) => from <= id && id < to;
        expect(holds(dayPartition(timeMs))).toBe(true);
        expect(holds(dayPartition(timeMs + DAY_MS))).toBe(false);
        if (timeMs >= DAY_MS) {
          expect(holds(dayPartition(timeMs - DAY_MS))).toBe(false);
        }
      }),
    );
  });

  it("changes at midnight exactly", () => {
    const midnight = Date.UTC(2028, 1, 29);
    const before = dayPartition(midnight - 1);
    const after = dayPartition(midnight);
    expect(uuidv7At(midnight - 1, 2 ** 48 - 1) < before.to).toBe(true);
    expect(uuidv7At(midnight, 0) >= after.from).toBe(true);
  });

  it("adjoins its neighbours without a gap or an overlap", () => {
    fc.assert(
      fc.property(anyTimeMs, (timeMs) => {
        const { from, to } = dayPartition(timeMs);
        expect(dayPartition(timeMs + DAY_MS).from).toBe(to);
        expect(from < to).toBe(true);
      }),
    );
  });
});

describe("describePartitions", () => {
  it("names a run of days by its first and last, and each other day by itself", () => {
    const days = ["20261129", "20261130", "20261201", "20261203", "20241231", "20250101"];
    expect(
      describePartitions([...days.map((day) => `incoming_${day}`), "incoming_dead_20261129", "other"]),
    ).toEqual([
      "incoming_20241231 to incoming_20250101",
      "incoming_20261129 to incoming_20261201",
      "incoming_20261203",
      "incoming_dead_20261129",
      "other",
    ]);
  });
});
