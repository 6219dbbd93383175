import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import type { TestDatabase } from "../support/database.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

let database: TestDatabase;
let service: ServiceProcess;

beforeAll(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({ DATABASE_URL: database.url, PROPERTIES: "news,shop" });
});

// Whatever a caller sent: the service still answers, and still stops with its books in balance.
afterAll(async () => {
  const { status } = await push(service.url, { property: "news", section: 1, item: 1 });
  const ending = await service.stop();
  await database.close();
  expect(status).toBe(200);
  expect(ending).toEqual({ status: 0, signal: null });
});

interface BadRequest {
  readonly fieldViolations: readonly { readonly field: string }[];
}

/** The fields that google.rpc.BadRequest names. */
function fieldsAtFault(body: Record<string, unknown>): string[] {
  const details = body.details as { type: string; debug: BadRequest }[];
  const badRequest = details.find(({ type }) => type === "google.rpc.BadRequest");
  return badRequest?.debug.fieldViolations.map(({ field }) => field) ?? [];
}

const good = { property: "news", section: 1, item: 1 };
const notVersion7 = newEventId().replace(/^(.{14})7/, "$14");
const old = newEventId().replace(/^../, "00");

test.each([
  ["no property", { section: 1, item: 1 }, ["property"]],
  ["a property of 33 characters", { ...good, property: "a".repeat(33) }, ["property"]],
  ["a property with other characters", { ...good, property: "News!" }, ["property"]],
  ["a property with NUL", { ...good, property: "ne\0ws" }, ["property"]],
  ["a property that is not on the list", { ...good, property: "blog" }, ["property"]],
  ["section 0", { ...good, section: 0 }, ["section"]],
  ["item 0", { ...good, item: 0 }, ["item"]],
  ["an event_id that is no UUID", { ...good, event_id: "abc" }, ["event_id"]],
  ["an event_id that is a UUID of version 4", { ...good, event_id: notVersion7 }, ["event_id"]],
  ["an event_id of long ago", { ...good, event_id: old }, ["event_id"]],
  ["an ack mode that is not known", { ...good, ack: 9 }, ["ack"]],
  [
    "everything wrong at once",
    { property: "", section: 0, item: 0, event_id: "abc", ack: 9 },
    ["property", "section", "item", "event_id", "ack"],
  ],
])("%s is an invalid argument, and the answer names the field", async (_name, event, fields) => {
  const { status, body } = await push(service.url, event);
  expect(status).toBe(400);
  expect(body.code).toBe("invalid_argument");
  expect(fieldsAtFault(body)).toEqual(fields);
});

/** Posts raw bytes to Push. */
function post(
  body: string | Uint8Array,
  headers: Record<string, string>,
  path = "/stats.v1.StatsService/Push",
) {
  return fetch(service.url + path, { method: "POST", body, headers });
}

const json = { "content-type": "application/json" };

test.each([
  ["malformed JSON", () => post("{", json), 400],
  ["JSON of the wrong type", () => post('{"section":"many"}', json), 400],
  ["an enum name that is not known", () => post('{"ack":"ACK_MODE_MAYBE"}', json), 400],
  ["malformed protobuf", () => post(Buffer.from([0xff, 0xff]), { "content-type": "application/proto" }), 400],
  ["what is no gzip", () => post("{}", { ...json, "content-encoding": "gzip" }), 400],
  [
    "gzip that is cut",
    () => post(gzipSync("{}").subarray(0, -9), { ...json, "content-encoding": "gzip" }),
    400,
  ],
  ["what is no brotli", () => post("hello", { ...json, "content-encoding": "br" }), 400],
  ["a lone surrogate", () => post('{"property":"\\ud800"}', json), 400],
  ["a body over 1 MiB", () => post(`{"property":"${"a".repeat(2 ** 20)}"}`, json), 429],
  ["an unknown method", () => post("{}", json, "/stats.v1.StatsService/Pull"), 404],
  ["an unknown path", () => post("{}", json, "/"), 404],
  ["another content type", () => post("property=news", { "content-type": "text/plain" }), 415],
])("%s gets the protocol's own error and no stack trace", async (_name, send, expected) => {
  const response = await send();
  const text = await response.text();
  expect(response.status).toBe(expected);
  expect(text).not.toMatch(/\bat .*\.[jt]s|node_modules/);
});

test("GET is not allowed, and the answer says what is", async () => {
  const response = await fetch(`${service.url}/stats.v1.StatsService/Push`);
  expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
});

test("garbage on the port gets an HTTP error, not silence", async () => {
  const socket = connect(service.port, "127.0.0.1");
  socket.end("\x16\x03\x01garbage\r\n\r\n");
  let answer = "";
  for await (const part of socket) {
    answer += String(part);
  }
  expect(answer).toMatch(/^HTTP\/1\.1 400/);
});

/** Requests that follow each other on a connection, of every kind that the port knows; the last ones are cut off. */
function pipeline(n: number): string {
  const types = ["application/json", "application/proto", "application/grpc-web+proto", "text/plain"];
  return types
    .map((type, i) => {
      const body = (n + i) % 2 === 0 ? '{"property":"news","section":1,"id":1}' : "{";
      const encoding = (n + i) % 3 === 0 ? "content-encoding: gzip\r\n" : "";
      const head = `POST /stats.v1.StatsService/Push HTTP/1.1\r\nHost: x\r\ncontent-type: ${type}\r\n${encoding}`;
      return (n + i) % 5 === 0
        ? `${head}transfer-encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
        : `${head}content-length: ${body.length}\r\n\r\n${body}`;
    })
    .join("");
}

test("callers that leave in the middle of a request do no harm", async () => {
  const leave = (n: number) =>
    new Promise<void>((resolve) => {
      const bytes = pipeline(n);
      const socket = connect(service.port, "127.0.0.1");
      socket.on("error", () => undefined);
      socket.on("close", () => resolve());
      socket.write(bytes.slice(0, (n * 7) % bytes.length), () => {
        if (n % 2 === 0) {
          socket.resetAndDestroy();
        } else {
          socket.destroy();
        }
      });
    });
  for (let n = 0; n < 600; n += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => leave(n + i)));
  }
  expect(service.find("unexpected error; stopping in order")).toBeUndefined();
});
