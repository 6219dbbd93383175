import { timestampMs } from "@bufbuild/protobuf/wkt";
import { readRange } from "../../../src/commands/counts/range.js";
import { toTable } from "../../../src/commands/counts/table.js";
import { findTimeZone, type TimeZone } from "../../../src/counts/time-zone.js";

const BERLIN = findTimeZone("Europe/Berlin") as TimeZone;
/** Two days after the clocks were put back. */
const NOW = Date.parse("2026-10-27T13:20:33Z");

function read(options: Parameters<typeof readRange>[0]) {
  const { startTime, endTime } = readRange(options, BERLIN, NOW);
  return [startTime, endTime].map((time) => time && new Date(timestampMs(time)).toISOString());
}

describe("a range on the command line", () => {
  it.each([
    [{}, "2026-10-26T14:00:00.000Z", "2026-10-27T14:00:00.000Z"],
    [{ last: "7d" }, "2026-10-20T22:00:00.000Z", "2026-10-27T23:00:00.000Z"],
    [{ last: "2w" }, "2026-10-18T22:00:00.000Z", "2026-11-01T23:00:00.000Z"],
    [{ last: "12m" }, "2025-10-31T23:00:00.000Z", "2026-10-31T23:00:00.000Z"],
    [{ from: "2026-10-25" }, "2026-10-24T22:00:00.000Z", undefined],
    [
      { from: "2026-10-25T04:00", to: "2026-10-26 04:00:30" },
      "2026-10-25T03:00:00.000Z",
      "2026-10-26T03:00:30.000Z",
    ],
    [
      { from: "2026-10-25T04:00Z", to: "2026-10-25T04:00-05:00" },
      "2026-10-25T04:00:00.000Z",
      "2026-10-25T09:00:00.000Z",
    ],
  ])("of %j is in the zone's own hours and days, the one that goes on included", (options, start, end) => {
    expect(read(options)).toEqual([start, end]);
  });

  it.each([
    { last: "7" },
    { last: "0d" },
    { last: "d" },
    { to: "2026-10-25" },
    { from: "2026-13-01" },
    { from: "25.10." },
  ])("of %j is none", (options) => {
    expect(() => read(options)).toThrow(expect.objectContaining({ name: "UsageError" }));
  });
});

describe("a table", () => {
  const rows = [
    { cells: ["a", "8"], value: 8, note: "" },
    { cells: ["bb", "10"], value: 16, note: "last" },
  ];

  it("has bars as long as the terminal is wide", () => {
    const lines = toTable(["", "count"], rows, { isTTY: true, columns: 40 });
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(40);
    const [short = 0, long = 0] = lines.slice(1).map((line) => line.split("█").length - 1);
    expect(long).toBeGreaterThanOrEqual(short * 2);
  });

  it("has none where it is not a terminal, and numbers stand to the right", () => {
    expect(toTable(["", "count"], rows, {})).toEqual(["    count", "a       8", "bb     10  last"]);
  });
});
