import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { freePort } from "../support/free-port.js";
import { push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";

let dataDir: string;
let environment: Record<string, string>;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "stats-e2e-"));
  await chmod(dataDir, 0o755);
  environment = { DATA_DIR: dataDir, EMBEDDED_POSTGRES_PORT: String(await freePort()) };
});

afterEach(async () => {
  await rm(dataDir, { recursive: true, force: true });
});

async function storedItems(): Promise<number[]> {
  const client = new Client({
    connectionString: `postgres://postgres@127.0.0.1:${environment.EMBEDDED_POSTGRES_PORT}/stats`,
  });
  await client.connect();
  const { rows } = await client.query<{ property_id: string }>("SELECT property_id FROM incoming ORDER BY 1");
  await client.end();
  return rows.map(({ property_id }) => Number(property_id));
}

test.each(["1", "2"])(
  "without DATABASE_URL the service, with %s workers, brings its own PostgreSQL and keeps the data between runs",
  async (workers) => {
    environment = { ...environment, WORKERS: workers };
    {
      await using service = await ServiceProcess.start(environment);
      await push(service.url, { property: "news", section: 1, id: 1 });
      service.signalGroup("SIGINT");
      expect(await service.ended()).toEqual({ status: 0, signal: null });
    }
    await using service = await ServiceProcess.start(environment);
    await push(service.url, { property: "news", section: 1, id: 2, ack: "ACK_MODE_DURABLE" });
    expect(await storedItems()).toEqual([1, 2]);
    expect(await service.stop()).toEqual({ status: 0, signal: null });
  },
);

test("a killed run leaves nothing in the way of the next", async () => {
  {
    await using killed = await ServiceProcess.start(environment);
    await push(killed.url, { property: "news", section: 1, id: 1, ack: "ACK_MODE_DURABLE" });
    await killed.stop("SIGKILL");
  }
  await using service = await ServiceProcess.start(environment);
  expect(await storedItems()).toEqual([1]);
  expect(await service.stop()).toEqual({ status: 0, signal: null });
});

test.each([
  [
    "a port that is in use",
    async (inUse: ServiceProcess) => ({
      DATA_DIR: join(dataDir, "other"),
      EMBEDDED_POSTGRES_PORT: String(await freePort()),
      PORT: String(inUse.port),
    }),
    /^PORT/,
  ],
  [
    "an embedded PostgreSQL's port that is in use",
    async () => ({ ...environment, DATA_DIR: join(dataDir, "other") }),
    /EMBEDDED_POSTGRES_PORT/,
  ],
  ["a data directory of another running service", async () => environment, /DATA_DIR/],
  [
    "a data directory that is a file",
    async () => {
      await writeFile(join(dataDir, "file"), "");
      return {
        ...environment,
        DATA_DIR: join(dataDir, "file"),
        EMBEDDED_POSTGRES_PORT: String(await freePort()),
      };
    },
    /DATA_DIR/,
  ],
])(
  "%s ends the start at once, with one line that names the setting",
  async (_name, badEnvironment, setting) => {
    await using running = await ServiceProcess.start(environment);
    // One that was never ready has nobody to wait for.
    const lameDuck = { LAME_DUCK_MS: "3600000" };
    await using service = ServiceProcess.spawn([], { ...(await badEnvironment(running)), ...lameDuck });
    const ending = await service.ended();
    expect(ending).toEqual({ status: 1, signal: null });
    const fatal = service.log.filter(({ level }) => level === "fatal");
    expect(fatal).toHaveLength(1);
    expect(String(fatal[0]?.reason)).toMatch(setting);
    expect(await running.stop()).toEqual({ status: 0, signal: null });
  },
);
