import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { BufferingClient, UndeliveredError } from "../../../client/src/buffering-client.js";
import { createBufferingClient } from "../../../client/src/create-buffering-client.js";
import type { StatsEvent } from "../../../client/src/event.js";
import type { BufferingOptions, Failure, Rejection } from "../../../client/src/options.js";
import { createStatsClient } from "../../../client/src/stats-client.js";
import { AckMode, type RejectionReason } from "../../../gen/stats/v1/stats_pb.js";
import { TIMER_MAX_MS } from "../../../src/util/clock.js";
import { FakeClock } from "../../support/fake-clock.js";
import { badRequest, busy, denied, FakePusher, invalid, noRoom } from "../../support/fake-pusher.js";

function setUp(options: BufferingOptions = {}) {
  const clock = new FakeClock();
  const pusher = new FakePusher();
  const rejections: Rejection[] = [];
  const failures: Failure[] = [];
  const client = new BufferingClient(
    // The largest jitter: each pause has its full length.
    { pusher, clock, random: () => 0.999_999 },
    {
      batchEvents: 3,
      onRejected: (rejection) => rejections.push(rejection),
      onError: (failure) => failures.push(failure),
      ...options,
    },
  );
  const push = (...ids: number[]) => ids.map((item) => client.push({ property: "news", section: 1, item }));
  const call = () => {
    const [first] = pusher.calls;
    if (first === undefined) {
      throw new Error("there is no call");
    }
    return first;
  };
  return { clock, pusher, client, push, call, rejections, failures };
}

describe("batches", () => {
  test("sends a batch when it has enough events", () => {
    const { pusher, push } = setUp();
    push(1, 2);
    expect(pusher.calls).toHaveLength(0);
    push(3);
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1, 2, 3]]);
  });

  test("sends a batch when its oldest event has waited long enough", async () => {
    const { clock, pusher, push } = setUp({ batchAgeMs: 200 });
    push(1);
    await clock.advance(150);
    push(2);
    await clock.advance(49);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1, 2]]);
  });

  test("sends a batch before it has too many bytes", () => {
    const { pusher, client } = setUp({ batchEvents: 1_000, batchBytes: 151 });
    for (let item = 1; item <= 3; item++) {
      client.push({ property: "p".repeat(20), section: 1, item });
    }
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1, 2]]);
  });

  test("has no more calls in flight than it may", async () => {
    const { clock, pusher, push, call } = setUp({ maxCalls: 2 });
    push(1, 2, 3, 4, 5, 6, 7, 8, 9);
    expect(pusher.calls).toHaveLength(2);
    call().answer();
    await clock.settle();
    expect(pusher.calls.map(({ items }) => items)).toEqual([
      [4, 5, 6],
      [7, 8, 9],
    ]);
  });

  test("puts together what comes while as many calls are in flight as may be", async () => {
    const { clock, pusher, push, call } = setUp({ maxCalls: 1, batchAgeMs: 200 });
    push(1);
    for (const id of [2, 3]) {
      await clock.advance(200);
      push(id);
    }
    await clock.advance(200);
    call().answer();
    await clock.settle();
    expect(pusher.calls.map(({ items }) => items)).toEqual([[2, 3]]);
  });

  test("sends what has piled up in an outage in full batches, the failed one first", async () => {
    const { clock, client, pusher, push, call } = setUp({ maxCalls: 1, batchAgeMs: 200 });
    push(1);
    await clock.advance(200);
    call().fail(busy(Code.Unavailable, 10_000));
    for (let id = 2; id <= 9; id++) {
      push(id);
      await clock.advance(1_000);
    }
    await clock.advance(2_000);
    const batches: number[][] = [];
    while (client.counters.buffered > 0) {
      batches.push(call().items);
      call().answer();
      await clock.settle();
    }
    expect(batches).toEqual([[1], [2, 3, 4], [5, 6, 7], [8, 9]]);
    expect(pusher.count).toBe(5);
  });

  test("gives each event an id, in ascending order, and keeps the caller's", () => {
    const { client, push, call } = setUp();
    const eventId = "01890a5d-ac96-774b-bcce-b302099a8057";
    push(1, 2);
    client.push({ property: "news", section: 1, item: 3, eventId });
    const [first, second, third] = call().request.events.map((event) => event.eventId);
    expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/);
    expect(String(first) < String(second)).toBe(true);
    expect(third).toBe(eventId);
  });

  test("sends what an event was when it was pushed", () => {
    const { client, push, call } = setUp();
    const event = { property: "news", section: 1, item: 1 };
    client.push(event);
    event.item = 99;
    push(2, 3);
    expect(call().items).toEqual([1, 2, 3]);
  });

  test("asks for the acknowledgement and within the time that its options name", () => {
    const durable = setUp({ ack: "durable", callTimeoutMs: 1234 });
    durable.push(1, 2, 3);
    expect(durable.call().request.ack).toBe(AckMode.DURABLE);
    expect(durable.call().timeoutMs).toBe(1234);
    const queued = setUp();
    queued.push(1, 2, 3);
    expect(queued.call().request.ack).toBe(AckMode.QUEUED);
  });
});

describe("bounds", () => {
  test("refuses a push when it has as many events as it may, in flight included", async () => {
    const { clock, client, push, call } = setUp({ maxEvents: 4 });
    expect(push(1, 2, 3, 4, 5)).toEqual([true, true, true, true, false]);
    expect(client.counters).toMatchObject({ pushed: 4, buffered: 4, refused: 1 });
    call().answer();
    await clock.settle();
    expect(push(6)).toEqual([true]);
  });

  test("refuses a push when it has as many bytes as it may", () => {
    const { client } = setUp({ maxBytes: 200, batchBytes: 151 });
    const event = { property: "p".repeat(20), section: 1, item: 1 };
    expect([client.push(event), client.push(event), client.push(event)]).toEqual([true, true, false]);
  });

  test("tells when there is room again", async () => {
    const { clock, client, push, call } = setUp({ maxEvents: 3 });
    await client.whenRoom();
    push(1, 2, 3);
    let hasRoom = false;
    void client.whenRoom().then(() => {
      hasRoom = true;
    });
    await clock.settle();
    expect(hasRoom).toBe(false);
    call().answer();
    await clock.settle();
    expect(hasRoom).toBe(true);
  });

  test("gives room to those who wait for it one after the other", async () => {
    const { clock, client, push, call } = setUp({ maxEvents: 3 });
    push(1, 2, 3);
    const taken: number[] = [];
    const produce = async (id: number) => {
      await client.whenRoom();
      expect(push(id)).toEqual([true]);
      taken.push(id);
    };
    const producers = [4, 5, 6, 7, 8].map(produce);
    call().answer();
    await clock.settle();
    expect(taken).toEqual([4, 5, 6]);
    call().answer();
    await Promise.all(producers);
    expect(taken).toEqual([4, 5, 6, 7, 8]);
    expect(client.counters.refused).toBe(0);
  });

  test.each([
    [{ batchEvents: 10_001 }, "batchEvents"],
    [{ batchBytes: 1024 * 1024 }, "batchBytes"],
    [{ maxCalls: 0 }, "maxCalls"],
    [{ batchAgeMs: Number.NaN }, "batchAgeMs"],
  ])("names an option that is out of its range: %j", (options, name) => {
    expect(() => setUp(options)).toThrow(new RegExp(`^${name} must be a whole number from`));
  });
});

describe("options", () => {
  const url = "http://localhost:3000";

  test.each([
    ["createBufferingClient", () => createBufferingClient(url, { batchSize: 5 } as object)],
    ["createStatsClient", () => createStatsClient(url, { batchSize: 5 } as object)],
    ["BufferingClient", () => setUp({ batchSize: 5 } as object)],
    ["close", () => setUp().client.close({ batchSize: 5 } as object)],
  ])("refuses by name one that does not exist: %s", (_, make) => {
    expect(make).toThrow(
      /^there is no option "batchSize"; there are .*timeoutMs|^there is no option "batchSize"; there are batchEvents, /,
    );
  });

  test("refuses by name one that a flush does not have", async () => {
    await expect(setUp().client.flush({ timeout: 5 } as object)).rejects.toThrow(
      new TypeError('there is no option "timeout"; there are timeoutMs'),
    );
  });

  test("takes all that it names", () => {
    const options = {
      token: "t",
      headers: {},
      fetch,
      ack: "queued",
      batchAgeMs: 1,
      onError: () => undefined,
    } as const;
    expect(createBufferingClient(url, options).counters.pushed).toBe(0);
  });

  test.each([
    [{ ack: "sometimes" }, 'ack must be "queued" or "durable", not "sometimes"'],
    [{ onError: "tell me" }, 'onError must be a function, not "tell me"'],
  ])("says what one must be: %j", (options, message) => {
    expect(() => setUp(options as object)).toThrow(new TypeError(message));
  });

  test.each([Number.NaN, -1, "5"])("says what a time limit must be (%j)", async (value) => {
    const limits = { timeoutMs: value as number };
    const message = `timeoutMs must be a number from 0, not ${value}`;
    await expect(setUp().client.flush(limits)).rejects.toThrow(new TypeError(message));
    expect(() => setUp().client.close(limits)).toThrow(new TypeError(message));
  });
});

describe("retries", () => {
  test("sends the same events with the same ids again after a growing pause", async () => {
    const { clock, client, pusher, push, call, failures } = setUp();
    push(1, 2, 3);
    const first = call().request;
    call().fail(new ConnectError("down", Code.Unavailable));
    await clock.advance(99);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    expect(call().request).toEqual(first);
    call().fail(new ConnectError("down", Code.Unavailable));
    await clock.advance(199);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    call().answer();
    await clock.settle();
    expect(client.counters).toEqual({
      pushed: 3,
      acknowledged: 3,
      rejected: 0,
      buffered: 0,
      refused: 0,
      retried: 6,
    });
    expect(failures.map(({ events, retryInMs }) => ({ events, retryInMs }))).toEqual([
      { events: 3, retryInMs: 100 },
      { events: 3, retryInMs: 200 },
    ]);
  });

  test("begins with a short pause again after a success", async () => {
    const { clock, push, call, failures } = setUp();
    push(1, 2, 3);
    for (const ms of [100, 200]) {
      call().fail(new ConnectError("down", Code.Unavailable));
      await clock.advance(ms);
    }
    call().answer();
    push(4, 5, 6);
    await clock.settle();
    call().fail(new ConnectError("down", Code.Unavailable));
    await clock.settle();
    expect(failures.at(-1)?.retryInMs).toBe(100);
  });

  test("takes calls that fail together for one failure", async () => {
    const { clock, push, call, failures } = setUp({ maxCalls: 2 });
    push(1, 2, 3, 4, 5, 6);
    call().fail(new ConnectError("down", Code.Unavailable));
    call().fail(new ConnectError("down", Code.Unavailable));
    await clock.settle();
    expect(failures.map(({ retryInMs }) => retryInMs)).toEqual([100, 100]);
  });

  test("tells the time until the next call, whichever call asked for the pause", async () => {
    const { clock, pusher, push, call, failures } = setUp({ maxCalls: 2 });
    push(1, 2, 3, 4, 5, 6);
    call().fail(busy(Code.Unavailable, 5_000));
    await clock.advance(1_000);
    call().fail(new ConnectError("down", Code.Unavailable));
    await clock.settle();
    expect(failures.map(({ retryInMs }) => retryInMs)).toEqual([5_000, 4_000]);
    await clock.advance(3_999);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    expect(pusher.calls).toHaveLength(2);
  });

  test("waits as long as the service says", async () => {
    const { clock, pusher, push, call } = setUp();
    push(1, 2, 3);
    call().fail(busy(Code.ResourceExhausted, 5_000));
    await clock.advance(4_999);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    expect(pusher.calls).toHaveLength(1);
  });

  test.each([
    ["as HTTP says it", "3", 3_000],
    ["no longer than a minute", "86400", 60_000],
    ["as it sees fit when that is a date", "Wed, 21 Oct 2026 07:28:00 GMT", 100],
  ])("waits as long as a proxy says, %s", async (_, retryAfter, ms) => {
    const { clock, pusher, push, call, failures } = setUp();
    push(1, 2, 3);
    call().fail(new ConnectError("HTTP 503", Code.Unavailable, { "retry-after": retryAfter }));
    await clock.settle();
    expect(failures.map(({ retryInMs }) => retryInMs)).toEqual([ms]);
    await clock.advance(ms - 1);
    expect(pusher.calls).toHaveLength(0);
    await clock.advance(1);
    expect(pusher.calls).toHaveLength(1);
  });

  test("sends only the events again that there was no room for", async () => {
    const { clock, client, push, call } = setUp();
    push(1, 2, 3);
    call().answer([noRoom(1, 700), noRoom(2, 800)]);
    await clock.advance(799);
    expect(client.counters).toMatchObject({ acknowledged: 1, buffered: 2, retried: 2 });
    await clock.advance(1);
    expect(call().items).toEqual([2, 3]);
  });

  test("keeps events that the service will take when their time has come", async () => {
    const { clock, client, push, call, failures } = setUp();
    push(1, 2, 3);
    call().answer([
      { index: 1, reason: 99 as RejectionReason, message: "too early", retryDelay: durationFromMs(600_000) },
    ]);
    await clock.settle();
    expect(failures).toMatchObject([
      { error: { code: Code.Unavailable, rawMessage: "too early" }, retryInMs: 60_000 },
    ]);
    await clock.advance(60_000);
    call().fail(busy(Code.Unavailable, 600_000));
    await clock.advance(60_000);
    expect(call().items).toEqual([2]);
    expect(client.counters).toMatchObject({ acknowledged: 2, rejected: 0, buffered: 1, retried: 2 });
  });

  test.each([Code.Unauthenticated, Code.PermissionDenied, Code.Unimplemented])(
    "keeps the events and comes back slowly when a person must mend something (code %s)",
    async (code) => {
      const { clock, client, pusher, push, call, failures } = setUp();
      push(1, 2, 3);
      call().fail(new ConnectError("no", code));
      await clock.advance(4_999);
      expect(pusher.calls).toHaveLength(0);
      expect(failures).toMatchObject([{ error: { code }, events: 3, retryInMs: 5_000 }]);
      await clock.advance(1);
      call().answer();
      await clock.settle();
      expect(client.counters).toMatchObject({ acknowledged: 3, buffered: 0 });
    },
  );

  test("takes an answer that tells of another number of events for a failure", async () => {
    const { clock, client, push, call } = setUp({ batchEvents: 2 });
    push(1, 2);
    call().answer([invalid(7)]);
    await clock.settle();
    expect(client.counters).toMatchObject({ acknowledged: 0, rejected: 0, buffered: 2 });
  });

  test.each([
    ["events", badRequest("events")],
    ["bytes", new ConnectError("message size 64002 is larger", Code.ResourceExhausted)],
  ])(
    "halves a batch of too many %s for the service; later ones grow with each that it takes",
    async (_, error) => {
      const { clock, client, pusher, push, call } = setUp({ batchEvents: 128, maxCalls: 1 });
      const inFlight = () => pusher.calls.map(({ items }) => items.length);
      const takeWhole = () => {
        call().answer();
        return clock.settle();
      };
      const items = Array.from({ length: 128 }, (_each, i) => i + 1);
      push(...items);
      call().fail(error);
      await clock.settle();
      expect(inFlight()).toEqual([64]);
      await takeWhole();
      expect(inFlight()).toEqual([64]);
      await takeWhole();
      push(...items);
      expect(inFlight()).toEqual([66]);
      push(...items.slice(62));
      await takeWhole();
      expect(inFlight()).toEqual([68]);
      expect(client.counters).toMatchObject({ acknowledged: 128 + 66, rejected: 0 });
    },
  );

  test("halves no batch of a caller whose calls are too many", async () => {
    const { clock, pusher, push, call, failures } = setUp();
    push(1, 2, 3);
    call().fail(new ConnectError("slow down", Code.ResourceExhausted, { "retry-after": "1" }));
    await clock.advance(1_000);
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1, 2, 3]]);
    expect(failures).toMatchObject([{ retryInMs: 1_000 }]);
  });

  test("keeps an event that is too long for the service by itself", async () => {
    const { clock, client, pusher, push, call, failures } = setUp({ batchEvents: 1 });
    push(1);
    call().fail(new ConnectError("message size 64 is larger", Code.ResourceExhausted));
    await clock.advance(100);
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1]]);
    expect(failures).toMatchObject([{ events: 1, retryInMs: 100 }]);
    expect(client.counters).toMatchObject({ rejected: 0, buffered: 1 });
  });
});

describe("rejections", () => {
  test("drops, counts and reports an event that the service can never accept", async () => {
    const { clock, client, call, push, rejections } = setUp();
    const event = { property: "shop", section: 1, item: 1 };
    client.push(event);
    push(2, 3);
    call().answer([invalid(0)]);
    await clock.settle();
    expect(client.counters).toMatchObject({ pushed: 3, acknowledged: 2, rejected: 1, buffered: 0 });
    expect(rejections[0]?.event).toBe(event);
    expect(rejections).toMatchObject([
      {
        reason: "INVALID",
        message: "property is not known",
        violations: [{ field: "property", description: "is not known" }],
      },
    ]);
  });

  test("drops the events that an error names, and asks again for the reasons of the others", async () => {
    const { clock, client, pusher, call, push, rejections } = setUp({ maxCalls: 1 });
    push(1, 2, 3);
    call().fail(badRequest("events[1].property", "events"));
    await clock.settle();
    expect(pusher.calls.map(({ items }) => items)).toEqual([[1, 3]]);
    call().fail(badRequest("events[0].section", "events[1].item"));
    await clock.settle();
    expect(client.counters).toMatchObject({ rejected: 3, buffered: 0, retried: 2 });
    expect(rejections.map(({ event, message }) => [event.item, message])).toEqual([
      [2, "property is wrong"],
      [1, "section is wrong"],
      [3, "item is wrong"],
    ]);
  });

  test("drops the whole batch when an error names none of its events", async () => {
    const { clock, client, call, push, rejections } = setUp();
    push(1, 2, 3);
    call().fail(badRequest("ack"));
    await clock.settle();
    expect(client.counters).toMatchObject({ rejected: 3, buffered: 0 });
    expect(rejections.map(({ violations }) => violations.length)).toEqual([0, 0, 0]);
  });

  test("drops what the token does not allow, and goes on at once", async () => {
    const { clock, client, pusher, call, push, rejections, failures } = setUp({ maxCalls: 1 });
    push(1, 2, 3, 4, 5, 6);
    call().fail(denied("events[0].property", "events[1].section", "events[2].property"));
    await clock.settle();
    expect(client.counters).toMatchObject({ rejected: 3, buffered: 3, retried: 0 });
    expect(rejections.map(({ reason, message, violations }) => [reason, message, violations.length])).toEqual(
      [
        ["PERMISSION_DENIED", "property is wrong", 1],
        ["INVALID", "section is wrong", 1],
        ["PERMISSION_DENIED", "property is wrong", 1],
      ],
    );
    expect(pusher.calls.map(({ items }) => items)).toEqual([[4, 5, 6]]);
    expect(failures).toEqual([]);
  });

  test.each([
    [{ property: "", section: 1, item: 1 }, "property"],
    [{ property: "p".repeat(33), section: 1, item: 1 }, "property"],
    [{ property: "news", section: 0, item: 1 }, "section"],
    [{ property: "news", section: 1, item: 2 ** 32 }, "item"],
    [{ property: "news", section: 1, item: 1.5 }, "item"],
    [{ property: "news", section: 1, item: 1, eventId: "123" }, "event_id"],
    [{ property: 7 as unknown as string, section: 1, item: 1 }, "property"],
  ])("rejects what cannot be sent at once: %j", (event, field) => {
    const { client, rejections } = setUp();
    expect(client.push(event)).toBe(false);
    expect(rejections).toMatchObject([{ reason: "INVALID", violations: [{ field }] }]);
    expect(rejections[0]?.message).toMatch(new RegExp(`^${field} must be `));
    expect(client.counters).toMatchObject({ pushed: 1, rejected: 1, buffered: 0 });
  });

  test.each([undefined, null, "news"])("rejects what is no event without throwing: %j", (thing) => {
    const { client, rejections } = setUp();
    const event = thing as unknown as StatsEvent;
    expect(client.push(event)).toBe(false);
    const violations = ["property", "section", "item"].map((field) => ({ field }));
    expect(rejections).toMatchObject([{ event, reason: "INVALID", violations }]);
    expect(client.counters).toMatchObject({ pushed: 1, rejected: 1, buffered: 0 });
  });
});

describe("flush", () => {
  test("sends at once, and resolves when all that was pushed before has an answer", async () => {
    const { clock, client, push, call } = setUp();
    push(1);
    let isFlushed = false;
    const flushed = client.flush().then(() => {
      isFlushed = true;
    });
    push(2);
    expect(call().items).toEqual([1]);
    await clock.settle();
    expect(isFlushed).toBe(false);
    call().answer();
    await flushed;
    expect(client.counters).toMatchObject({ acknowledged: 1, buffered: 1 });
  });

  test("resolves at once when nothing is buffered", async () => {
    const { client } = setUp();
    await client.flush();
  });

  test("rejects at its deadline, and the events stay", async () => {
    const { clock, client, push } = setUp();
    push(1);
    const flushed = client.flush({ timeoutMs: 500 }).catch((error: unknown) => error);
    await clock.advance(500);
    expect(await flushed).toEqual(new UndeliveredError(1));
    expect(client.counters.buffered).toBe(1);
  });
});

describe("close", () => {
  test("sends what is buffered, then refuses", async () => {
    const { clock, client, push, call } = setUp();
    push(1);
    const closed = client.close();
    expect(client.close()).toBe(closed);
    call().answer();
    expect(await closed).toEqual({ undelivered: 0 });
    expect(push(2)).toEqual([false]);
    expect(client.counters).toMatchObject({ pushed: 1, acknowledged: 1, refused: 1 });
    expect(clock.pendingTimers).toBe(0);
  });

  test("gives up at its deadline and tells how many events are left", async () => {
    const { clock, client, pusher, push, failures } = setUp({ maxCalls: 1 });
    push(1, 2, 3, 4);
    const closed = client.close({ timeoutMs: 1_000 });
    await clock.advance(1_000);
    expect(await closed).toEqual({ undelivered: 4 });
    expect(pusher.calls).toHaveLength(0);
    expect(failures).toEqual([]);
    expect(client.counters).toMatchObject({ pushed: 4, buffered: 4, retried: 0 });
    expect(clock.pendingTimers).toBe(0);
    await expect(client.flush()).rejects.toEqual(new UndeliveredError(4));
  });

  test.each([Number.POSITIVE_INFINITY, TIMER_MAX_MS + 1])(
    "waits longer than a timer can be when it is told to (%d ms)",
    async (timeoutMs) => {
      const { clock, client, push, call } = setUp();
      push(1);
      const flushed = client.flush({ timeoutMs });
      const closed = client.close({ timeoutMs });
      await clock.advance(TIMER_MAX_MS);
      call().answer();
      await flushed;
      expect(await closed).toEqual({ undelivered: 0 });
      expect(clock.pendingTimers).toBe(0);
    },
  );

  test("gives up at a deadline that is further away than a timer can be", async () => {
    const { clock, client, push } = setUp();
    push(1);
    let isClosed = false;
    const closed = client.close({ timeoutMs: TIMER_MAX_MS + 1 }).finally(() => {
      isClosed = true;
    });
    await clock.advance(TIMER_MAX_MS);
    expect(isClosed).toBe(false);
    await clock.advance(1);
    expect(await closed).toEqual({ undelivered: 1 });
  });

  test("tells how many events are left, however many batches they make", async () => {
    const { clock, client } = setUp({ batchEvents: 1, maxEvents: 150_000, maxBytes: 2 ** 30 });
    for (let item = 1; item <= 150_000; item++) {
      client.push({ property: "news", section: 1, item });
    }
    const closed = client.close({ timeoutMs: 1_000 });
    await clock.advance(1_000);
    expect(await closed).toEqual({ undelivered: 150_000 });
  });

  test("ends the wait for room", async () => {
    const { clock, client, push, call } = setUp({ maxEvents: 3 });
    push(1, 2, 3);
    const room = client.whenRoom();
    const closed = client.close();
    await room;
    call().answer();
    await clock.settle();
    await closed;
  });

  test("happens at the end of `await using`", async () => {
    const { client, push, call } = setUp();
    const scope = async () => {
      await using _client = client;
      push(1);
    };
    const left = scope();
    await Promise.resolve();
    call().answer();
    await left;
    expect(push(2)).toEqual([false]);
  });
});

test("tells the caller's own objects when they are acknowledged", async () => {
  const told: unknown[] = [];
  const { clock, client, call } = setUp({
    batchEvents: 1,
    onAcknowledged: (events) => told.push(...events),
  });
  const event = { property: "news", section: 1, item: 1 };
  client.push(event);
  call().answer();
  await clock.settle();
  expect(told[0]).toBe(event);
});
