/** The service as it would be without a queue: the stock adapter, and one INSERT for each request. */
import { createServer } from "node:http";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import pg from "pg";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { EventIds } from "../../src/event/event-id.js";
import { uuidv7TimeMs } from "../../src/event/tuple-codec.js";
import { formatUuid, ID_BYTES } from "../../src/event/uuid.js";
import { serve } from "../support/contender-program.js";

const POOL_CONNECTIONS = 10;

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: POOL_CONNECTIONS });
const ids = new EventIds({ now: Date.now });
const id = new Uint8Array(ID_BYTES);
const inserts = new Set<Promise<unknown>>();
let accepted = 0;

function insert(property: string, section: number, itemId: number): Promise<unknown> {
  ids.next(id);
  return pool.query({
    // A name makes it a prepared statement: parsed once a connection.
    name: "insert",
    text: "INSERT INTO incoming VALUES ($1, $2, $3, $4, $5, $6)",
    values: [formatUuid(id), property, section, itemId, "127.0.0.1", new Date(uuidv7TimeMs(id))],
  });
}

const adapter = connectNodeAdapter({
  routes: (router) =>
    router.service(StatsService, {
      push: async (request) => {
        const inserting = insert(request.property, request.section, request.item);
        inserts.add(inserting);
        await inserting.finally(() => inserts.delete(inserting));
        accepted += 1;
        return {};
      },
    }),
});

await serve(createServer(adapter), async () => {
  // Callers may have left in the middle of a call; their rows count, too.
  await Promise.all(inserts);
  await pool.end();
  return { accepted };
});
