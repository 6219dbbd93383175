import { EventEmitter } from "node:events";
import { PassThrough } from "node:stream";
import { setImmediate as nextTurn } from "node:timers/promises";
import { BodyLimits } from "../../../src/rpc/limits.js";
import { RequestBody, UploadReader } from "../../../src/rpc/request-body.js";
import { frame } from "../../support/rpc-requests.js";

const KIB = 1024;

describe("RequestBody", () => {
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
});

describe("UploadReader", () => {
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
});
