import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BodyLimits } from "../../../src/rpc/body-limits.js";
import { UploadReader } from "../../../src/rpc/upload-reader.js";
import { frame } from "../../support/rpc-requests.js";

const KIB = 1024;
const MESSAGE = frame(Buffer.alloc(100, "x"));

let upload: PassThrough;
let limits: BodyLimits;
beforeEach(() => {
  upload = new PassThrough();
  limits = new BodyLimits({ requestMaxBytes: 64 * KIB, bodiesMaxBytes: 200 * KIB });
});

function read(kind: { isOneMessage: boolean; isEnveloped: boolean }): AsyncIterator<Buffer> {
  const source = new EventEmitter();
  const reader = new UploadReader({ pieces: upload, source, limits, contentLength: undefined, ...kind });
  return reader[Symbol.asyncIterator]();
}

/** What the promise has given a few turns of the event loop from now. */
async function soon<T>(promise: Promise<T>): Promise<T | "nothing yet"> {
  let given: T | "nothing yet" = "nothing yet";
  promise.then(
    (value) => {
      given = value;
    },
    () => {},
  );
  for (let turns = 0; turns < 20; turns++) {
    await nextTurn();
  }
  return given;
}

test("a message that is all there is not handed on before the body has ended", async () => {
  const pieces = read({ isOneMessage: true, isEnveloped: true });
  const first = pieces.next();
  upload.write(MESSAGE.subarray(0, 50));
  upload.write(MESSAGE.subarray(50));
  expect(await soon(first)).toBe("nothing yet");
  upload.end();
  expect(await first).toEqual({ done: false, value: MESSAGE });
  expect(await pieces.next()).toEqual({ done: true, value: undefined });
  expect(limits.usedBytes).toBe(0);
});

test("a message that promises to be too long is handed on at once", async () => {
  const pieces = read({ isOneMessage: true, isEnveloped: true });
  const prefix = frame(Buffer.alloc(65 * KIB)).subarray(0, 5);
  upload.write(prefix);
  expect(await pieces.next()).toEqual({ done: false, value: prefix });
});

test("bytes without a length before them are handed on when they are too many", async () => {
  const pieces = read({ isOneMessage: true, isEnveloped: false });
  const first = pieces.next();
  upload.write(Buffer.alloc(40 * KIB, "x"));
  expect(await soon(first)).toBe("nothing yet");
  upload.write(Buffer.alloc(40 * KIB, "x"));
  expect(await first).toEqual({ done: false, value: Buffer.alloc(80 * KIB, "x") });
});

test("a stream of messages is handed on piece by piece", async () => {
  const pieces = read({ isOneMessage: false, isEnveloped: true });
  upload.write(MESSAGE);
  expect(await pieces.next()).toEqual({ done: false, value: MESSAGE });
});

test.each([true, false])("what there is no room for is refused (one message: %s)", async (isOneMessage) => {
  expect(limits.tryGrow(0, 190 * KIB)).toBe(true);
  const pieces = read({ isOneMessage, isEnveloped: true });
  upload.end(Buffer.alloc(20 * KIB));
  await expect(pieces.next()).rejects.toThrow("too many large requests are arriving");
  expect(limits.usedBytes).toBe(190 * KIB);
});
