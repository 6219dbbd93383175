import {
  forgetEndlessTimeout,
  readConnectTimeout,
  readGrpcTimeout,
} from "../../../src/rpc/protocol-options.js";

const TIMER_MAX_MS = 2 ** 31 - 1;

test.each([
  [undefined, undefined],
  ["0", 0],
  ["60000", 60_000],
  [String(TIMER_MAX_MS), TIMER_MAX_MS],
  [String(TIMER_MAX_MS + 1), undefined],
  ["9999999999", undefined],
  ["10000000000", "malformed"],
  ["-1", "malformed"],
  ["", "malformed"],
])("Connect-Timeout-Ms %s is %s", (value, expected) => {
  expect(readConnectTimeout(value)).toBe(expected);
});

test.each([
  [undefined, undefined],
  ["0H", 0],
  ["5m", 5],
  ["3S", 3000],
  ["99999999H", undefined],
  ["5", "malformed"],
  ["999999999m", "malformed"],
])("Grpc-Timeout %s is %s", (value, expected) => {
  expect(readGrpcTimeout(value)).toBe(expected);
});

test("forgets only what no timer can keep", () => {
  const header = new Headers({ "Connect-Timeout-Ms": "9999999999", "Grpc-Timeout": "99999999H" });
  forgetEndlessTimeout(header);
  expect([...header.keys()]).toEqual([]);
  const kept = new Headers({ "Connect-Timeout-Ms": "5", "Grpc-Timeout": "nonsense" });
  forgetEndlessTimeout(kept);
  expect([...kept.keys()]).toHaveLength(2);
});
