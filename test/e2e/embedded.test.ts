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

test("without DATABASE_URL the service brings its own PostgreSQL and keeps the data between runs, with more workers, too", async () => {
  {
    await using service = await ServiceProcess.start(environment);
    await push(service.url, { property: "news", section: 1, item: 1 });
    service.signalGroup("SIGINT");
    expect(await service.ended()).toEqual({ status: 0, signal: null });
  }
  await using service = await ServiceProcess.start({ ...environment, WORKERS: "2" });
  await push(service.url, { property: "news", section: 1, item: 2, ack: "ACK_MODE_DURABLE" });
  expect(await storedItems()).toEqual([1, 2]);
  service.signalGroup("SIGINT");
  expect(await service.ended()).toEqual({ status: 0, signal: null });
});

test("a killed run leaves nothing in the way of the next", async () => {
  {
    await using killed = await ServiceProcess.start(environment);
    await push(killed.url, { property: "news", section: 1, item: 1, ack: "ACK_MODE_DURABLE" });
    await killed.stop("SIGKILL");
  }
  await using service = await ServiceProcess.start(environment);
  expect(await storedItems()).toEqual([1]);
  expect(await service.stop()).toEqual({ status: 0, signal: null });
});

describe("beside a service that runs", () => {
  let running: ServiceProcess;
  let takenDir: string;
  let takenPort: string;

  beforeAll(async () => {
    takenDir = await mkdtemp(join(tmpdir(), "stats-e2e-"));
    await chmod(takenDir, 0o755);
    takenPort = String(await freePort());
    running = await ServiceProcess.start({ DATA_DIR: takenDir, EMBEDDED_POSTGRES_PORT: takenPort });
  });

  afterAll(async () => {
    const ending = await running.stop();
    await rm(takenDir, { recursive: true, force: true });
    expect(ending).toEqual({ status: 0, signal: null });
  });

  test.each([
    ["its port", () => ({ PORT: String(running.port) }), /^PORT/],
    ["the port of its PostgreSQL", () => ({ EMBEDDED_POSTGRES_PORT: takenPort }), /EMBEDDED_POSTGRES_PORT/],
    ["its data directory", () => ({ DATA_DIR: takenDir }), /DATA_DIR/],
  ])(
    "%s ends the start of another at once, with one line that names the setting",
    async (_name, same, setting) => {
      await expectNoStart({ ...environment, ...same() }, setting);
    },
  );
});

test("a data directory that is a file ends the start at once, with one line that names the setting", async () => {
  const file = join(dataDir, "file");
  await writeFile(file, "");
  await expectNoStart({ ...environment, DATA_DIR: file }, /DATA_DIR/);
});

async function expectNoStart(badEnvironment: Record<string, string>, setting: RegExp): Promise<void> {
  // One that was never ready has nobody to wait for.
  const lameDuck = { LAME_DUCK_MS: "3600000" };
  await using service = ServiceProcess.spawn([], { ...badEnvironment, ...lameDuck });
  expect(await service.ended()).toEqual({ status: 1, signal: null });
  const fatal = service.log.filter(({ level }) => level === "fatal");
  expect(fatal).toEqual([expect.objectContaining({ reason: expect.stringMatching(setting) })]);
}
