import { mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestDatabase } from "../support/database.js";
import { NatsServers } from "../support/nats-server.js";
import { describeWith, NATS_SERVER } from "../support/needs.js";
import { newEventId, push, pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { until } from "../support/wait.js";

const MODULE_LOG = `
  import { register } from "node:module";
  register("data:text/javascript," + encodeURIComponent(\`
    import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(process.env.MODULE_LOG, url + "\\\\n");
      return next(url, context);
    }\`));`;

describeWith(NATS_SERVER, "edges and writers", (program) => {
  let nats: NatsServers;
  let database: TestDatabase;
  let folder: string;
  let place = 0;

  beforeAll(async () => {
    nats = await NatsServers.start(program);
    folder = await mkdtemp(join(tmpdir(), "stats-roles-"));
  });
  afterAll(async () => {
    await nats.close();
    await rm(folder, { recursive: true });
  });
  beforeEach(async () => {
    place += 1;
    database = await createServiceDatabase();
  });
  afterEach(() => database.close());

  const shared = () => ({ BUFFER_URL: nats.url, BUFFER_STREAM: `roles${place}`, FLUSH_INTERVAL_MS: "50" });
  const startEdge = (settings: Record<string, string> = {}) =>
    ServiceProcess.start({ ROLE: "edge", DATA_DIR: join(folder, "edge"), ...shared(), ...settings });
  const startWriter = (settings: Record<string, string> = {}) =>
    ServiceProcess.start({ ROLE: "writer", DATABASE_URL: database.url, ...shared(), ...settings });

  async function storedIds(): Promise<Set<string>> {
    const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
    return new Set(rows.map(({ id }) => id));
  }

  async function eventsOf(service: ServiceProcess): Promise<Record<string, number>> {
    const status = (await (await fetch(`${service.adminUrl}/status`)).json()) as {
      events: Record<string, number>;
    };
    return status.events;
  }

  it("make rows of what is pushed to any edge, and the books of each process balance", async () => {
    await using first = await startEdge();
    await using second = await startEdge();
    await using writer = await startWriter();
    const durable = { count: 300, connections: 4, ack: "ACK_MODE_DURABLE" };
    const [one, other] = await Promise.all([pushMany(first.url, durable), pushMany(second.url, durable)]);
    const queued = await pushMany(first.url, { count: 200, connections: 4 });
    expect([one.failed.size, other.failed.size, queued.failed.size]).toEqual([0, 0, 0]);
    const pushed = new Set([...one.acknowledged, ...other.acknowledged, ...queued.acknowledged]);
    await until(async () => (await storedIds()).size === pushed.size, "a row for each event");
    expect(await storedIds()).toEqual(pushed);

    expect(await eventsOf(first)).toMatchObject({ accepted: 500, forwarded: 500, inserted: 0 });
    expect(await eventsOf(writer)).toMatchObject({ accepted: 0, recovered: 800, inserted: 800 });
    for (const service of [first, second, writer]) {
      expect(await service.stop()).toEqual({ status: 0, signal: null });
      expect(service.find("stopped")).toMatchObject({ missing: 0, queued: 0 });
    }
  });

  it("keep what an edge took when there is no writer yet, also when the edge is killed", async () => {
    await using edge = await startEdge();
    const { acknowledged } = await pushMany(edge.url, {
      count: 200,
      connections: 4,
      ack: "ACK_MODE_DURABLE",
    });
    expect(acknowledged.size).toBe(200);
    await edge.stop("SIGKILL");
    await using _writer = await startWriter();
    await until(async () => (await storedIds()).size === 200, "200 rows");
    expect(await storedIds()).toEqual(acknowledged);
  });

  it("lose nothing and double nothing when writers are killed again and again", async () => {
    await using edge = await startEdge();
    const pushing = pushMany(edge.url, { count: 3_000, connections: 8, ack: "ACK_MODE_DURABLE" });
    for (let round = 0; round < 4; round++) {
      await using writer = await startWriter();
      const before = (await storedIds()).size;
      await until(
        async () => (await storedIds()).size > before || (await isDone(pushing)),
        "a row that this writer wrote",
      );
      await writer.stop("SIGKILL");
    }
    const { acknowledged, failed } = await pushing;
    expect(failed.size).toBe(0);
    await using _last = await startWriter();
    await until(async () => (await storedIds()).size === acknowledged.size, "a row for each event");
    expect(await storedIds()).toEqual(acknowledged);
  }, 120_000);

  it("are added up by status --cluster, and one that was killed is named", async () => {
    await using edge = await startEdge();
    await using killed = await startEdge();
    await using writer = await startWriter();
    await pushMany(edge.url, { count: 100, connections: 4, ack: "ACK_MODE_DURABLE" });
    await until(async () => (await storedIds()).size === 100, "100 rows");
    const cluster = async () => {
      const command = ServiceProcess.spawn(["status", "--cluster"], shared());
      const { status } = await command.ended();
      return { status, text: command.stdout };
    };
    await until(async () => (await cluster()).text.includes("2 edge, 1 writer"), "all three to answer");
    const quiet = await cluster();
    expect(quiet).toMatchObject({ status: 0 });
    expect(quiet.text).toMatch(/accepted +100 events/);
    expect(quiet.text).toMatch(/stream +0 events/);
    expect(quiet.text).toMatch(/written +100 inserted/);
    expect(quiet.text).toMatch(/no event is missing/);

    expect(await writer.stop()).toMatchObject({ status: 0 });
    await killed.stop("SIGKILL");
    const after = await cluster();
    expect(after.status).toBe(1);
    expect(after.text).toMatch(/processes +1 edge, 1 stopped in order/);
    expect(after.text).toMatch(new RegExp(`UNKNOWN +edge .* ${killed.pid}: no answer`));
    expect(after.text).toMatch(/written +100 inserted/);
  }, 60_000);

  it("say where to go when a call is for the other role", async () => {
    await using edge = await startEdge();
    await using writer = await startWriter();
    const refused = await push(writer.url, { property: "news", section: 1, item: 1, event_id: newEventId() });
    expect(refused).toMatchObject({ status: 501, body: { code: "unimplemented" } });
    expect(refused.body.message).toContain("ROLE=edge");
    const answer = await fetch(`${edge.url}/stats.v1.CountsService/QueryTop`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ dimension: "DIMENSION_PROPERTY" }),
    });
    expect(answer.status).toBe(501);
    expect(((await answer.json()) as { message: string }).message).toContain("ROLE=writer");
  });

  it("have an edge load nothing of PostgreSQL, and open no file in DATA_DIR and no connection but to NATS", async () => {
    const moduleLog = join(folder, "modules.txt");
    await using edge = await startEdge({
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(MODULE_LOG)}`,
      MODULE_LOG: moduleLog,
    });
    await push(edge.url, { property: "news", section: 1, item: 1, ack: "ACK_MODE_DURABLE" });
    const modules = (await readFile(moduleLog, "utf8")).split("\n");
    expect(modules.some((url) => url.includes("jetstream-buffer.js"))).toBe(true);
    expect(
      modules.filter((url) => /node_modules\/pg|postgres\/pool|embedded\/server-process/.test(url)),
    ).toEqual([]);
    const descriptors = `/proc/${edge.pid}/fd`;
    const links = await Promise.all(
      (await readdir(descriptors)).map((fd) => readlink(join(descriptors, fd)).catch(() => "")),
    );
    expect(links.filter((link) => link.startsWith(folder))).toEqual([]);
    expect(await readdir(folder)).not.toContain("edge");
  });

  it("take over from one service: in an outage of PostgreSQL its events go to NATS, and a writer writes them", async () => {
    await using service = await ServiceProcess.start({
      ...shared(),
      DATABASE_URL: database.url,
      SHUTDOWN_TIMEOUT_MS: "1000",
    });
    await database.pool.query("ALTER TABLE incoming RENAME TO away");
    const { acknowledged } = await pushMany(service.url, {
      count: 100,
      connections: 4,
      ack: "ACK_MODE_DURABLE",
    });
    expect(acknowledged.size).toBe(100);
    expect(await service.stop()).toMatchObject({ status: 0 });
    expect(service.find("stopped")).toMatchObject({ forwarded: 100, missing: 0 });
    await database.pool.query("ALTER TABLE away RENAME TO incoming");
    await using _writer = await startWriter();
    await until(async () => (await storedIds()).size === 100, "100 rows");
    expect(await storedIds()).toEqual(acknowledged);
  });

  it("refuse settings that contradict their role, all at once", async () => {
    const edge = ServiceProcess.spawn([], { ROLE: "edge", DATABASE_URL: database.url, WORKERS: "2" });
    expect(await edge.ended()).toMatchObject({ status: 2 });
    expect(edge.stderr).toMatch(/BUFFER_URL: is needed with ROLE=edge/);
    expect(edge.stderr).toMatch(/DATABASE_URL: has no use with ROLE=edge/);
    expect(edge.stderr).toMatch(/WORKERS: must be 1 with ROLE=edge/);
    const writer = ServiceProcess.spawn([], { ROLE: "writer" });
    expect(await writer.ended()).toMatchObject({ status: 2 });
    expect(writer.stderr).toMatch(/DATABASE_URL: is needed with ROLE=writer/);
  });
});

async function isDone(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending;
}
