import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import { RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.js";
import { CountsService, Dimension } from "../../../gen/stats/v1/counts_pb.js";
import { createQueryPool } from "../../../src/counts/count-queries.js";
import {
  QueryAbandonedError,
  QueryTimeoutError,
  TooManyQueriesError,
} from "../../../src/counts/query-errors.js";
import type { QueryPool } from "../../../src/counts/query-pool.js";
import type { Snapshot } from "../../../src/counts/snapshot.js";
import { openCountsPort } from "../../support/counts.js";
import { createTestDatabase, type TestDatabase } from "../../support/database.js";
import { makeGate, silent } from "../../support/rpc-port.js";
import { createStatsDatabase, lockWaiters, openTransaction } from "../../support/stats-database.js";

const PATIENT = { onAbandoned: () => undefined };
const sleep = (snapshot: Snapshot) => snapshot.client.query("SELECT pg_sleep(60)");

let database: TestDatabase;
beforeAll(async () => {
  database = await createStatsDatabase();
});
afterAll(() => database.close());

/** Resolves when a number of sessions run a statement that begins with these words. */
async function running(count: number, words: string): Promise<void> {
  for (;;) {
    const { rows } = await database.pool.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity
       WHERE datname = current_database() AND state = 'active' AND query LIKE $1 || '%'`,
      [words],
    );
    if (rows[0]?.count === count) {
      return;
    }
  }
}

describe("a pool of queries", () => {
  let pool: QueryPool;
  const open = (options: { timeoutMs?: number; maxInFlight?: number } = {}) => {
    const { timeoutMs = 20_000, maxInFlight = 16 } = options;
    pool = createQueryPool({ url: database.url, logger: silent, timeoutMs, maxInFlight });
    return pool;
  };
  afterEach(() => pool.close());

  it("runs two at a time, keeps others waiting up to its bound, and refuses one more", async () => {
    open({ maxInFlight: 3 });
    const gate = makeGate();
    let begun = 0;
    const wait = async () => {
      begun += 1;
      await gate.opened;
    };
    const queries = [1, 2, 3].map(() => pool.run(PATIENT, wait));
    await expect(pool.run(PATIENT, wait)).rejects.toThrow(TooManyQueriesError);
    while (begun < 2) {
      await new Promise(setImmediate);
    }
    expect(pool.inFlight).toBe(3);
    expect(begun).toBe(2);
    gate.open();
    await Promise.all(queries);
    expect(begun).toBe(3);
    expect(pool.inFlight).toBe(0);
  });

  it("cancels a query in PostgreSQL when its caller leaves, and has room again only after that", async () => {
    open();
    let leave = () => {};
    const caller = {
      onAbandoned: (listener: () => void) => {
        leave = listener;
      },
    };
    const query = pool.run(caller, sleep);
    await running(1, "SELECT pg_sleep");
    leave();
    expect(pool.inFlight).toBe(1);
    await expect(query).rejects.toThrow(QueryAbandonedError);
    await running(0, "SELECT pg_sleep");
    expect(pool.inFlight).toBe(0);
    await expect(pool.run(PATIENT, async () => "the next")).resolves.toBe("the next");
  });

  it("does not begin a query whose caller has left while it waited", async () => {
    open();
    const gate = makeGate();
    const others = [1, 2].map(() => pool.run(PATIENT, () => gate.opened));
    let leave = () => {};
    let hasBegun = false;
    const work = async () => {
      hasBegun = true;
    };
    const caller = {
      onAbandoned: (listener: () => void) => {
        leave = listener;
      },
    };
    const query = pool.run(caller, work);
    leave();
    gate.open();
    await expect(query).rejects.toThrow(QueryAbandonedError);
    await Promise.all(others);
    expect(hasBegun).toBe(false);
  });

  it("ends a query that takes longer than it may", async () => {
    open({ timeoutMs: 1_000 });
    await expect(pool.run(PATIENT, sleep)).rejects.toThrow(QueryTimeoutError);
    await expect(pool.run(PATIENT, async () => 1)).resolves.toBe(1);
  });

  it("shows one moment to all statements of a query, and can write nothing", async () => {
    open();
    const count = async ({ client }: Snapshot) =>
      (await client.query<{ count: string }>("SELECT count(*) FROM labels")).rows[0]?.count;
    await pool.run(PATIENT, async (snapshot) => {
      const before = await count(snapshot);
      await database.pool.query("INSERT INTO labels VALUES ('seen', 1, 1, 'x')");
      expect(await count(snapshot)).toBe(before);
      await expect(snapshot.client.query("DELETE FROM labels")).rejects.toMatchObject({ code: "25006" });
    });
  });

  it("goes on after its connections were ended by the server", async () => {
    open();
    await pool.run(PATIENT, async () => undefined);
    const query = pool.run(PATIENT, sleep);
    await running(1, "SELECT pg_sleep");
    await database.pool.query(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'stats-service queries'",
    );
    await expect(query).rejects.toMatchObject({ name: "CountsUnavailableError" });
    await expect(pool.run(PATIENT, async () => 1)).resolves.toBe(1);
  });
});

describe.each(["connect by POST", "connect by GET", "grpc"])("a call of a query by %s", (protocol) => {
  const transport = (baseUrl: string) =>
    protocol === "grpc"
      ? createGrpcTransport({ baseUrl })
      : createConnectTransport({ baseUrl, httpVersion: "2", useHttpGet: protocol.endsWith("GET") });
  const top = { dimension: Dimension.ITEM };

  it("is cancelled in PostgreSQL when the caller leaves", async () => {
    await using port = await openCountsPort({ url: database.url, now: () => Date.now() });
    await using _held = await openTransaction(database.pool, "LOCK TABLE counts_quarter_hour");
    const leaving = new AbortController();
    const call = createClient(CountsService, transport(port.url)).queryTop(top, { signal: leaving.signal });
    await lockWaiters(database.pool);
    leaving.abort();
    await expect(call).rejects.toMatchObject({ code: Code.Canceled });
    while (port.queries.inFlight > 0) {
      await new Promise(setImmediate);
    }
    const { rows } = await database.pool.query("SELECT 1 FROM pg_locks WHERE NOT granted");
    expect(rows).toEqual([]);
  });

  it("is over at the caller's deadline", async () => {
    await using port = await openCountsPort({ url: database.url, now: () => Date.now() });
    await using _held = await openTransaction(database.pool, "LOCK TABLE counts_quarter_hour");
    const call = createClient(CountsService, transport(port.url)).queryTop(top, { timeoutMs: 200 });
    await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  });

  it("is refused with the time to come back when too many run", async () => {
    await using port = await openCountsPort({ url: database.url, now: () => Date.now(), maxInFlight: 1 });
    const held = await openTransaction(database.pool, "LOCK TABLE counts_quarter_hour");
    const client = createClient(CountsService, transport(port.url));
    const first = client.queryTop(top);
    await lockWaiters(database.pool);
    const error = await client.queryTop(top).catch((each: unknown) => ConnectError.from(each));
    expect(error).toMatchObject({ code: Code.ResourceExhausted });
    expect((error as ConnectError).findDetails(RetryInfoSchema)).toMatchObject([
      { retryDelay: { seconds: 1n } },
    ]);
    await held[Symbol.asyncDispose]();
    await expect(first).resolves.toMatchObject({ totalCount: 0n });
  });

  it("says that the counts are not there where the tables are not", async () => {
    await using empty = await createTestDatabase();
    await using port = await openCountsPort({ url: empty.url, now: () => Date.now() });
    await expect(createClient(CountsService, transport(port.url)).queryTop(top)).rejects.toMatchObject({
      code: Code.Unavailable,
    });
  });
});
