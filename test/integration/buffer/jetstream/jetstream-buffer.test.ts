import { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { type Logger, pino } from "pino";
import type { BufferedBatch } from "../../../../src/buffer/buffer.js";
import { toMessages } from "../../../../src/buffer/jetstream/batch-message.js";
import {
  BufferUnavailableError,
  JetStreamBuffer,
} from "../../../../src/buffer/jetstream/jetstream-buffer.js";
import { parseNatsUrl } from "../../../../src/buffer/jetstream/nats-url.js";
import type { EncodedBatch } from "../../../../src/event/tuple-codec.js";
import { systemClock } from "../../../../src/util/clock.js";
import { encodeBatch, rowsAt } from "../../../support/encoded.js";
import { NatsServers } from "../../../support/nats-server.js";
import { describeWith, NATS_SERVER } from "../../../support/needs.js";

const DAY = Date.UTC(2026, 0, 15, 12);

describeWith(NATS_SERVER, "JetStreamBuffer", (program) => {
  let nats: NatsServers;
  let stream: string;
  let count = 0;
  let log: { level: number; msg: string }[];
  const opened: JetStreamBuffer[] = [];

  beforeAll(async () => {
    nats = await NatsServers.start(program);
  });
  afterAll(() => nats.close());
  beforeEach(() => {
    count += 1;
    stream = `stream${count}`;
    log = [];
  });
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((buffer) => buffer.close()));
  });

  function logger(): Logger {
    const write = (line: Buffer, _: unknown, done: () => void) => {
      log.push(JSON.parse(line.toString()));
      done();
    };
    return pino({}, new Writable({ write }));
  }

  function make(): JetStreamBuffer {
    const buffer = new JetStreamBuffer({
      servers: parseNatsUrl(nats.url),
      credentialsFile: undefined,
      stream,
      replicas: undefined,
      maxBytes: 2 ** 26,
      clientName: "test",
      clock: systemClock,
      random: Math.random,
      logger: logger(),
    });
    opened.push(buffer);
    return buffer;
  }

  async function open(): Promise<JetStreamBuffer> {
    const buffer = make();
    await buffer.open();
    return buffer;
  }

  function batchOf(rows: number): EncodedBatch {
    return encodeBatch(rowsAt(DAY, rows));
  }

  async function whenThere(buffer: JetStreamBuffer) {
    for (;;) {
      const told = new Promise<void>((resolve) => buffer.onAvailable(resolve));
      const batch = buffer.oldest();
      if (batch !== undefined) {
        return batch;
      }
      await told;
    }
  }

  async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await isTrue())) {
      await setImmediate();
    }
  }

  it.each([
    [{ retention: "limits" }, "retention must be workqueue"],
    [{ discard: "old" }, "discard must be new"],
    [{ storage: "memory" }, "storage must be file"],
    [{ max_age: 3_600_000_000_000 }, "max_age must be 0"],
    [{ max_bytes: 1_000_000 }, "max_bytes must be -1 with NATS 2.9"],
  ] as const)("refuses to open a stream that could lose events: %j", async (fields, fault) => {
    const client = await nats.one.connect();
    await (await jetstreamManager(client)).streams.add({
      name: stream,
      subjects: [`${stream}.batch.*`],
      retention: "workqueue",
      discard: "new",
      storage: "file",
      ...fields,
    });
    await client.close();
    await expect(make().open()).rejects.toThrow(new RegExp(`^BUFFER_STREAM: .*${stream}.*${fault}`));
  });

  it("refuses to open a stream whose consumer gives up a message after some tries", async () => {
    await (await open()).close();
    const client = await nats.one.connect();
    const manager = await jetstreamManager(client);
    await manager.consumers.delete(stream, "writers");
    await manager.consumers.add(stream, { durable_name: "writers", ack_policy: "explicit", max_deliver: 5 });
    await client.close();
    await expect(make().open()).rejects.toThrow("max_deliver must be -1");
  });

  it("hands out together what has come while a batch was written", async () => {
    const buffer = await open();
    await buffer.store(batchOf(1));
    const first = await whenThere(buffer);
    await buffer.store(batchOf(2));
    await buffer.store(batchOf(3));
    // Its answer comes behind the messages that the server had to deliver.
    await buffer.readNumbers();
    await buffer.remove(first);
    const second = buffer.oldest();
    expect(first.parts.map(({ rows }) => rows)).toEqual([1]);
    expect(second?.parts.map(({ rows }) => rows)).toEqual([2, 3]);
    const read = second && (await buffer.read(second));
    expect(read?.rows).toBe(5);
  });

  it("tells the rows in the stream from all processes, exactly and at once", async () => {
    const [one, other] = [await open(), await open()];
    await one.store(batchOf(10));
    await one.store(batchOf(10));
    await other.store(batchOf(7));
    expect(await other.readNumbers()).toMatchObject({ messages: 3, rows: 27, setAsideMessages: 0 });
  });

  it("sets a damaged message and a foreign one aside, each with the reason, and goes on", async () => {
    const buffer = await open();
    const client = await nats.one.connect();
    const publisher = jetstream(client);
    await publisher.publish(`${stream}.batch.hello`, "not a batch at all");
    const [damaged] = toMessages(batchOf(9), 2 ** 20);
    damaged?.payload.writeUInt8(0xff, damaged.payload.length - 1);
    await publisher.publish(`${stream}.batch.9`, damaged?.payload);
    await buffer.store(batchOf(2));
    const setAside: number[] = [];
    let sound: BufferedBatch | undefined;
    while (sound === undefined) {
      const batch = await whenThere(buffer);
      if ((await buffer.read(batch)) === undefined) {
        setAside.push(batch.rows);
      } else {
        sound = batch;
      }
    }
    expect(setAside).toEqual([0, 9]);
    expect(sound.rows).toBe(2);
    const manager = await jetstreamManager(client);
    const message = await manager.streams.getMessage(`${stream}_set_aside`, { seq: 1 });
    expect(message?.string()).toBe("not a batch at all");
    expect(message?.header.get("Stats-Subject")).toBe(`${stream}.batch.hello`);
    expect(message?.header.get("Stats-Reason")).toMatch(/does not start as a batch does/);
    expect(buffer.setAsideBatches).toBe(2);
    await client.close();
  });

  it("lets another process have what it cannot write now", async () => {
    const [stuck, other] = [await open(), await open()];
    await stuck.store(batchOf(5));
    await whenThere(stuck);
    const there = whenThere(other);
    stuck.pause();
    expect((await there).rows).toBe(5);
  });

  it("tells how often it has handed a batch back", async () => {
    const buffer = await open();
    await buffer.store(batchOf(5));
    expect(await whenThere(buffer)).toMatchObject({ deliveries: 1 });
    buffer.pause();
    expect(await whenThere(buffer)).toMatchObject({ deliveries: 2 });
    buffer.pause();
    const third = await whenThere(buffer);
    expect(third).toMatchObject({ deliveries: 3 });
    await buffer.remove(third);
  });

  it("lets another process have what it held when it closes", async () => {
    const [first, second] = [await open(), await open()];
    await first.store(batchOf(5));
    await whenThere(first);
    const there = whenThere(second);
    await first.close();
    expect((await there).rows).toBe(5);
  });

  it("makes the stream again that somebody removed, and says when it can be written to", async () => {
    const buffer = await open();
    const client = await nats.one.connect();
    await (await jetstreamManager(client)).streams.delete(stream);
    const writable = new Promise<void>((resolve) => buffer.onWritable(resolve));
    await expect(buffer.store(batchOf(1))).rejects.toThrow();
    expect(buffer.isWritable).toBe(false);
    await writable;
    await buffer.store(batchOf(1));
    expect(buffer.isWritable).toBe(true);
    expect(await buffer.readNumbers()).toMatchObject({ messages: 1, rows: 1 });
    await client.close();
  });

  it("publishes nothing while it is disconnected, says so at once, and goes on when the server is back", async () => {
    const buffer = await open();
    await buffer.store(batchOf(1));
    await nats.one.kill();
    await until(() => !buffer.isWritable);
    for (let i = 0; i < 100; i++) {
      await expect(buffer.store(batchOf(1))).rejects.toBeInstanceOf(BufferUnavailableError);
    }
    const writable = new Promise<void>((resolve) => buffer.onWritable(resolve));
    await nats.one.start();
    await writable;
    await buffer.store(batchOf(2));
    expect(await buffer.readNumbers()).toMatchObject({ messages: 2, rows: 3 });
  });

  it("opens without a server, with a warning, and works when it is there", async () => {
    await nats.one.kill();
    try {
      const buffer = await open();
      expect(log).toContainEqual(
        expect.objectContaining({ level: 40, msg: expect.stringMatching(/out of reach/) }),
      );
      const writable = new Promise<void>((resolve) => buffer.onWritable(resolve));
      await nats.one.start();
      await writable;
      await buffer.store(batchOf(1));
    } finally {
      if (nats.one.pid === undefined) {
        await nats.one.start();
      }
    }
  });

  it("gives up a server that hangs within seconds, and the batch is the caller's still", async () => {
    const buffer = await open();
    await nats.one.pause();
    try {
      const began = performance.now();
      await expect(buffer.store(batchOf(1))).rejects.toThrow();
      expect(performance.now() - began).toBeLessThan(15_000);
      expect(buffer.isWritable).toBe(false);
    } finally {
      nats.one.resume();
    }
    await until(() =>
      buffer.store(batchOf(1)).then(
        () => true,
        () => false,
      ),
    );
    expect(buffer.isWritable).toBe(true);
  });
});
