import { Code } from "@connectrpc/connect";
import type { BufferingCounters } from "../../client/src/buffering-client.js";
import type { TestDatabase } from "../support/database.js";
import { CHROMIUM, describeWith } from "../support/needs.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";
import { Chromium } from "./support/chromium.js";
import type { Page } from "./support/page.js";
import { PageServer } from "./support/page-server.js";

const EVENT = { property: "news", section: 3, item: 42 };

describeWith(CHROMIUM, "the client in a browser", (path) => {
  let chromium: Chromium;
  let pages: PageServer;
  let database: TestDatabase;
  let service: ServiceProcess;
  let page: Page;
  beforeAll(async () => {
    chromium = await Chromium.launch(path);
    pages = await PageServer.start();
    database = await createServiceDatabase();
    service = await ServiceProcess.start({ DATABASE_URL: database.url, CORS_ORIGINS: pages.origin });
  });
  beforeEach(async () => {
    await database.pool.query("TRUNCATE incoming");
    page = await chromium.open(pages.origin);
  });
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await service?.stop();
    await database?.close();
    await pages?.[Symbol.asyncDispose]();
  });

  /** Calls a function of scenarios.js in a page. */
  function run<T>(page: Page, scenario: string, ...args: unknown[]): Promise<T> {
    return page.evaluate(`scenarios.${scenario}(...${JSON.stringify(args)})`);
  }

  async function items(): Promise<number[]> {
    const { rows } = await database.pool.query("SELECT property_id FROM incoming ORDER BY property_id");
    return rows.map(({ property_id }) => Number(property_id));
  }

  async function accepted(): Promise<number> {
    const status = (await (await fetch(`${service.adminUrl}/status`)).json()) as {
      events: { accepted: number };
    };
    return status.events.accepted;
  }

  describe("from a page of an origin in CORS_ORIGINS", () => {
    test("the client pushes an event, and it is a row", async () => {
      expect(await run(page, "push", service.url, EVENT)).toBe("OK");
      expect(await items()).toEqual([42]);
      expect(page.complaints).toEqual([]);
    });

    test("the buffering client makes each event one row", async () => {
      const counters = await run<BufferingCounters>(page, "deliver", service.url, 2_500);
      expect(counters).toMatchObject({ pushed: 2_500, acknowledged: 2_500, rejected: 0, buffered: 0 });
      expect(await items()).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1));
    });

    test("gRPC-Web pushes an event, and it is a row", async () => {
      expect(await run(page, "pushByGrpcWeb", service.url, EVENT)).toBe("OK");
      expect(await items()).toEqual([42]);
    });

    test.each([["push"], ["pushByGrpcWeb"]])(
      "the script can read why an event is refused (%s)",
      async (how) => {
        const refusal = await run(page, how, service.url, { ...EVENT, property: "" });
        expect(refusal).toMatchObject({
          code: Code.InvalidArgument,
          message: expect.stringContaining("property"),
        });
        expect(await items()).toEqual([]);
      },
    );

    test("a token goes with the call", async () => {
      const token = newToken();
      await using file = await TestTokenFile.create(token);
      await using asking = await ServiceProcess.start({
        DATABASE_URL: database.url,
        CORS_ORIGINS: pages.origin,
        AUTH_TOKENS_FILE: file.path,
      });
      expect(await run(page, "push", asking.url, EVENT)).toMatchObject({ code: Code.Unauthenticated });
      expect(await run(page, "push", asking.url, EVENT, { token: token.text })).toBe("OK");
      expect(await items()).toEqual([42]);
    });
  });

  describe("from a page of another origin", () => {
    let others: PageServer;
    let otherPage: Page;
    beforeAll(async () => {
      others = await PageServer.start();
    });
    beforeEach(async () => {
      otherPage = await chromium.open(others.origin);
    });
    afterAll(() => others[Symbol.asyncDispose]());

    test.each([["push"], ["pushByGrpcWeb"]])("the browser lets no call through (%s)", async (how) => {
      const before = await accepted();
      expect(await run(otherPage, how, service.url, EVENT)).toMatchObject({
        message: expect.stringContaining("Failed to fetch"),
      });
      expect(otherPage.complaints.join("\n")).toContain(
        `from origin '${others.origin}' has been blocked by CORS policy`,
      );
      expect(await accepted()).toBe(before);
    });

    test("a request that needs no preflight is not taken for a push", async () => {
      const before = await accepted();
      expect(await run(otherPage, "pushUnasked", service.url, EVENT)).toBe("opaque");
      expect(await accepted()).toBe(before);
    });
  });
});
