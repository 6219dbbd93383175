import { createServer, type ListenOptions, type Server } from "node:net";
import { pino } from "pino";
import { isLoopback, listen, warnIfExposed } from "../../../src/server/listen.js";

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

/** What is said of a service with tokens, on a Node with these versions. */
function warnings(host: string, node: string, nghttp2: string): string[] {
  const lines: string[] = [];
  const logger = pino({}, { write: (line) => void lines.push(JSON.parse(line).msg) });
  warnIfExposed({ host, authTokensFile: "tokens.json" }, logger, { node, nghttp2 });
  return lines;
}

test.each([
  ["20.20.2", "1.61.0"],
  ["22.23.3", "1.69.0"],
  ["24.0.0", "1.68.0"],
  ["24.0.0", "0.99.99"],
])("that others may crash a Node %s with nghttp2 %s is said", (node, nghttp2) => {
  expect(warnings("0.0.0.0", node, nghttp2)).toEqual([expect.stringContaining("use the latest 24 or newer")]);
});

test.each([
  ["24.21.0", "1.68.1"],
  ["24.21.0", "1.69.0"],
  ["26.10.0", "1.70.0"],
  ["26.10.0", "2.0.0"],
])("a Node %s with nghttp2 %s is sound", (node, nghttp2) => {
  expect(warnings("0.0.0.0", node, nghttp2)).toEqual([]);
});

test("a service that only this machine reaches says nothing of it", () => {
  expect(warnings("127.0.0.1", "20.20.2", "1.61.0")).toEqual([]);
});

test("all addresses are those of IPv4 where there is no IPv6", async () => {
  const server = createServer();
  const listenAnywhere = server.listen.bind(server);
  // As the system answers where the kernel was started without IPv6.
  server.listen = ((options: ListenOptions) => {
    if (options.host === "::") {
      const fault = Object.assign(new Error("address family not supported"), { code: "EAFNOSUPPORT" });
      process.nextTick(() => server.emit("error", fault));
      return server;
    }
    return listenAnywhere(options);
  }) as Server["listen"];
  const target = { host: "::", port: 0, hostSetting: "HOST", portSetting: "PORT" };
  expect(await listen(server, target)).toMatchObject({ host: "0.0.0.0" });
  server.close();
});
