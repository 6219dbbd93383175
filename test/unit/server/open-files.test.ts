import { pino } from "pino";
import { connectionsWithin, openFilesLimit } from "../../../src/server/open-files.js";

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
