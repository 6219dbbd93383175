/** What the scripts of a page do with the service; they run in a browser and judge nothing. */
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AckMode, createBufferingClient, createStatsClient } from "@stats-service/client";
import { StatsService } from "@stats-service/client/contract";

/** One event over Connect; resolves when it is a row, or with the code of the error. */
export function push(url, event, options) {
  return pushBy(createStatsClient(url, options), event);
}

/** The same over gRPC-Web, by the transport of connect. */
export function pushByGrpcWeb(url, event) {
  return pushBy(createClient(StatsService, createGrpcWebTransport({ baseUrl: url })), event);
}

async function pushBy(client, event) {
  try {
    await client.push({ ...event, ack: AckMode.DURABLE });
    return "OK";
  } catch ({ code, message }) {
    return { code, message };
  }
}

/** `count` events by the buffering client, with items from 1; resolves with its counters when it has delivered them. */
export async function deliver(url, count) {
  const client = createBufferingClient(url, { ack: "durable", batchEvents: 100 });
  for (let item = 1; item <= count; item += 1) {
    client.push({ property: "news", section: 3, item });
  }
  await client.close();
  return client.counters;
}

/** A request that browsers send without asking first, as a form does; nothing of its answer can be read. */
export async function pushUnasked(url, event) {
  const body = JSON.stringify(event);
  const answer = await fetch(`${url}/stats.v1.StatsService/Push`, { method: "POST", mode: "no-cors", body });
  return answer.type;
}

/**
 * `count` events by a client that is left to itself, for a page that is about to end. `arrive` tells whether calls get
 * anywhere that do not outlive the page: without it, a page that its browser keeps for a while cannot pass for one that ended.
 */
export function pushAndLeave(url, count, { arrive, ...options }) {
  const fetchKept = (input, init) => (init.keepalive ? fetch(input, init) : new Promise(() => {}));
  globalThis.client = createBufferingClient(url, { ...options, ...(arrive ? {} : { fetch: fetchKept }) });
  globalThis.addEventListener("pageshow", ({ persisted }) => {
    globalThis.cameBack = persisted;
  });
  pushMore(count);
}

/** `count` more events, with items that go on from those before. */
export function pushMore(count) {
  const { client } = globalThis;
  const first = client.counters.pushed + 1;
  for (let item = first; item < first + count; item += 1) {
    client.push({ property: "news", section: 3, item });
  }
}

/** Resolves with the client's counters when it has delivered all. */
export async function delivered() {
  await globalThis.client.flush();
  return globalThis.client.counters;
}
