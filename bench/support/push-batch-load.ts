/** Calls PushBatch as fast as it answers, and times it; it never looks into the table. */
import { Agent, request } from "node:http";
import { create, toBinary } from "@bufbuild/protobuf";
import { AckMode, PushBatchRequestSchema } from "../../gen/stats/v1/stats_pb.js";
import { formatUuid } from "../../src/event/uuid.js";
import { bulkEvents } from "./bulk-rows.js";

/** Events of one call: as many as the service takes. */
export const CALL_EVENTS = 10_000;
/** Enough for the next batch to be there when one has been flushed. */
const CALLS_IN_FLIGHT = Number(process.env.BENCH_CALLS_IN_FLIGHT ?? 4);

/** That many requests, encoded beforehand: the client is not what is measured. `hasIds`: with event ids. */
export function encodeBatches(calls: number, hasIds: boolean): Uint8Array[] {
  const source = bulkEvents(calls * CALL_EVENTS);
  return Array.from({ length: calls }, () => {
    const events = [];
    for (let i = 0; i < CALL_EVENTS; i++) {
      const { value } = source.next();
      const { property, section, itemId: item } = value;
      events.push({ property, section, item, eventId: hasIds ? formatUuid(value.id) : "" });
    }
    const message = create(PushBatchRequestSchema, { events, ack: AckMode.DURABLE });
    return toBinary(PushBatchRequestSchema, message);
  });
}

/** Calls PushBatch by Connect over HTTP/1.1; resolves when all of the events are committed. */
function pushBatch(port: number, agent: Agent, body: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        port,
        agent,
        method: "POST",
        path: "/stats.v1.StatsService/PushBatch",
        headers: { "content-type": "application/proto", "content-length": body.length },
      },
      (response) => {
        response.resume();
        response.on("error", reject);
        response.on("end", () => {
          if (response.statusCode === 200) {
            resolve();
          } else {
            reject(new Error(`void: a call was answered with status ${response.statusCode}`));
          }
        });
      },
    );
    call.on("error", reject);
    call.end(body);
  });
}

/** Milliseconds from the first call until each of the events is committed. */
export async function timeBatches(port: number, requests: readonly Uint8Array[]): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CALLS_IN_FLIGHT });
  let next = 0;
  const caller = async () => {
    while (next < requests.length) {
      await pushBatch(port, agent, requests[next++] as Uint8Array);
    }
  };
  const startedAt = performance.now();
  try {
    await Promise.all(Array.from({ length: CALLS_IN_FLIGHT }, caller));
    return performance.now() - startedAt;
  } finally {
    agent.destroy();
  }
}
