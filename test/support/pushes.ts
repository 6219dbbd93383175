/** Producers for tests: push events over plain HTTP and keep a record of what was acknowledged. */
import { Agent, request } from "node:http";
import { EventIds } from "../../src/event/event-id.js";
import { formatUuid } from "../../src/event/uuid.js";

const ids = new EventIds({ now: Date.now });

/** A new event id, as a client makes it. */
export function newEventId(): string {
  const id = new Uint8Array(16);
  ids.next(id);
  return formatUuid(id);
}

/** A call's answer: HTTP status and JSON. */
export interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Calls Push by Connect's JSON over HTTP/1.1. Rejects when there was no complete answer. */
export function push(
  url: string,
  event: Record<string, unknown>,
  agent?: Agent,
  headers?: Readonly<Record<string, string>>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const call = request(
      `${url}/stats.v1.StatsService/Push`,
      {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        ...(agent && { agent }),
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          text += part;
        });
        response.on("error", reject);
        response.on("end", () => {
          try {
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(text || "{}") as Answer["body"] });
          } catch {
            // A proxy's own page, for example.
            reject(new Error(`status ${response.statusCode}, and no JSON: ${text.slice(0, 200)}`));
          }
        });
      },
    );
    call.on("error", reject);
    call.end(JSON.stringify(event));
  });
}

/** What a run of {@link pushMany} saw. */
export interface PushRecord {
  /** Event ids that were answered OK. */
  readonly acknowledged: Set<string>;
  /** Event ids that were not: refused, or no answer came. */
  readonly failed: Set<string>;
}

/**
 * Pushes `count` events over `connections` connections, each with an event id of its own, and calls
 * `onAnswer` after each answer with the number of answers so far.
 */
export async function pushMany(
  url: string,
  { count, connections, ack }: { count: number; connections: number; ack?: string },
  onAnswer: (answers: number) => void = () => undefined,
): Promise<PushRecord> {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const record: PushRecord = { acknowledged: new Set(), failed: new Set() };
  let started = 0;
  let answers = 0;
  const produce = async () => {
    while (started < count) {
      started += 1;
      const eventId = newEventId();
      const event = { property: "news", section: 1, item: started, eventId, ...(ack && { ack }) };
      const ok = await push(url, event, agent).then(
        ({ status }) => status === 200,
        () => false,
      );
      (ok ? record.acknowledged : record.failed).add(eventId);
      answers += 1;
      onAnswer(answers);
    }
  };
  await Promise.all(Array.from({ length: connections }, produce));
  agent.destroy();
  return record;
}
