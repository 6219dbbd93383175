import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { Health } from "../../gen/health/v1/health_pb.js";
import type { TestDatabase } from "../support/database.js";
import { push } from "../support/pushes.js";
import { runCommand } from "../support/run-command.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";

const EVENT = { property: "news", section: 1, item: 1 };
const IS_OPEN_TO_ALL =
  "anyone who can reach HOST may push events: set AUTH_TOKENS_FILE to ask callers for a token";
const HAS_EXPIRED = { expires: "2020-01-01T00:00:00Z" };

let database: TestDatabase;
beforeAll(async () => {
  database = await createServiceDatabase();
});
afterAll(() => database[Symbol.asyncDispose]());

function pushAs(url: string, token: string, event: Record<string, unknown> = EVENT) {
  return push(url, event, undefined, { authorization: `Bearer ${token}` });
}

describe("the command token", () => {
  let directory: string;
  let file: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "stats-token-"));
    file = join(directory, "tokens.json");
  });
  afterEach(() => rm(directory, { recursive: true }));

  const run = (...args: string[]) => runCommand(["token", ...args], { AUTH_TOKENS_FILE: file });

  it("makes tokens that the service takes, lists them, and revokes them", async () => {
    const created = await run("create", "--name", "shop", "--properties", "shop,cart", "--expires", "90d");
    expect(created).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^[0-9a-f]{16}\.[\w-]{43}\n$/),
    });
    const token = created.stdout.trim();
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, "utf8")).not.toContain(token.slice(17));
    const second = await run("create", "--name", "all", "--json");
    const { token: all, entry } = JSON.parse(second.stdout);
    expect(entry).toEqual({ id: all.slice(0, 16), name: "all", sha256: expect.any(String) });

    const environment = { DATABASE_URL: database.url, AUTH_TOKENS_FILE: file };
    await using service = await ServiceProcess.start(environment);
    expect(await pushAs(service.url, token, { ...EVENT, property: "cart" })).toMatchObject({ status: 200 });
    expect(await pushAs(service.url, token)).toMatchObject({ status: 403 });
    expect(await pushAs(service.url, all)).toMatchObject({ status: 200 });

    const listed = await run("list");
    expect(listed.stdout).toMatch(
      /^[0-9a-f]{16} {2}shop {2}push {2}shop,cart {2}\S+\n[0-9a-f]{16} {2}all {2}push {2}any property {2}never expires\n$/,
    );
    expect(await run("revoke", token.slice(0, 16))).toMatchObject({ status: 0 });
    service.signal("SIGHUP");
    await service.logged("tokens loaded", 2);
    expect(await pushAs(service.url, token, { ...EVENT, property: "cart" })).toMatchObject({ status: 401 });
    expect(await pushAs(service.url, all)).toMatchObject({ status: 200 });
    expect(service.stdout).not.toContain(token.slice(17));
  });

  it("prints the entry where there is no file", async () => {
    const { status, stdout } = await runCommand(["token", "create", "--name", "x", "--json"]);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ entry: { name: "x" } });
  });

  it.each([
    [["create"], "required option '--name <NAME>' not specified"],
    [["create", "--name", "x", "--expires", "soon"], "It takes days, as in 90d"],
    [["create", "--name", "x", "--expires", "2020-01-01"], "It takes days, as in 90d"],
    [["create", "--name", "x", "--expires", "2030-02-31"], "It takes days, as in 90d"],
    [["create", "--name", "x", "--properties", "News"], "--properties[0]: must match"],
    [["create", "--name", "x", "--may", "write"], "It takes push, read, or push,read."],
    [["create", "--name", "x", "--limit", "3"], "unknown option '--limit'"],
    [["revoke"], "missing required argument 'id'"],
  ])("refuses %j with a reason, and writes nothing", async (args, reason) => {
    const { status, stderr } = await run(...args);
    expect(status).toBe(2);
    expect(stderr).toContain(reason);
    await expect(stat(file)).rejects.toMatchObject({ code: "ENOENT" });
  });

  it("says which file has no such token", async () => {
    await run("create", "--name", "x");
    const { status, stderr } = await run("revoke", "0123456789abcdef");
    expect(status).toBe(1);
    expect(stderr).toContain(`${file}: has no token with this id`);
  });
});

describe("a service with tokens", () => {
  it("takes no calls but those that prove who makes them, and leaves health open", async () => {
    const [known, expired] = [newToken(), newToken(HAS_EXPIRED)];
    await using file = await TestTokenFile.create(known, expired);
    await using service = await ServiceProcess.start({
      DATABASE_URL: database.url,
      HOST: "0.0.0.0",
      AUTH_TOKENS_FILE: file.path,
    });
    const refused = [await push(service.url, EVENT)];
    for (const token of [newToken().text, expired.text, "x"]) {
      refused.push(await pushAs(service.url, token));
    }
    for (const answer of refused) {
      expect(answer.status).toBe(401);
      expect(answer.body).toEqual({ code: "unauthenticated", message: "a valid bearer token is required" });
    }
    expect(await pushAs(service.url, known.text)).toMatchObject({ status: 200 });
    const health = createClient(Health, createGrpcTransport({ baseUrl: service.url }));
    expect(await health.check({})).toMatchObject({ status: 1 });
    expect(await service.stop()).toMatchObject({ status: 0 });
    expect(service.find("stopped")).toMatchObject({ accepted: 1 });
    expect(service.find(IS_OPEN_TO_ALL)).toBeUndefined();
  });

  it("goes on with the tokens that it has when SIGHUP finds a bad file", async () => {
    const token = newToken();
    await using file = await TestTokenFile.create(token);
    await using service = await ServiceProcess.start({
      DATABASE_URL: database.url,
      AUTH_TOKENS_FILE: file.path,
    });
    await file.write('{"tokens":[{}]}');
    service.signal("SIGHUP");
    const line = await service.logged(
      "the tokens could not be loaded again; those loaded before stay in force",
    );
    expect(line.reason).toContain(`AUTH_TOKENS_FILE: ${file.path}: tokens[0].id: `);
    expect(await pushAs(service.url, token.text)).toMatchObject({ status: 200 });
  });

  it("does not start with a bad file, and says in one line what is wrong with it", async () => {
    await using file = await TestTokenFile.create(newToken(), newToken({ expires: "soon" }));
    await using service = ServiceProcess.spawn([], {
      DATABASE_URL: database.url,
      AUTH_TOKENS_FILE: file.path,
    });
    expect(await service.ended()).toMatchObject({ status: 1 });
    expect(service.find("cannot start")?.reason).toBe(
      `AUTH_TOKENS_FILE: ${file.path}: tokens[1].expires: must be a time such as "2030-01-31T00:00:00Z"`,
    );
  });

  it("does not describe itself when REFLECTION is off", async () => {
    const { ServerReflection } = await import("../../gen/grpc/reflection/v1/reflection_pb.js");
    await using service = await ServiceProcess.start({ DATABASE_URL: database.url, REFLECTION: "off" });
    const client = createClient(ServerReflection, createGrpcTransport({ baseUrl: service.url }));
    const asking = (async () => {
      for await (const _ of client.serverReflectionInfo(
        (async function* () {
          yield { messageRequest: { case: "listServices" as const, value: "" } };
        })(),
      )) {
        // There is none.
      }
    })();
    expect(ConnectError.from(await asking.catch((error: unknown) => error)).code).toBe(Code.Unimplemented);
  });
});

describe("a service without tokens", () => {
  it("warns when others than this machine can reach it", async () => {
    await using service = await ServiceProcess.start({ DATABASE_URL: database.url, HOST: "0.0.0.0" });
    expect(service.find(IS_OPEN_TO_ALL)).toMatchObject({ level: "warn", host: "0.0.0.0" });
  });

  it("does not warn when this machine alone can reach it, and survives SIGHUP, which has nothing to reload", async () => {
    await using service = await ServiceProcess.start({ DATABASE_URL: database.url });
    expect(service.find(IS_OPEN_TO_ALL)).toBeUndefined();
    service.signal("SIGHUP");
    await service.logged("nothing to reload: neither AUTH_TOKENS_FILE nor TLS_CERT_FILE is set");
    expect(await push(service.url, EVENT)).toMatchObject({ status: 200 });
    expect(await service.stop()).toMatchObject({ status: 0 });
  });
});

describe("callers that share a queue", () => {
  it("find room in an outage although one of them floods it", async () => {
    await using own = await createServiceDatabase();
    const [noisy, quiet] = [newToken({ name: "noisy" }), newToken({ name: "quiet" })];
    await using file = await TestTokenFile.create(noisy, quiet);
    await using service = await ServiceProcess.start({
      DATABASE_URL: own.url,
      AUTH_TOKENS_FILE: file.path,
      SPOOL_MAX_BYTES: "0",
      FLUSH_MAX_ROWS: "100",
      FLUSH_INTERVAL_MS: "100",
      QUEUE_MAX_BYTES: "240000",
    });
    await pushAs(service.url, noisy.text, { ...EVENT, ack: "ACK_MODE_DURABLE" });
    // The table is there, and the service waits for it.
    const lock = await own.pool.connect();
    await lock.query("BEGIN");
    await lock.query("LOCK TABLE incoming IN ACCESS EXCLUSIVE MODE");
    let accepted = 1;
    let refusal = await pushAs(service.url, noisy.text);
    while (refusal.status === 200) {
      accepted += 1;
      refusal = await pushAs(service.url, noisy.text);
    }
    expect(refusal).toMatchObject({ status: 429, body: { code: "resource_exhausted" } });
    expect(JSON.stringify(refusal.body.details)).toContain('"reason":"FAIR_SHARE"');
    for (let i = 0; i < 100; i++) {
      expect(await pushAs(service.url, quiet.text)).toMatchObject({ status: 200 });
      expect(await pushAs(service.url, noisy.text)).toMatchObject({ status: 429 });
    }
    await lock.query("COMMIT");
    lock.release();
    expect(await service.stop()).toMatchObject({ status: 0 });
    const { rows } = await own.pool.query("SELECT count(*)::int FROM incoming");
    expect(rows).toEqual([{ count: accepted + 100 }]);
  });
});
