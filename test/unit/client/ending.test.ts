/** What the buffering client does when the page or the program around it ends without a word to it. */
import { Code, ConnectError } from "@connectrpc/connect";
import { BufferingClient } from "../../../client/src/buffering-client.js";
import { EVENT_MAX_BYTES } from "../../../client/src/event.js";
import type { BufferingOptions } from "../../../client/src/options.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FakeHost } from "../../support/fake-host.js";
import { FakePusher, invalid } from "../../support/fake-pusher.js";

const KEPT_MAX_BYTES = 60 * 1024;

function setUp(options: BufferingOptions = {}) {
  const clock = new FakeClock();
  const pusher = new FakePusher();
  const host = new FakeHost();
  const client = new BufferingClient(
    { pusher, clock, host, random: () => 0.999_999 },
    { batchEvents: 3, ...options },
  );
  const push = (...items: number[]) => {
    for (const item of items) {
      client.push({ property: "news", section: 1, item });
    }
  };
  const calls = () => pusher.calls.map(({ items, keepalive }) => ({ items, keepalive }));
  return { clock, pusher, host, client, push, calls };
}

const down = () => new ConnectError("down", Code.Unavailable);

describe("a page that is left", () => {
  test("sends at once what waits, by calls that outlive it", () => {
    const { host, push, calls } = setUp();
    push(1, 2);
    expect(calls()).toEqual([]);
    host.leave();
    expect(calls()).toEqual([{ items: [1, 2], keepalive: true }]);
  });

  test("sends what is in flight again with its ids, before what waits, and beyond the calls that there may be", async () => {
    const { clock, client, host, pusher, push, calls } = setUp({ maxCalls: 2 });
    push(1, 2, 3, 4, 5, 6, 7);
    const ids = pusher.calls.flatMap(({ request }) => request.events.map(({ eventId }) => eventId));
    host.leave();
    await clock.settle();
    expect(calls()).toEqual([
      { items: [1, 2, 3], keepalive: true },
      { items: [4, 5, 6], keepalive: true },
      { items: [7], keepalive: true },
    ]);
    const again = pusher.calls.flatMap(({ request }) => request.events.map(({ eventId }) => eventId));
    expect(again.slice(0, 6)).toEqual(ids);
    expect(client.counters).toMatchObject({ pushed: 7, buffered: 7, retried: 6 });
  });

  test("does not wait for the end of a pause", async () => {
    const { clock, host, pusher, push, calls } = setUp();
    push(1, 2, 3);
    pusher.calls[0]?.fail(down());
    await clock.settle();
    expect(calls()).toEqual([]);
    host.leave();
    expect(calls()).toEqual([{ items: [1, 2, 3], keepalive: true }]);
  });

  test("sends nothing twice by calls that outlive it", () => {
    const { host, pusher, push } = setUp();
    push(1, 2);
    host.leave();
    host.leave();
    expect(pusher.count).toBe(1);
  });

  test("sends no more by such calls than browsers take, and the rest by others", () => {
    const { host, client, pusher } = setUp({ batchEvents: 400, maxCalls: 2 });
    for (let item = 1; item <= 3_000; item++) {
      client.push({ property: "p".repeat(32), section: 1, item });
    }
    host.leave();
    const kept = pusher.calls.filter(({ keepalive }) => keepalive);
    const bytes = kept.flatMap(({ items }) => items).length * (EVENT_MAX_BYTES - 2 * 32);
    expect(bytes).toBeLessThanOrEqual(KEPT_MAX_BYTES);
    expect(bytes).toBeGreaterThan(KEPT_MAX_BYTES - EVENT_MAX_BYTES);
    expect(kept[0]?.items.slice(0, 2)).toEqual([1, 2]);
    expect(client.counters).toMatchObject({ pushed: 3_000, buffered: 3_000 });
  });

  test("goes on as before when it lives on", async () => {
    const { clock, client, host, pusher, push, calls } = setUp({ maxCalls: 1, batchAgeMs: 200 });
    push(1, 2);
    host.leave();
    pusher.calls[0]?.fail(down());
    await clock.advance(100);
    expect(calls()).toEqual([{ items: [1, 2], keepalive: false }]);
    pusher.calls[0]?.answer();
    push(3);
    await clock.advance(200);
    pusher.calls[0]?.answer();
    await clock.settle();
    expect(client.counters).toMatchObject({ pushed: 3, acknowledged: 3, buffered: 0 });
    expect(clock.pendingTimers).toBe(0);
  });

  test("is watched only while there are events", async () => {
    const { clock, client, host, pusher, push } = setUp();
    expect(host.watched.size).toBe(0);
    push(1, 2, 3);
    expect(host.watched.size).toBe(1);
    pusher.calls[0]?.answer();
    await clock.settle();
    expect(host.watched.size).toBe(0);
    push(4);
    const closed = client.close({ timeoutMs: 10 });
    await clock.advance(10);
    await closed;
    expect(host.watched.size).toBe(0);
  });
});

describe("a program that is done", () => {
  test("sends what waits, and lives until that is delivered", async () => {
    const { clock, client, host, pusher, push } = setUp();
    push(1, 2);
    host.finish();
    pusher.calls[0]?.fail(down());
    await clock.advance(100);
    pusher.calls[0]?.answer();
    await clock.settle();
    expect(client.counters).toMatchObject({ acknowledged: 2, buffered: 0 });
    expect(host.warnings).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
    push(3);
    expect(client.counters).toMatchObject({ pushed: 3, buffered: 1 });
  });

  test("gives up after a while, and says once what is lost and why", async () => {
    const { clock, client, host, pusher, push } = setUp();
    push(1, 2);
    host.finish();
    host.finish();
    for (const ms of [100, 200, 400, 800, 1_500]) {
      pusher.calls[0]?.fail(down());
      await clock.advance(ms);
    }
    expect(pusher.calls).toHaveLength(0);
    expect(host.watched.size).toBe(0);
    expect(clock.pendingTimers).toBe(0);
    expect(host.warnings).toEqual([
      "stats-service client: the program ends with 2 events that were not delivered: [unavailable] down (onError tells of each failure)",
    ]);
    push(3);
    expect(client.counters).toMatchObject({ pushed: 2, buffered: 2, refused: 1 });
  });
});

describe("warnings", () => {
  test("tell once of events that were dropped when nobody listens", async () => {
    const { clock, client, host, pusher, push } = setUp();
    client.push({ property: "news", section: 0, item: 1 });
    push(1, 2, 3);
    pusher.calls[0]?.answer([invalid(0)]);
    await clock.settle();
    expect(client.counters.rejected).toBe(2);
    expect(host.warnings).toEqual([
      "stats-service client: an event was dropped: section must be a whole number from 1 to 4294967295 (onRejected tells of each one)",
    ]);
  });

  test("tell once of calls that fail, from the third in a row on", async () => {
    const { clock, host, pusher, push } = setUp();
    const fail = async () => {
      pusher.calls[0]?.fail(down());
      await clock.advance(10_000);
    };
    push(1, 2, 3);
    await fail();
    await fail();
    pusher.calls[0]?.answer();
    push(4, 5, 6);
    await clock.settle();
    await fail();
    await fail();
    expect(host.warnings).toEqual([]);
    await fail();
    await fail();
    expect(host.warnings).toEqual([
      "stats-service client: 3 events wait, since calls fail: [unavailable] down (onError tells of each failure)",
    ]);
  });

  test("tell at once of what a person must correct", async () => {
    const { clock, host, pusher, push } = setUp();
    push(1, 2, 3);
    pusher.calls[0]?.fail(new ConnectError("who?", Code.Unauthenticated));
    await clock.settle();
    expect(host.warnings).toHaveLength(1);
  });

  test.each([
    ["a callback does", { onRejected: () => undefined, onError: () => undefined }],
    ["they are switched off", { warnings: false }],
  ])("tell of nothing when %s", async (_, options) => {
    const { clock, client, host, pusher, push } = setUp(options);
    client.push({ property: "", section: 1, item: 1 });
    push(1, 2, 3);
    pusher.calls[0]?.fail(new ConnectError("who?", Code.Unauthenticated));
    await clock.settle();
    host.finish();
    await clock.advance(3_000);
    expect(client.counters).toMatchObject({ rejected: 1, buffered: 3 });
    expect(host.warnings).toEqual([]);
  });
});
