import { pino } from "pino";
import { isLoopback, warnIfExposed } from "../../../src/server/exposure.js";

test.each(["localhost", "127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])(
  "only this machine reaches %s",
  (host) => {
    expect(isLoopback(host)).toBe(true);
  },
);

test.each([
  "0.0.0.0",
  "::",
  "192.0.2.7",
  "2001:db8::1",
  "::ffff:192.0.2.7",
  "stats.example",
  "localhost.example",
])("others may reach %s", (host) => {
  expect(isLoopback(host)).toBe(false);
});

/** What is said of a service with tokens, on a Node with this version of nghttp2. */
function warnings(host: string, nghttp2: string): string[] {
  const lines: string[] = [];
  const logger = pino({}, { write: (line) => void lines.push(JSON.parse(line).msg) });
  warnIfExposed({ host, authTokensFile: "tokens.json" }, logger, nghttp2);
  return lines;
}

test.each(["1.61.0", "1.68.0", "0.99.99"])(
  "that others may crash a Node with nghttp2 %s is said",
  (version) => {
    expect(warnings("0.0.0.0", version)).toEqual([expect.stringContaining("CVE-2026-27135")]);
  },
);

test.each(["1.68.1", "1.69.0", "1.70.0", "2.0.0"])("a Node with nghttp2 %s is sound", (version) => {
  expect(warnings("0.0.0.0", version)).toEqual([]);
});

test("a service that only this machine reaches says nothing of it", () => {
  expect(warnings("127.0.0.1", "1.61.0")).toEqual([]);
});
