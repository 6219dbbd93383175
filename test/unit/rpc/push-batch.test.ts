import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../gen/google/rpc/error_details_pb.js";
import {
  AckMode,
  PushBatchRequestSchema,
  type PushBatchResponse,
  PushBatchResponseSchema,
  RejectionReason,
} from "../../../gen/stats/v1/stats_pb.js";
import type { Caller } from "../../../src/auth/token-store.js";
import { EventIds } from "../../../src/event/event-id.js";
import { encodeInet } from "../../../src/event/inet.js";
import { Admission } from "../../../src/ingest/admission.js";
import { type AdmittedEvent, Batch, type BatchWaiter } from "../../../src/ingest/batch.js";
import {
  FairShareError,
  IntakeClosedError,
  QueueFullError,
  TooManyEventsError,
} from "../../../src/ingest/refusal.js";
import { type BatchIntake, createPushBatchHandler } from "../../../src/rpc/push-batch.js";
import { Rejections } from "../../../src/rpc/rejections.js";
import { uuidBytes, uuidv7At } from "../../support/encoded.js";
import { FakeClock } from "../../support/fake-clock.js";
import { watch } from "../../support/flusher-rig.js";

const ADDRESS = encodeInet("192.0.2.7");
const RETRY_AFTER_MS = 1500;

/** Takes events, as many as there is room for, a few to a batch, and never writes them. */
class FakeIntake implements BatchIntake {
  room = Number.POSITIVE_INFINITY;
  /** More than these at once never fit. */
  roomAtMost = Number.POSITIVE_INFINITY;
  batchRows = Number.POSITIVE_INFINITY;
  isClosed = false;
  /** What an event that there is no room for is refused with. */
  Refusal: typeof QueueFullError | typeof FairShareError = QueueFullError;
  readonly taken: AdmittedEvent[] = [];
  readonly batches: Batch[] = [];
  pushes = 0;

  push(event: AdmittedEvent): Batch {
    this.pushes += 1;
    this.requireRoom(1);
    if (this.taken.length % this.batchRows === 0 || this.batches.length === 0) {
      this.batches.push(new Batch());
    }
    this.taken.push({ ...event, id: event.id.slice() });
    return this.batches.at(-1) as Batch;
  }

  requireRoom(rows: number): void {
    if (this.isClosed) {
      throw new IntakeClosedError();
    }
    if (rows > this.roomAtMost) {
      throw new TooManyEventsError(rows);
    }
    if (this.taken.length + rows > this.room) {
      throw new this.Refusal(RETRY_AFTER_MS);
    }
  }

  awaitDurable(batch: Batch, waiter: BatchWaiter): void {
    batch.wait(waiter);
  }
}

type Request = MessageInitShape<typeof PushBatchRequestSchema>;

class Rig {
  readonly intake = new FakeIntake();
  readonly rejections = new Rejections();
  readonly caller = new AbortController();
  /** Whose token it was; undefined: the service asks for none. */
  asWhom: Caller | undefined;
  readonly clock = new FakeClock();
  readonly #handle;

  constructor(batchMaxEvents = 10_000) {
    const { clock } = this;
    const ids = new EventIds({ now: clock.now });
    const admission = new Admission({ clock, ids, properties: undefined });
    this.#handle = createPushBatchHandler({
      admission,
      flusher: this.intake,
      rejections: this.rejections,
      batchMaxEvents,
    });
  }

  /** What the handler returns: an answer, or the promise of one. */
  call(request: Request) {
    const call = {
      address: ADDRESS,
      caller: this.asWhom,
      arrivedAt: 0,
      header: () => undefined,
      onAbandoned: (listener: () => void) => this.caller.signal.addEventListener("abort", listener),
    };
    return this.#handle(create(PushBatchRequestSchema, request), call);
  }

  /** The answer to a call that must not wait. */
  answer(request: Request): PushBatchResponse {
    const answer = this.call(request);
    if (answer instanceof Promise) {
      throw new Error("the handler waits");
    }
    return create(PushBatchResponseSchema, answer);
  }

  /** What the call fails with, before anything is waited for. */
  error(request: Request): ConnectError {
    try {
      void this.call(request);
    } catch (error) {
      if (error instanceof ConnectError) {
        return error;
      }
      throw error;
    }
    throw new Error("the call did not fail");
  }
}

const good = (item: number) => ({ property: "news", section: 3, item });
const goods = (count: number) => Array.from({ length: count }, (_, i) => good(i + 1));
const bad = { property: "News!", section: 0, item: 7 };

function fieldsOf(error: ConnectError): string[] {
  return error
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
}

function retryDelayOf(error: ConnectError): number | undefined {
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return delay && durationMs(delay);
}

describe("PushBatch", () => {
  it("takes all events in order, with the caller's address, and an id of its own for each", () => {
    const rig = new Rig();
    expect(rig.answer({ events: goods(3) })).toMatchObject({ accepted: 3, rejections: [] });
    expect(rig.intake.taken.map(({ itemId }) => itemId)).toEqual([1, 2, 3]);
    expect(rig.intake.taken.every(({ inet }) => inet === ADDRESS)).toBe(true);
    expect(new Set(rig.intake.taken.map(({ id }) => Buffer.from(id).toString("hex"))).size).toBe(3);
  });

  it("keeps the callers' ids", () => {
    const rig = new Rig();
    const eventIds = [1, 2].map((n) => uuidv7At(new FakeClock().now(), n));
    rig.answer({ events: eventIds.map((eventId) => ({ ...good(1), eventId })) });
    expect(rig.intake.taken.map(({ id }) => id)).toEqual(eventIds.map(uuidBytes));
  });

  it("names a bad event by its index, with its violations, and takes the others", () => {
    const rig = new Rig();
    const { accepted, rejections } = rig.answer({ events: [good(1), bad, good(2)] });
    expect(accepted).toBe(2);
    expect(rejections).toMatchObject([
      {
        index: 1,
        reason: RejectionReason.INVALID,
        message: "invalid property, section",
        violations: [
          { field: "property", description: "must match ^[a-z][a-z0-9_.-]{0,31}$" },
          { field: "section", description: "must be from 1 to 4294967295" },
        ],
      },
    ]);
    expect(rejections[0]?.retryDelay).toBeUndefined();
    expect(rig.intake.taken.map(({ itemId }) => itemId)).toEqual([1, 2]);
  });

  it("refuses what there is no room for as retryable, and still tells what can never be taken", () => {
    const rig = new Rig();
    rig.intake.room = 2;
    const { accepted, rejections } = rig.answer({ events: [...goods(3), bad, good(4)] });
    expect(accepted).toBe(2);
    expect(rejections.map(({ index, reason }) => [index, RejectionReason[reason]])).toEqual([
      [2, "QUEUE_FULL"],
      [3, "INVALID"],
      [4, "QUEUE_FULL"],
    ]);
    const delays = rejections.map(({ retryDelay }) => retryDelay && durationMs(retryDelay));
    expect(delays).toEqual([RETRY_AFTER_MS, undefined, RETRY_AFTER_MS]);
    expect(rig.intake.pushes).toBe(3);
  });

  it("fails with RESOURCE_EXHAUSTED when there is room for none, whatever else is wrong", () => {
    const rig = new Rig();
    rig.intake.room = 0;
    const error = rig.error({ events: [bad, good(1), bad] });
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(retryDelayOf(error)).toBe(RETRY_AFTER_MS);
  });

  it("fails with INVALID_ARGUMENT when no event is good, naming the first fields at fault", () => {
    const rig = new Rig();
    const few = rig.error({ events: [bad, { ...good(1), item: 0 }] });
    expect(few.code).toBe(Code.InvalidArgument);
    expect(fieldsOf(few)).toEqual(["events[0].property", "events[0].section", "events[1].item"]);
    const many = rig.error({ events: Array.from({ length: 10_000 }, () => bad) });
    expect(fieldsOf(many)).toHaveLength(11);
    expect(many.rawMessage).toContain("events: 19990 more fields are at fault");
    expect(many.rawMessage.length).toBeLessThan(1000);
  });

  it("fails with UNAVAILABLE while the service drains", () => {
    const rig = new Rig();
    rig.intake.isClosed = true;
    for (const allOrNothing of [false, true]) {
      const error = rig.error({ events: goods(2), allOrNothing });
      expect(error.code).toBe(Code.Unavailable);
      expect(retryDelayOf(error)).toBeGreaterThan(0);
    }
  });

  it("refuses a request of too many events as a whole, naming the bound", () => {
    const rig = new Rig(3);
    expect(rig.answer({ events: goods(3) }).accepted).toBe(3);
    const error = rig.error({ events: goods(4) });
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toBe("events: must be at most 3, not 4");
    expect(rig.intake.taken).toHaveLength(3);
  });

  it("refuses an unknown ack mode, and names all that is wrong with the request itself", () => {
    const rig = new Rig(1);
    expect(fieldsOf(rig.error({ events: goods(1), ack: 9 as AckMode }))).toEqual(["ack"]);
    expect(fieldsOf(rig.error({ events: goods(2), ack: 9 as AckMode }))).toEqual(["events", "ack"]);
    expect(rig.intake.taken).toEqual([]);
  });

  it("answers an empty batch with OK, in every mode and even while the service drains", async () => {
    const rig = new Rig();
    rig.intake.isClosed = true;
    expect(rig.answer({})).toMatchObject({ accepted: 0, rejections: [] });
    expect(await rig.call({ ack: AckMode.DURABLE })).toMatchObject({ accepted: 0 });
  });

  it("keeps the answer within the 4 MiB that gRPC clients take, if nearly all of 10,000 are at fault", () => {
    const events = Array.from({ length: 9_999 }, () => ({ eventId: uuidv7At(0), property: "A" }));
    const answer = new Rig().answer({ events: [...events, good(1)] });
    expect(answer.rejections).toHaveLength(9_999);
    expect(answer.rejections[0]?.violations).toHaveLength(4);
    const bytes = toBinary(PushBatchResponseSchema, answer);
    expect(bytes.length).toBeLessThan(4 * 1024 * 1024);
    expect(fromBinary(PushBatchResponseSchema, bytes).rejections.at(-1)?.index).toBe(9_998);
  });
});

describe("PushBatch with all_or_nothing", () => {
  it("takes all events, each with its own id", () => {
    const rig = new Rig();
    expect(rig.answer({ events: goods(3), allOrNothing: true })).toMatchObject({ accepted: 3 });
    const ids = rig.intake.taken.map(({ id }) => Buffer.from(id).toString("hex"));
    expect(ids).toEqual(ids.toSorted());
    expect(new Set(ids).size).toBe(3);
  });

  it("takes none when one is bad", () => {
    const rig = new Rig();
    const error = rig.error({ events: [good(1), bad, good(2)], allOrNothing: true });
    expect(error.code).toBe(Code.InvalidArgument);
    expect(fieldsOf(error)).toEqual(["events[1].property", "events[1].section"]);
    expect(rig.intake.taken).toEqual([]);
  });

  it("takes none when there is no room for all", () => {
    const rig = new Rig();
    rig.intake.room = 2;
    const error = rig.error({ events: goods(3), allOrNothing: true });
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(retryDelayOf(error)).toBe(RETRY_AFTER_MS);
    expect(rig.intake.taken).toEqual([]);
    expect(rig.answer({ events: goods(2), allOrNothing: true }).accepted).toBe(2);
  });

  it("names no time to come back to those who bring more than there is ever room for", () => {
    const rig = new Rig();
    rig.intake.roomAtMost = 2;
    const error = rig.error({ events: goods(3), allOrNothing: true });
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.rawMessage).toBe(
      "there is never room for 3 events at once; nothing was recorded, send fewer",
    );
    expect(error.findDetails(RetryInfoSchema)).toEqual([]);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "TOO_MANY_EVENTS" }]);
    expect(rig.rejections.read()).toMatchObject({ too_many_events: 3, invalid: 0, queue_full: 0 });
  });
});

describe("PushBatch by a caller who may push some properties", () => {
  const other = { property: "shop", section: 3, item: 9 };

  function rigOfNewsOnly(): Rig {
    const rig = new Rig();
    rig.asWhom = {
      id: "0123456789abcdef",
      name: "news",
      may: new Set(["push"]),
      properties: new Set(["news"]),
    };
    return rig;
  }

  it("takes those, and rejects the others as denied, whatever else is wrong with them", () => {
    const { accepted, rejections } = rigOfNewsOnly().answer({
      events: [other, good(1), bad, { ...good(1), item: 0 }],
    });
    expect(accepted).toBe(1);
    expect(rejections.map(({ index, reason }) => [index, RejectionReason[reason]])).toEqual([
      [0, "PERMISSION_DENIED"],
      [2, "PERMISSION_DENIED"],
      [3, "INVALID"],
    ]);
    expect(rejections[0]?.retryDelay).toBeUndefined();
    expect(rejections[0]?.message).toBe("is not one of those that the token allows");
  });

  it("fails with PERMISSION_DENIED when that leaves none, naming the fields", () => {
    const rig = rigOfNewsOnly();
    const none = rig.error({ events: [other, { ...good(1), item: 0 }] });
    expect(none.code).toBe(Code.PermissionDenied);
    expect(fieldsOf(none)).toEqual(["events[0].property", "events[1].item"]);
    const allOrNothing = rig.error({ events: [good(1), other], allOrNothing: true });
    expect(allOrNothing.code).toBe(Code.PermissionDenied);
    expect(rig.intake.taken).toEqual([]);
  });

  it("says that the caller's share is full where that is the reason", () => {
    const rig = rigOfNewsOnly();
    rig.intake.room = 1;
    rig.intake.Refusal = FairShareError;
    const { rejections } = rig.answer({ events: goods(2) });
    expect(rejections).toMatchObject([{ index: 1, reason: RejectionReason.FAIR_SHARE }]);
    expect(rejections[0]?.retryDelay && durationMs(rejections[0].retryDelay)).toBe(RETRY_AFTER_MS);
    const error = rig.error({ events: goods(2), allOrNothing: true });
    expect(error.code).toBe(Code.ResourceExhausted);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "FAIR_SHARE" }]);
  });
});

describe("PushBatch in ACK_MODE_DURABLE", () => {
  /** Five events over three batches, with a bad one among them. */
  function callDurably(rig: Rig) {
    rig.intake.batchRows = 2;
    const answer = Promise.resolve(
      rig.call({ events: [...goods(2), bad, ...goods(3)], ack: AckMode.DURABLE }),
    );
    return { answer, watched: watch(answer), batches: rig.intake.batches };
  }

  const settled = () => new FakeClock().settle();

  it("waits for every batch that its events went into, and then names those that were rejected", async () => {
    const { answer, watched, batches } = callDurably(new Rig());
    expect(batches).toHaveLength(3);
    for (const batch of [batches[2], batches[0], batches[1]]) {
      await settled();
      expect(watched.state).toBe("pending");
      batch?.settle();
    }
    expect(await answer).toMatchObject({ accepted: 5, rejections: [{ index: 2 }] });
  });

  it("fails with UNAVAILABLE when one of them is given up", async () => {
    const { watched, batches } = callDurably(new Rig());
    batches[0]?.settle();
    batches[1]?.abandon();
    await settled();
    expect(watched.error).toMatchObject({ code: Code.Unavailable });
    batches[2]?.abandon();
    await settled();
  });

  it("fails with DEADLINE_EXCEEDED when the caller's time is over, and leaves the events queued", async () => {
    const rig = new Rig();
    const { watched } = callDurably(rig);
    rig.caller.abort();
    await settled();
    expect(watched.error).toMatchObject({ code: Code.DeadlineExceeded });
    expect(rig.intake.taken).toHaveLength(5);
  });

  it("leaves nothing at its batches of a call that is over, however it ended", async () => {
    const [leaving, failing] = [new Rig(), new Rig()];
    const calls = [leaving, failing].map((rig) => callDurably(rig));
    leaving.caller.abort();
    calls[1]?.batches[0]?.abandon();
    await settled();
    for (const { watched, batches } of calls) {
      expect(watched.state).toBe("rejected");
      expect(batches.map(({ hasWaiters }) => hasWaiters)).toEqual([false, false, false]);
    }
  });
});

describe("the count of events that were refused", () => {
  const NONE = {
    ahead_of_clock: 0,
    too_many_events: 0,
    invalid: 0,
    permission_denied: 0,
    queue_full: 0,
    fair_share: 0,
    shutting_down: 0,
    all_or_nothing: 0,
  };

  it.each([
    ["those that break a rule", {}, [...goods(2), bad], { invalid: 1 }],
    [
      "those without room, and the bad one behind them",
      { room: 1 },
      [...goods(3), bad],
      { queue_full: 2, invalid: 1 },
    ],
    ["all, when the service stops", { isClosed: true }, goods(3), { shutting_down: 3 }],
    [
      "those behind a bad one, when the service stops",
      { isClosed: true },
      [bad, ...goods(2)],
      { invalid: 1, shutting_down: 2 },
    ],
    ["all, when none has room", { room: 0 }, [bad, ...goods(2)], { invalid: 1, queue_full: 2 }],
    ["those beyond the caller's share", { room: 1, Refusal: FairShareError }, goods(3), { fair_share: 2 }],
  ])("has %s", (_, state, events, counts) => {
    const rig = new Rig();
    Object.assign(rig.intake, state);
    try {
      void rig.call({ events });
    } catch {
      // That none was taken is said by an error.
    }
    expect(rig.rejections.read()).toEqual({ ...NONE, ...counts });
  });

  it("has those that the token does not allow", () => {
    const rig = new Rig();
    rig.asWhom = { id: "0123456789abcdef", name: "news", may: new Set(["push"]), properties: new Set() };
    rig.error({ events: goods(2) });
    expect(rig.rejections.read()).toEqual({ ...NONE, permission_denied: 2 });
  });

  it("has the good ones of a batch that is to be taken whole or not at all, for what they are", () => {
    const rig = new Rig();
    rig.error({ events: [...goods(4), bad], allOrNothing: true });
    expect(rig.rejections.read()).toEqual({ ...NONE, invalid: 1, all_or_nothing: 4 });
  });

  it("has all events of a batch that is too long", () => {
    const rig = new Rig(2);
    rig.error({ events: goods(3) });
    expect(rig.rejections.read()).toEqual({ ...NONE, invalid: 3 });
  });
});

describe("an event that lies ahead of the clock", () => {
  const ahead = (rig: Rig, aheadMs = 10 * 60_000) => ({
    ...good(1),
    eventId: uuidv7At(rig.clock.now() + aheadMs),
  });

  it("is rejected alone, with the time to come back", () => {
    const rig = new Rig();
    const { accepted, rejections } = rig.answer({ events: [good(1), ahead(rig)] });
    expect(accepted).toBe(1);
    expect(rejections).toMatchObject([{ index: 1, reason: RejectionReason.AHEAD_OF_CLOCK }]);
    expect(rejections?.[0]?.retryDelay).toBeDefined();
    expect(rig.rejections.read()).toMatchObject({ ahead_of_clock: 1, invalid: 0 });
  });

  it("makes the call UNAVAILABLE when none is taken", () => {
    const rig = new Rig();
    const error = rig.error({ events: [ahead(rig), bad] });
    expect(error.code).toBe(Code.Unavailable);
    expect(error.findDetails(RetryInfoSchema)).toHaveLength(1);
    expect(error.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: "AHEAD_OF_CLOCK" }]);
  });

  it("counts after a fault that lasts where all or nothing is taken", () => {
    const rig = new Rig();
    expect(rig.error({ events: [good(1), ahead(rig)], allOrNothing: true }).code).toBe(Code.Unavailable);
    expect(rig.error({ events: [bad, ahead(rig)], allOrNothing: true }).code).toBe(Code.InvalidArgument);
  });
});
