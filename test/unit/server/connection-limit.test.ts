import { pino } from "pino";
import { connectionsWithin, DropLog, openFilesLimit } from "../../../src/server/connection-limit.js";
import { FakeClock } from "../../support/fake-clock.js";

function within(openFiles: number | undefined, wanted: number) {
  const lines: string[] = [];
  const logger = pino({}, { write: (line) => void lines.push(line) });
  return { connections: connectionsWithin(openFiles, wanted, logger), warnings: lines.length };
}

describe("connectionsWithin", () => {
  it("allows what is wanted where there are files enough, or no limit is known", () => {
    expect(within(10_256, 10_000)).toEqual({ connections: 10_000, warnings: 0 });
    expect(within(undefined, 10_000)).toEqual({ connections: 10_000, warnings: 0 });
  });

  it("keeps files for all else, and warns", () => {
    expect(within(4096, 10_000)).toEqual({ connections: 3840, warnings: 1 });
    expect(within(256, 10_000)).toEqual({ connections: 128, warnings: 1 });
  });
});

describe("openFilesLimit", () => {
  it("is a number that lets a process live, or unknown", () => {
    expect(openFilesLimit() ?? 1024).toBeGreaterThan(64);
  });
});

it("tells of the first drop at once, and of those behind it a minute later, whether or not others follow", async () => {
  const lines: { dropped: number; maxConnections: number }[] = [];
  const logger = pino({}, { write: (line) => void lines.push(JSON.parse(line)) });
  const clock = new FakeClock();
  const drops = new DropLog({ clock, logger, maxConnections: 7 });
  drops.add();
  drops.add();
  await clock.advance(59_999);
  drops.add();
  drops.sweep();
  expect(lines.map(({ dropped }) => dropped)).toEqual([1]);
  await clock.advance(1);
  drops.sweep();
  expect(lines.map(({ dropped }) => dropped)).toEqual([1, 2]);
  await clock.advance(60_000);
  drops.sweep();
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatchObject({ maxConnections: 7 });
});
