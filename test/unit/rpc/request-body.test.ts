import { EventEmitter } from "node:events";
import { BodyLimits } from "../../../src/rpc/body-limits.js";
import { RequestBody } from "../../../src/rpc/request-body.js";

const KIB = 1024;

let limits: BodyLimits;
let source: EventEmitter;
beforeEach(() => {
  limits = new BodyLimits({ requestMaxBytes: 64 * KIB, bodiesMaxBytes: 100 * KIB });
  source = new EventEmitter();
});

function bodyOf(contentLength?: number): RequestBody {
  return new RequestBody(source, limits, contentLength?.toString());
}

function add(body: RequestBody, ...pieces: readonly number[]): boolean[] {
  return pieces.map((length) => body.add(Buffer.alloc(length, "x")));
}

test("a small body is not counted", () => {
  const body = bodyOf();
  add(body, 100, 100);
  expect(limits.usedBytes).toBe(0);
  expect(body.take()).toEqual(Buffer.alloc(200, "x"));
});

test("a large first piece is counted, although more may never come", () => {
  add(bodyOf(), 60 * KIB);
  expect(limits.usedBytes).toBe(60 * KIB);
});

test("it never takes more room than its Content-Length says", () => {
  const body = bodyOf(60 * KIB);
  add(body, 32 * KIB, 20 * KIB);
  expect(limits.usedBytes).toBe(60 * KIB);
  add(body, 8 * KIB);
  expect(limits.usedBytes).toBe(60 * KIB);
  expect(body.take()).toHaveLength(60 * KIB);
});

test("without a Content-Length it takes no more room than the longest message", () => {
  const body = bodyOf();
  add(body, 40 * KIB, 20 * KIB);
  expect(limits.usedBytes).toBe(64 * KIB + 5);
  expect(body.take()).toHaveLength(60 * KIB);
});

test("a body that is longer than its Content-Length is taken whole", () => {
  const body = bodyOf(10);
  add(body, 8, 8, 8);
  expect(body.take()).toEqual(Buffer.alloc(24, "x"));
});

test("a piece that there is no room for is not added, and what came before stays", () => {
  add(bodyOf(), 60 * KIB);
  const other = bodyOf();
  expect(add(other, 2 * KIB, 60 * KIB)).toEqual([true, false]);
  expect(other.take()).toEqual(Buffer.alloc(2 * KIB, "x"));
  expect(limits.usedBytes).toBe(60 * KIB);
});

test("what is taken is no longer counted, nor kept", () => {
  const body = bodyOf();
  add(body, 60 * KIB);
  expect(body.take()).toHaveLength(60 * KIB);
  expect(limits.usedBytes).toBe(0);
  expect(body.length).toBe(0);
});

test("when the request closes, what has come is neither counted nor kept", () => {
  const body = bodyOf();
  add(body, 60 * KIB);
  source.emit("close");
  expect(limits.usedBytes).toBe(0);
  expect(body.length).toBe(0);
});

test("a small piece does not keep all that was read with it", () => {
  const read = Buffer.alloc(64 * KIB, "x");
  const body = bodyOf();
  body.add(read.subarray(60 * KIB, 60 * KIB + 100));
  const bytes = body.take();
  expect(bytes).toEqual(Buffer.alloc(100, "x"));
  expect(bytes.buffer.byteLength).toBe(100);
});

test("small pieces together keep no more than the room that was made for them", () => {
  const body = bodyOf();
  add(body, 100, 100);
  expect(body.take().buffer.byteLength).toBe(KIB);
});
