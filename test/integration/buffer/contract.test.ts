import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { type BatchBuffer, type BufferedBatch, BufferFullError } from "../../../src/buffer/buffer.js";
import { JetStreamBuffer } from "../../../src/buffer/jetstream/jetstream-buffer.js";
import { parseNatsUrl } from "../../../src/buffer/jetstream/nats-url.js";
import { Spool } from "../../../src/buffer/spool/spool.js";
import type { EncodedBatch } from "../../../src/event/tuple-codec.js";
import { systemClock } from "../../../src/util/clock.js";
import { encodeBatch, rowsAt } from "../../support/encoded.js";
import { NatsServers } from "../../support/nats-server.js";
import { describeWith, NATS_SERVER } from "../../support/needs.js";

/** Of one kind, with a place that lasts from one to the next. */
interface Kind {
  /** Before the first test. */
  setUp(): Promise<void>;
  tearDown(): Promise<void>;
  /** A place where nothing is stored yet. */
  newPlace(): Promise<void>;
  /** A buffer at the place. */
  make(maxBytes: number): BatchBuffer;
}

const LOGGER = pino({ level: "silent" });
const ROOM = 64 * 2 ** 20;
const DAY = Date.UTC(2026, 0, 15, 12);

let next = 0;
/** Different batches have different rows. */
function batchOf(rows: number): EncodedBatch {
  next += 1;
  return encodeBatch(rowsAt(DAY + next, rows), 1_000);
}

/** As `toEqual`, which takes seconds for megabytes. */
function expectSame(actual: Buffer, ...batches: readonly EncodedBatch[]): void {
  expect(actual.equals(Buffer.concat(batches.map(bytesOf)))).toBe(true);
}

function bytesOf(batch: EncodedBatch | undefined): Buffer {
  return Buffer.concat(batch?.chunks ?? []);
}

/** The oldest batch, as soon as there is one. */
async function whenThere(buffer: BatchBuffer): Promise<BufferedBatch> {
  for (;;) {
    const told = new Promise<void>((resolve) => buffer.onAvailable(resolve));
    const batch = buffer.oldest();
    if (batch !== undefined) {
      return batch;
    }
    await told;
  }
}

function holdsTheContract(kind: Kind): void {
  const opened: BatchBuffer[] = [];

  async function open(maxBytes = ROOM): Promise<BatchBuffer> {
    const buffer = kind.make(maxBytes);
    opened.push(buffer);
    await buffer.open();
    return buffer;
  }

  /** Takes out batches until `rows` rows have come, and gives their bytes. */
  async function drain(buffer: BatchBuffer, rows: number): Promise<Buffer> {
    const taken: Buffer[] = [];
    for (let left = rows; left > 0; ) {
      const batch = await whenThere(buffer);
      const read = await buffer.read(batch);
      taken.push(bytesOf(read));
      await buffer.remove(batch);
      left -= batch.rows;
    }
    return Buffer.concat(taken);
  }

  beforeAll(() => kind.setUp());
  afterAll(() => kind.tearDown());
  beforeEach(() => kind.newPlace());
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((buffer) => buffer.close()));
  });

  it("gives back the very bytes, and the number of rows before they are read", async () => {
    const buffer = await open();
    const batch = batchOf(30);
    await buffer.store(batch);
    const there = await whenThere(buffer);
    expect(there.rows).toBe(30);
    const read = await buffer.read(there);
    expect(read?.rows).toBe(30);
    expectSame(bytesOf(read), batch);
  });

  it("gives the same batch until it is removed", async () => {
    const buffer = await open();
    await buffer.store(batchOf(2));
    const first = await whenThere(buffer);
    await buffer.read(first);
    expect(buffer.oldest()).toBe(first);
    await buffer.remove(first);
    expect(buffer.oldest()).toBeUndefined();
  });

  it("gives what was stored first before what was stored later", async () => {
    const buffer = await open();
    const batches = [3, 1, 2].map(batchOf);
    for (const batch of batches) {
      await buffer.store(batch);
    }
    expectSame(await drain(buffer, 6), ...batches);
  });

  it("says when a batch has come, after there was none", async () => {
    const buffer = await open();
    expect(buffer.oldest()).toBeUndefined();
    const there = whenThere(buffer);
    await buffer.store(batchOf(4));
    expect((await there).rows).toBe(4);
  });

  it("keeps what was not removed for the next who opens it", async () => {
    const first = await open();
    const [gone, kept] = [batchOf(7), batchOf(5)];
    await first.store(gone);
    expectSame(await drain(first, 7), gone);
    await first.store(kept);
    const held = await whenThere(first);
    await first.read(held);
    await first.close();
    const second = await open();
    expectSame(await drain(second, 5), kept);
  });

  it("has a batch again after a pause", async () => {
    const buffer = await open();
    const batch = batchOf(3);
    await buffer.store(batch);
    await buffer.read(await whenThere(buffer));
    buffer.pause();
    expectSame(await drain(buffer, 3), batch);
  });

  it("refuses a batch that has no room, and keeps nothing of it", async () => {
    const buffer = await open(16_384);
    const small = batchOf(10);
    await buffer.store(small);
    const large = batchOf(400);
    expect(large.bytes).toBeGreaterThan(buffer.freeBytes);
    await expect(buffer.store(large)).rejects.toBeInstanceOf(BufferFullError);
    await buffer.store(batchOf(10));
    expect(buffer.bytes).toBeLessThanOrEqual(buffer.maxBytes);
    expect(buffer.isWritable).toBe(true);
    await drain(buffer, 20);
    expect(buffer.oldest()).toBeUndefined();
  });

  it("keeps a batch that is larger than a message of NATS may be", async () => {
    const buffer = await open();
    const batch = batchOf(40_000);
    expect(batch.bytes).toBeGreaterThan(2 * 2 ** 20);
    await buffer.store(batch);
    expectSame(await drain(buffer, 40_000), batch);
  });

  it("stores nothing before it is opened nor after it is closed, and is closed twice without harm", async () => {
    const buffer = kind.make(ROOM);
    await expect(buffer.store(batchOf(1))).rejects.toThrow();
    await buffer.open();
    await buffer.close();
    await buffer.close();
    await expect(buffer.store(batchOf(1))).rejects.toThrow();
    const other = await open();
    expect(other.oldest()).toBeUndefined();
  });
}

describe("the spool keeps the contract of a buffer:", () => {
  const folders: string[] = [];
  holdsTheContract({
    setUp: async () => undefined,
    tearDown: async () => {
      await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
    },
    newPlace: async () => void folders.push(await mkdtemp(join(tmpdir(), "stats-buffer-"))),
    make: (maxBytes) =>
      new Spool({ directory: folders.at(-1) ?? "", maxBytes, clock: systemClock, logger: LOGGER }),
  });
});

describeWith(NATS_SERVER, "JetStream keeps the contract of a buffer:", (program) => {
  let nats: NatsServers;
  let place = 0;
  holdsTheContract({
    setUp: async () => {
      nats = await NatsServers.start(program);
    },
    tearDown: () => nats.close(),
    newPlace: async () => {
      place += 1;
    },
    make: (maxBytes) =>
      new JetStreamBuffer({
        servers: parseNatsUrl(nats.url),
        credentialsFile: undefined,
        stream: `place${place}`,
        replicas: undefined,
        maxBytes,
        clientName: "test",
        clock: systemClock,
        random: Math.random,
        logger: LOGGER,
      }),
  });
});
