import type { TestDatabase } from "../support/database.js";
import { newEventId } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

let database: TestDatabase;
beforeAll(async () => {
  database = await createServiceDatabase();
});
afterAll(() => database.close());

/** What `incoming` has as the address of a caller whose pushes have these headers. */
async function storedAddress(settings: Record<string, string>, headers: Record<string, string>) {
  await using service = await ServiceProcess.start({ DATABASE_URL: database.url, ...settings });
  const eventId = newEventId();
  const event = { property: "news", section: 1, item: 1 };
  const push = (events: object[]) =>
    fetch(`${service.url}/stats.v1.StatsService/PushBatch`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ events, ack: "ACK_MODE_DURABLE" }),
    });
  const known = { ...event, eventId: newEventId() };
  expect((await push([known])).status).toBe(200);
  // With an id that is known, the batch goes to the table by the other way: decoded, as text.
  expect((await push([known, { ...event, eventId }])).status).toBe(200);
  const { rows } = await database.pool.query<{ address: string | null }>(
    "SELECT remote_ip::text AS address FROM incoming WHERE id = ANY ($1)",
    [[known.eventId, eventId]],
  );
  expect(rows).toHaveLength(2);
  expect(rows[0]).toEqual(rows[1]);
  return rows[0]?.address;
}

const FORWARDED = { "x-forwarded-for": "203.0.113.66, 2001:db8:1:2::3" };

// What makes up the address of a trusted proxy's headers, and what a network is, the unit tests show.
test.each([
  ["is that of the connection by default, whatever headers say", {}, "127.0.0.1/32"],
  [
    "is what a trusted proxy says, cut to its network",
    { TRUST_PROXY: "10.0.0.0/8, loopback", REMOTE_IP: "truncate" },
    "2001:db8:1::/48",
  ],
  ["can be left out", { TRUST_PROXY: "loopback", REMOTE_IP: "drop" }, null],
])("the address that is stored %s", async (_name, settings, expected) => {
  expect(await storedAddress(settings, FORWARDED)).toBe(expected);
});
