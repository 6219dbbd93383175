import { jest } from "@jest/globals";
import type { TestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { connectionAttacks, MAX_CONNECTIONS } from "./scenarios/connections.js";
import { http1Attacks } from "./scenarios/http1.js";
import { http2Attacks } from "./scenarios/http2.js";
import { type AttackRow, attackTable, isFull } from "./support/attack.js";
import { Bystanders } from "./support/bystanders.js";

// In full, an attack lasts as long as the service lets it.
jest.setTimeout(180_000);

/** What operations.md says will do, and what Node lets the heap take in a container of that size. */
const RSS_MAX_MIB = 512;
const HEAP_MAX_MIB = 256;
/** Pushes of each of the others, however soon an attack is over. */
const PUSHES_MIN = 30;

const table: AttackRow[] = [];
const acknowledged: string[] = [];

let database: TestDatabase;
let service: ServiceProcess;
let bystanders: Bystanders;

beforeAll(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    MAX_CONNECTIONS: String(MAX_CONNECTIONS),
    REQUEST_TIMEOUT_MS: "10000",
    NODE_OPTIONS: `--max-old-space-size=${HEAP_MAX_MIB}`,
  });
  bystanders = new Bystanders(service.url, service.pid);
  // The code and the connections of all are warm before the first attack.
  const { acknowledged: first, failures } = await bystanders.during(async () => {}, 100);
  expect(failures).toEqual([]);
  acknowledged.push(...first);
});

afterAll(async () => {
  process.stdout.write(`\n${attackTable(table)}\n`);
  await service[Symbol.asyncDispose]();
  await database.close();
});

const attacks = [...connectionAttacks, ...http1Attacks, ...http2Attacks].filter(
  ({ onlyInFull }) => isFull || onlyInFull !== true,
);

test.each(attacks)(
  "$name: the others are answered as ever, and memory is bounded",
  async ({ name, tried, run }) => {
    let did = "";
    const report = await bystanders.during(async () => {
      did = await run(service.port);
    }, PUSHES_MIN);
    acknowledged.push(...report.acknowledged);
    const { p50Ms, p99Ms, rssMib } = report;
    table.push({ attack: name, tried, did, pushes: report.acknowledged.length, p50Ms, p99Ms, rssMib });
    expect(report.fault).toBeUndefined();
    expect(report.failures).toEqual([]);
    expect(rssMib?.[1] ?? 0).toBeLessThan(RSS_MAX_MIB);
  },
);

test("behind all attacks, the service stops in order, and each push of the others is one row", async () => {
  expect(await service.stop()).toEqual({ status: 0, signal: null });
  const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
  expect(new Set(rows.map(({ id }) => id))).toEqual(new Set(acknowledged));
  expect(rows).toHaveLength(acknowledged.length);
  expect(service.log.filter(({ level }) => level === "error")).toEqual([]);
});
