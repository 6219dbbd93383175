/**
 * What a shared buffer costs: events through an edge, NATS JetStream and a writer against the same events to one service,
 * by turns; the time of a durable call with three replicas; and what a second writer adds over a slow network.
 */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { Agent, request } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { cpus } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "pg";
import { pino } from "pino";
import { NatsServers } from "../test/support/nats-server.js";
import { findProgram, NATS_SERVER } from "../test/support/needs.js";
import { emptyTable, verifyRows } from "./support/bulk-rows.js";
import { openBenchDatabase } from "./support/database.js";
import { CALL_EVENTS, encodeBatches, timeBatches } from "./support/push-batch-load.js";
import { startService } from "./support/service.js";
import { median } from "./support/statistics.js";

const CALLS = Number(process.env.BENCH_CALLS ?? 50);
const ROWS = CALLS * CALL_EVENTS;
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 5);
const PUSHES = Number(process.env.BENCH_PUSHES ?? 20_000);
const DURABLE_IN_FLIGHT = 100;
const NETWORK_DELAY_MS = 5;
/** Of the clock by which Linux counts a process's time. */
const TICKS_PER_SECOND = 100;

const logger = pino({ level: "warn" }, pino.destination(2));

async function rowsIn(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ count: string }>("SELECT count(*) FROM incoming");
  return Number(rows[0]?.count);
}

/** Milliseconds until all rows are in the table, from before `load`. */
async function timeUntilRows(pool: Pool, rows: number, load: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  await load();
  while ((await rowsIn(pool)) < rows) {
    await delay(5);
  }
  return performance.now() - startedAt;
}

/** Pushes of one event each as JSON; the time of each call in milliseconds. */
async function pushMany(port: number, count: number, inFlight: number, ack?: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
  const body = JSON.stringify({ property: "news", section: 3, id: 42, ...(ack && { ack }) });
  const times: number[] = [];
  let started = 0;
  const caller = async () => {
    while (started < count) {
      started += 1;
      const startedAt = performance.now();
      const call = request({
        port,
        agent,
        method: "POST",
        path: "/stats.v1.StatsService/Push",
        headers: { "content-type": "application/json", "content-length": body.length },
      });
      call.end(body);
      const [response] = await once(call, "response");
      response.resume();
      await once(response, "end");
      if (response.statusCode !== 200) {
        throw new Error(`void: a call was answered with status ${response.statusCode}`);
      }
      times.push(performance.now() - startedAt);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
  agent.destroy();
  return times;
}

/** Microseconds of processor time per call that a process takes for `count` pushes. */
async function cpuPerPush(service: { readonly port: number; readonly pid: number }): Promise<number> {
  await pushMany(service.port, PUSHES / 4, 16);
  const before = await cpuSeconds(service.pid);
  await pushMany(service.port, PUSHES, 16);
  return (((await cpuSeconds(service.pid)) - before) / PUSHES) * 1e6;
}

async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The address of PostgreSQL behind a network on which each packet takes five milliseconds. */
async function slowNetwork(url: string): Promise<{ url: string; close: () => void }> {
  const target = new URL(url);
  const pipe = (from: Socket, to: Socket) => {
    from.on("data", (bytes) => setTimeout(() => to.write(bytes), NETWORK_DELAY_MS));
    from.on("close", () => to.destroy()).on("error", () => undefined);
  };
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    pipe(client, upstream);
    pipe(upstream, client);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const slow = new URL(url);
  slow.port = String((server.address() as AddressInfo).port);
  return { url: slow.href, close: () => server.close() };
}

async function main(): Promise<void> {
  const program = findProgram(NATS_SERVER);
  if (program === undefined) {
    throw new Error(`needs nats-server: apt-get install ${NATS_SERVER.debianPackage}`);
  }
  const database = await openBenchDatabase(logger);
  const { pool, url, version } = database;
  const [alone, three] = [await NatsServers.start(program), await NatsServers.start(program, 3)];
  const lines: string[] = [];
  try {
    lines.push(...(await throughput(pool, url, alone.url)));
    lines.push(await durable(url, three.url));
    lines.push(await twoWriters(pool, url, alone.url));
  } finally {
    await Promise.all([alone.close(), three.close()]);
    await database.close();
  }
  console.log(`\n${ROWS.toLocaleString("en-US")} rows, ${ROUNDS} rounds by turns, medians; ${version}`);
  console.log(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model})`);
  console.log(lines.join("\n"));
}

async function throughput(pool: Pool, url: string, bufferUrl: string): Promise<string[]> {
  const direct = await startService({ DATABASE_URL: url });
  const edge = await startService({ ROLE: "edge", BUFFER_URL: bufferUrl });
  const writer = await startService({ ROLE: "writer", BUFFER_URL: bufferUrl, DATABASE_URL: url });
  const [directMs, sharedMs]: [number[], number[]] = [[], []];
  const requests = encodeBatches(CALLS, false);
  try {
    for (let round = 1; round <= ROUNDS; round++) {
      for (const [port, times] of [
        [direct.port, directMs],
        [edge.port, sharedMs],
      ] as const) {
        await emptyTable(pool);
        times.push(await timeUntilRows(pool, ROWS, () => timeBatches(port, requests)));
        await verifyRows(pool, ROWS);
      }
      console.log(
        `round ${round}: direct ${directMs.at(-1)?.toFixed(0)} ms, shared ${sharedMs.at(-1)?.toFixed(0)} ms`,
      );
    }
    const ratio = median(directMs) / median(sharedMs);
    const [directCpu, edgeCpu] = [await cpuPerPush(direct), await cpuPerPush(edge)];
    return [
      `rows/s, edge → JetStream → writer ÷ direct   ${ratio.toFixed(2)}`,
      `CPU per Push (JSON), edge ÷ direct           ${(edgeCpu / directCpu).toFixed(2)}  (${edgeCpu.toFixed(0)} µs)`,
    ];
  } finally {
    await edge.stop();
    await writer.stop();
    await direct.stop();
  }
}

async function durable(url: string, bufferUrl: string): Promise<string> {
  const edge = await startService({ ROLE: "edge", BUFFER_URL: bufferUrl });
  const writer = await startService({ ROLE: "writer", BUFFER_URL: bufferUrl, DATABASE_URL: url });
  try {
    await pushMany(edge.port, 2_000, DURABLE_IN_FLIGHT, "ACK_MODE_DURABLE");
    const times = await pushMany(edge.port, PUSHES / 2, DURABLE_IN_FLIGHT, "ACK_MODE_DURABLE");
    return `DURABLE p50, ${DURABLE_IN_FLIGHT} in flight, 3 replicas          ${median(times).toFixed(1)} ms`;
  } finally {
    await edge.stop();
    await writer.stop();
  }
}

/** Until the stream is full and all writers are there the table is locked; the time runs from then. */
async function twoWriters(pool: Pool, url: string, bufferUrl: string): Promise<string> {
  const network = await slowNetwork(url);
  const requests = encodeBatches(CALLS, false);
  const buffer = { BUFFER_URL: bufferUrl, BUFFER_STREAM: "writers" };
  const timeWith = async (count: number): Promise<number> => {
    await emptyTable(pool);
    const settings = { ...buffer, ROLE: "writer", DATABASE_URL: network.url };
    const writers = await Promise.all(Array.from({ length: count }, () => startService(settings)));
    const edge = await startService({ ...buffer, ROLE: "edge" });
    const lock = await pool.connect();
    await lock.query("BEGIN; LOCK TABLE incoming IN SHARE ROW EXCLUSIVE MODE");
    await timeBatches(edge.port, requests);
    await edge.stop();
    const ms = await timeUntilRows(pool, ROWS, () => lock.query("COMMIT"));
    lock.release();
    await Promise.all(writers.map((each) => each.stop()));
    await verifyRows(pool, ROWS);
    return ms;
  };
  try {
    const [one, two]: [number[], number[]] = [[], []];
    for (let round = 1; round <= ROUNDS; round++) {
      one.push(await timeWith(1));
      two.push(await timeWith(2));
    }
    return `rows/s, 2 writers ÷ 1, network of ${NETWORK_DELAY_MS} ms        ${(median(one) / median(two)).toFixed(2)}`;
  } finally {
    network.close();
  }
}

await main();
