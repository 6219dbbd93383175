import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { TestDatabase } from "../support/database.js";
import { freePort } from "../support/free-port.js";
import { newEventId } from "../support/pushes.js";
import { runCommand } from "../support/run-command.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { until } from "../support/wait.js";

const MAIN = join(import.meta.dirname, "../../dist/src/main.js");

let database: TestDatabase;
let service: ServiceProcess;

beforeAll(async () => {
  database = await createServiceDatabase();
  service = await ServiceProcess.start({ DATABASE_URL: database.url, FLUSH_INTERVAL_MS: "10" });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await database.close();
});
beforeEach(() => database.pool.query("DELETE FROM incoming"));

/** `stats-service push` as a process. */
function start(args: string[], environment: Record<string, string> = {}) {
  const child: ChildProcess = spawn(process.execPath, [MAIN, "push", ...args], {
    env: { PATH: process.env.PATH, STATS_URL: service.url, ...environment },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const { stdin, stdout, stderr } = child;
  if (stdin === null || stdout === null || stderr === null) {
    throw new Error("the process has no pipes");
  }
  // It may end before it has read all.
  stdin.on("error", () => undefined);
  const ended = Promise.all([once(child, "exit"), text(stdout), text(stderr)]).then(
    ([[status], out, err]) => ({
      status: status as number | null,
      stdout: out,
      stderr: err,
    }),
  );
  return { child, stdin, ended };
}

function push(args: string[], input = "", environment: Record<string, string> = {}) {
  const { stdin, ended } = start(args, environment);
  stdin.end(input);
  return ended;
}

async function stored() {
  const { rows } = await database.pool.query<{ id: string; property: string; item: string }>(
    "SELECT id, property, property_id AS item FROM incoming ORDER BY property_id",
  );
  return rows;
}

const line = (item: number) => `${JSON.stringify({ property: "news", section: 1, item })}\n`;

test("pushes one event that the command line names", async () => {
  const eventId = newEventId();
  const args = ["--property", "news", "--section", "3", "--item", "42", "--event-id", eventId, "--durable"];
  expect(await push(args)).toEqual({
    status: 0,
    stdout: "1 acknowledged, 0 rejected, 0 bad lines, 0 without an answer\n",
    stderr: "",
  });
  expect(await stored()).toEqual([{ id: eventId, property: "news", item: "42" }]);
});

test("pushes the lines of standard input, names the bad ones, and goes on", async () => {
  const count = 12_000;
  const good = Array.from({ length: count }, (_, n) => line(n + 1));
  good.splice(100, 0, "nope\n", '{"property":"No","section":1,"id":1}\n');
  const { status, stdout, stderr } = await push(["--stdin", "--durable", "--json"], good.join(""));
  expect(status).toBe(1);
  expect(JSON.parse(stdout)).toEqual({
    acknowledged: count,
    rejected: 1,
    badLines: 1,
    undelivered: 0,
    settledThrough: count + 2,
    stop: null,
  });
  expect(stderr).toMatch(/^line 101 is not JSON: .*\nline 102 is rejected: property must match .*\n$/);
  expect((await stored()).map(({ item }) => Number(item))).toEqual(
    Array.from({ length: count }, (_, n) => n + 1),
  );
});

test("Ctrl-C sends what was read, and tells where to go on", async () => {
  const { child, stdin, ended } = start(["--durable"]);
  stdin.write(Array.from({ length: 500 }, (_, n) => line(n + 1)).join(""));
  await until(async () => (await stored()).length > 0, "the first row");
  stdin.write(line(501));
  child.kill("SIGINT");
  const { status, stderr } = await ended;
  expect(status).toBe(130);
  const [, settled] = /all lines up to (\d+) are settled; to go on: tail -n \+\d+\n$/.exec(stderr) ?? [];
  expect(stderr).toContain("stats-service: stopped by SIGINT\n");
  expect(Number(settled)).toBeGreaterThan(0);
  expect(await stored()).toHaveLength(Number(settled));
});

test("pushes the lines of a file, and tells how to go on with it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "stats-push-"));
  try {
    const file = join(folder, "events of today.jsonl");
    await writeFile(file, line(1) + line(2));
    expect(await push([file, "--durable"])).toMatchObject({ status: 0, stderr: "" });
    expect((await stored()).map(({ item }) => item)).toEqual(["1", "2"]);

    const dead = ["--url", `http://127.0.0.1:${await freePort()}`, "--timeout", "1"];
    const { status, stderr } = await push([file, ...dead]);
    expect(status).toBe(69);
    expect(stderr).toContain(`to go on: tail -n +1 '${file}' | stats-service push --stdin\n`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("follows PORT and HOST when no URL is given", async () => {
  const { port } = new URL(service.url);
  const args = ["--property", "news", "--section", "3", "--item", "42", "--durable"];
  for (const host of ["127.0.0.1", "0.0.0.0"]) {
    expect(await push(args, "", { STATS_URL: "", HOST: host, PORT: port })).toMatchObject({ status: 0 });
  }
  expect(await push(args, "", { STATS_URL: "", PORT: "0" })).toMatchObject({
    status: 2,
    stderr: expect.stringContaining("PORT is 0, so only the service knows its port"),
  });
});

test("says at once that a URL is that of the admin port", async () => {
  const { status, stderr } = await push(["--url", service.adminUrl], line(1));
  expect(status).toBe(69);
  expect(stderr).toContain(`out of reach: ${service.adminUrl} is the admin port of a stats-service`);
});

test("says within a second what it waits for, and ends at once at Ctrl-C", async () => {
  const { child, stdin, ended } = start(["--url", `http://127.0.0.1:${await freePort()}`]);
  stdin.end(line(1));
  await once(child.stderr as NodeJS.ReadableStream, "data");
  const signalledAt = performance.now();
  child.kill("SIGINT");
  const { status, stderr } = await ended;
  expect(status).toBe(130);
  expect(performance.now() - signalledAt).toBeLessThan(5_000);
  expect(stderr).toMatch(/^stats-service: nothing listens on 127\.0\.0\.1:\d+; trying for 30 s in all/);
});

test("exits with 69 when the service is out of reach", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const { status, stderr, stdout } = await push(["--url", url, "--timeout", "1"], line(1));
  expect(status).toBe(69);
  expect(stdout).toBe("0 acknowledged, 0 rejected, 0 bad lines, 1 without an answer\n");
  expect(stderr).toContain(`the service is out of reach: nothing listens on ${new URL(url).host}`);
  expect(stderr).toContain("to go on: tail -n +1\n");
});

test("waits out its patience and exits with 69 when there is more to send than it reads ahead", async () => {
  const url = `http://127.0.0.1:${await freePort()}`;
  const input = Array.from({ length: 30_000 }, (_, n) => line(n + 1)).join("");
  const { status, stderr, stdout } = await push(["--stdin", "--url", url, "--timeout", "2"], input);
  expect(status).toBe(69);
  expect(stdout).toBe("0 acknowledged, 0 rejected, 0 bad lines, 10000 without an answer\n");
  expect(stderr).toContain("all lines up to 0 are settled; to go on: tail -n +1\n");
});

test("sends STATS_TOKEN, and exits with 77 when it is refused", async () => {
  const seen: (string | undefined)[] = [];
  const gate = createServer((request, response) => {
    seen.push(request.headers.authorization);
    request.resume();
    response.writeHead(401, { "content-type": "application/json" }).end('{"code":"unauthenticated"}');
  }).listen(0, "127.0.0.1");
  await once(gate, "listening");
  try {
    const url = `http://127.0.0.1:${(gate.address() as AddressInfo).port}`;
    const { status, stderr } = await push(["--url", url], line(1), { STATS_TOKEN: "secret" });
    expect(status).toBe(77);
    expect(seen).toEqual(["Bearer secret"]);
    expect(stderr).toContain("the service refuses the caller: [unauthenticated]");
    expect(stderr).not.toContain("secret");
  } finally {
    gate.close();
  }
});

test("exits with 2 when standard input is a directory", async () => {
  const directory = await open(import.meta.dirname);
  try {
    const { status, stderr } = spawnSync(process.execPath, [MAIN, "push", "--stdin"], {
      env: { STATS_URL: service.url },
      stdio: [directory.fd, "ignore", "pipe"],
      encoding: "utf8",
    });
    expect(status).toBe(2);
    expect(stderr).toContain("standard input is a directory");
  } finally {
    await directory.close();
  }
});

test.each([
  [["--section", "1"], "an event needs --property, --section and --item"],
  [
    ["--property", "news", "--section", "x"],
    "option '--section <N>' argument 'x' is invalid. It takes a whole number from 1.",
  ],
  [["--property", "news", "--stdin"], "option '--stdin' cannot be used with option '--property <NAME>'"],
  [["--url", "nowhere"], "option '--url <URL>' argument 'nowhere' is invalid."],
  [["--token", "abc\ndef"], "token has characters that a header cannot carry"],
  [["--timeout", "0"], "option '--timeout <S>' argument '0' is invalid. It takes a whole number from 1."],
  [["no-such.jsonl"], "cannot read no-such.jsonl: ENOENT"],
  [["."], ". is a directory"],
  [["package.json", "--property", "news"], "a file and an event exclude each other"],
  [["--colour", "red"], "unknown option '--colour'"],
])("exits with 2 and says what is wrong with the command line: %j", async (args, message) => {
  const { status, stderr } = await runCommand(["push", ...args]);
  expect(status).toBe(2);
  expect(stderr).toContain(message);
});
