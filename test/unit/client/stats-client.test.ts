import { inspect } from "node:util";
import { ConnectError } from "@connectrpc/connect";
import { createStatsClient } from "../../../client/src/stats-client.js";

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

test.each([
  ["token", { token: "abc.secret\nsecond" }],
  ["headers: x-key", { headers: { "x-key": "abc.secret\nsecond" } }],
])("refuses %s that no header can carry, and does not repeat it", (name, options) => {
  const make = () => createStatsClient("http://localhost", options);
  expect(make).toThrow(new TypeError(`${name} has characters that a header cannot carry`));
});

test("does not repeat a token that it is given for a call and that no header can carry", async () => {
  const client = createStatsClient("http://localhost", { token: () => "abc.secret\nsecond" });
  const call = client.push({ property: "news", section: 1, item: 1 });
  const error = await call.catch((reason: unknown) => ConnectError.from(reason));
  expect(error).toMatchObject({ message: expect.stringContaining("token has characters") });
  expect(inspect(error, { depth: 10 })).not.toContain("secret");
});
