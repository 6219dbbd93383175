import { Schema } from "../../../src/postgres/schema.js";
import { FakeClock } from "../../support/fake-clock.js";

const outage = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED", syscall: "connect" });
const forEver = () => new Promise<never>(() => {});
const never = new AbortController().signal;
let clock = new FakeClock();

beforeEach(() => {
  clock = new FakeClock();
});

function schemaOf(
  migrate: (signal: AbortSignal) => Promise<unknown>,
  createPartitions: () => Promise<void> = async () => {},
): Schema {
  return new Schema({ migrate, createPartitions, clock });
}

describe("Schema", () => {
  it("waits ten seconds for partitions, and goes on without them", async () => {
    const prepared = schemaOf(async () => {}, forEver).prepare(never);
    let isPrepared = false;
    void prepared.then(() => {
      isPrepared = true;
    });
    await clock.advance(9_999);
    expect(isPrepared).toBe(false);
    await clock.advance(1);
    await prepared;
  });

  it("leaves no timer behind when the partitions are made", async () => {
    await schemaOf(async () => {}).prepare(never);
    await clock.settle();
    expect(clock.pendingTimers).toBe(0);
  });

  it("is prepared once, however many ask", async () => {
    let migrations = 0;
    const schema = schemaOf(async () => void migrations++);
    await Promise.all([schema.prepare(never), schema.prepare(never)]);
    await schema.prepare(never);
    expect(migrations).toBe(1);
  });

  it("is prepared by the next who asks, after a failure", async () => {
    const failures = [outage];
    const schema = schemaOf(async () => {
      const failure = failures.pop();
      if (failure !== undefined) {
        throw failure;
      }
    });
    await expect(schema.prepare(never)).rejects.toBe(outage);
    await schema.prepare(never);
  });

  it("hands the migration the signal of the one who asked", async () => {
    const signals: AbortSignal[] = [];
    const schema = schemaOf(async (signal) => void signals.push(signal));
    await schema.prepare(never);
    expect(signals).toEqual([never]);
  });

  it("does not wait for partitions when the one who asked gives up", async () => {
    const controller = new AbortController();
    const prepared = schemaOf(async () => {}, forEver).prepare(controller.signal);
    controller.abort(new Error("given up"));
    await expect(prepared).rejects.toThrow("given up");
  });
});

describe("Schema, at start", () => {
  it("tolerates a database that is out of reach, and tells", async () => {
    const schema = schemaOf(() => Promise.reject(outage));
    expect(await schema.prepareIfReachable(never)).toBe(outage);
  });

  it("does not take a start that was given up for an outage", async () => {
    const schema = schemaOf(async (signal) => signal.throwIfAborted());
    const given = AbortSignal.abort(new Error("given up"));
    await expect(schema.prepareIfReachable(given)).rejects.toThrow("given up");
  });
});
