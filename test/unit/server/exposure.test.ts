import { isLoopback } from "../../../src/server/exposure.js";

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
