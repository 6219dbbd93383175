import type { ProcessRecord } from "../../../src/buffer/jetstream/process-records.js";
import { addUpCluster, describeCluster } from "../../../src/commands/status-cluster.js";

function record(
  role: string,
  events: Record<string, number>,
  fields: Partial<ProcessRecord> = {},
): ProcessRecord {
  const toldAt = "2026-01-15T12:00:00.000Z";
  return {
    id: role,
    role,
    host: "h",
    pid: 1,
    version: "1",
    toldAt,
    hasStopped: false,
    events,
    queued: 0,
    ...fields,
  };
}

const EDGE = record("edge", { accepted: 100, forwarded: 95 }, { queued: 5 });
const WRITER = record("writer", { recovered: 60, inserted: 58, duplicates: 1, dead: 1 });
const STREAM = { messages: 4, rows: 35, bytes: 3_000, setAsideMessages: 0 };
const QUIET = { answering: [EDGE, WRITER], stopped: [], unknown: [], stream: STREAM };

test("what was accepted is in the stream, written, or waiting", () => {
  const books = addUpCluster(QUIET);
  expect(books).toMatchObject({ accepted: 100, inStream: 35, waiting: 5, repeated: 0, missing: 0 });
  const { inStream, inserted, duplicates, dead, setAside, waiting, repeated } = books;
  expect(inStream + inserted + duplicates + dead + setAside + waiting - repeated).toBe(books.accepted);
  expect(describeCluster(QUIET, books).at(-1)).toBe("books      no event is missing");
});

test("a message that came twice is told apart", () => {
  const again = record("writer", { recovered: 70, inserted: 58, duplicates: 11, dead: 1 });
  expect(addUpCluster({ ...QUIET, answering: [EDGE, again] })).toMatchObject({ repeated: 10, missing: 0 });
});

test("what left the stream and nobody took is missing", () => {
  const reading = { ...QUIET, stream: { ...STREAM, rows: 30 } };
  const books = addUpCluster(reading);
  expect(books).toMatchObject({ missing: 5, repeated: 0 });
  expect(describeCluster(reading, books).at(-1)).toMatch("5 EVENTS ARE MISSING");
});

test("a process that does not answer is named, and its last books count", () => {
  const reading = { ...QUIET, answering: [WRITER], unknown: [EDGE] };
  const books = addUpCluster(reading);
  expect(books.accepted).toBe(100);
  const lines = describeCluster(reading, books);
  expect(lines[0]).toBe("processes  1 writer, 0 stopped in order");
  expect(lines[1]).toMatch(/^UNKNOWN +edge h 1: no answer/);
  expect(lines.at(-1)).toMatch("NOT KNOWN");
});
