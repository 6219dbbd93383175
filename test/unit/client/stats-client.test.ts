import { createStatsClient } from "../../../src/client/stats-client.js";

test.each([
  ["localhost:3000", /must begin with http/],
  ["/api", /must be an absolute URL, not "\/api"/],
  ["ftp://localhost", /must begin with http:\/\/ or https:\/\//],
  ["http://user:secret@localhost", /must have no user or password/],
  ["http://localhost?x=1", /must have neither \? nor #/],
])("refuses %s as base URL and says why", (url, message) => {
  expect(() => createStatsClient(url)).toThrow(message);
  expect(() => createStatsClient(url)).not.toThrow(/secret/);
});

test("refuses a time limit of nothing", () => {
  expect(() => createStatsClient("http://localhost", { timeoutMs: 0 })).toThrow(/timeoutMs must be above 0/);
});
