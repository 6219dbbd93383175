import type { TestDatabase } from "../support/database.js";
import { push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";

let database: TestDatabase;
beforeAll(async () => {
  database = await createServiceDatabase();
  await database.pool.query(
    `INSERT INTO counts_quarter_hour SELECT property, section, item, date_bin('15 minutes', now(), '2020-01-01'), count
     FROM (VALUES ('news', 0, 0, 3), ('news', 1, 0, 3), ('news', 1, 7, 3), ('shop', 0, 0, 5)) AS t (property, section, item, count)`,
  );
});
afterAll(() => database[Symbol.asyncDispose]());

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: {
    readonly message?: string;
    readonly entries?: readonly { property: string; count: string }[];
  };
}

/** Asks by GET; by POST with `method`. */
async function ask(
  url: string,
  rpc: string,
  message: object,
  token?: string,
  method = "GET",
): Promise<Answer> {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const json = JSON.stringify(message);
  const path = `${url}/stats.v1.CountsService/${rpc}`;
  const response =
    method === "GET"
      ? await fetch(`${path}?connect=v1&encoding=json&message=${encodeURIComponent(json)}`, {
          headers: authorization,
        })
      : await fetch(path, {
          method: "POST",
          headers: { "content-type": "application/json", ...authorization },
          body: json,
        });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as Answer["body"],
  };
}

const TOP = { dimension: "DIMENSION_PROPERTY" };
const start = (environment: Record<string, string>) =>
  ServiceProcess.start({ DATABASE_URL: database.url, COUNTS: "off", ...environment });

describe("without tokens", () => {
  it("counts are shown to callers of this machine, where no others can reach the port", async () => {
    await using service = await start({});
    const { status, headers, body } = await ask(service.url, "QueryTop", TOP);
    expect(status).toBe(200);
    expect(body.entries).toEqual([
      { property: "shop", count: "5" },
      { property: "news", count: "3" },
    ]);
    expect(headers.get("cache-control")).toBe("max-age=1");
  });

  it("counts are not shown where others can reach the port, while events are taken as before", async () => {
    await using service = await start({ HOST: "0.0.0.0" });
    for (const method of ["GET", "POST"]) {
      const { status, body } = await ask(service.url, "QueryTop", TOP, undefined, method);
      expect(status).toBe(403);
      expect(body.message).toMatch(/AUTH_TOKENS_FILE, or COUNTS_ACCESS=open/);
    }
    expect(await push(service.url, { property: "other", section: 1, item: 1 })).toMatchObject({
      status: 200,
    });
  });

  it("counts are shown to everyone where the operator says so", async () => {
    await using service = await start({ HOST: "0.0.0.0", COUNTS_ACCESS: "open" });
    expect(await ask(service.url, "QueryTop", TOP)).toMatchObject({ status: 200 });
  });
});

describe("with tokens", () => {
  const old = newToken({ name: "made before there were counts" });
  const reader = newToken({ name: "reader", may: ["read"] });
  const both = newToken({ name: "both", may: ["push", "read"] });
  const ofNews = newToken({ name: "news", may: ["read"], properties: ["news"] });
  let file: TestTokenFile;
  let service: ServiceProcess;
  beforeAll(async () => {
    file = await TestTokenFile.create(old, reader, both, ofNews);
    service = await start({ AUTH_TOKENS_FILE: file.path, HOST: "0.0.0.0", COUNTS_ACCESS: "open" });
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await file[Symbol.asyncDispose]();
  });

  it.each(["GET", "POST"])(
    "nobody reads by %s without one, not even where counts are open",
    async (method) => {
      expect(await ask(service.url, "QueryTop", TOP, undefined, method)).toMatchObject({ status: 401 });
    },
  );

  it.each(["GET", "POST"])("a token reads by %s only if it says so", async (method) => {
    const denied = await ask(service.url, "QueryTop", TOP, old.text, method);
    expect(denied).toMatchObject({ status: 403, body: { message: expect.stringContaining("--may read") } });
    expect(await ask(service.url, "QueryTop", TOP, reader.text, method)).toMatchObject({ status: 200 });
    expect(await ask(service.url, "QueryTop", TOP, both.text, method)).toMatchObject({ status: 200 });
  });

  it("a token that only reads pushes nothing, and others push as before", async () => {
    const event = { property: "other", section: 1, item: 1 };
    const pushAs = (token: string) =>
      push(service.url, event, undefined, { authorization: `Bearer ${token}` });
    expect(await pushAs(reader.text)).toMatchObject({ status: 403 });
    expect(await pushAs(old.text)).toMatchObject({ status: 200 });
    expect(await pushAs(both.text)).toMatchObject({ status: 200 });
  });

  it("the properties of a token hold for every query, and a list has no others", async () => {
    const list = await ask(service.url, "QueryTop", TOP, ofNews.text);
    expect(list.body).toMatchObject({ entries: [{ property: "news", count: "3" }], totalCount: "3" });
    const item = { property: "shop", section: 1, item: 1 };
    for (const [rpc, message] of [
      ["QueryTop", { ...TOP, property: "shop" }],
      ["QuerySeries", { property: "shop" }],
      ["QueryCounts", { items: [{ ...item, property: "news" }, item] }],
    ] as const) {
      expect(await ask(service.url, rpc, message, ofNews.text)).toMatchObject({ status: 403 });
    }
    expect(await ask(service.url, "QuerySeries", { property: "news" }, ofNews.text)).toMatchObject({
      status: 200,
    });
  });

  it("an answer is kept by no shared cache, and by none for another caller", async () => {
    const { headers } = await ask(service.url, "QueryTop", TOP, reader.text);
    expect(headers.get("cache-control")).toBe("private, max-age=1");
    expect(headers.get("vary")?.split(", ")).toContain("Authorization");
  });
});
