/** What becomes of events whose page is left: by the buffering client, with nothing that the page does for it. */
import type { BufferingCounters } from "../../client/src/buffering-client.js";
import type { TestDatabase } from "../support/database.js";
import { CHROMIUM, describeWith } from "../support/needs.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { delay, until } from "../support/wait.js";
import { Chromium } from "./support/chromium.js";
import type { Page } from "./support/page.js";
import { PageServer } from "./support/page-server.js";

/** Most that fits in what browsers take of calls that outlive a page. */
const EVENTS = 900;

describeWith(CHROMIUM, "a page that is left", (path) => {
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

  /** Calls a function of scenarios.js in the page. */
  function run<T>(scenario: string, ...args: unknown[]): Promise<T> {
    return page.evaluate(`scenarios.${scenario}(...${JSON.stringify(args)})`);
  }

  async function rows(): Promise<number> {
    const { rows: counts } = await database.pool.query("SELECT count(*) AS n FROM incoming");
    return Number(counts[0]?.n);
  }

  async function expectAll(count: number): Promise<void> {
    await until(async () => (await rows()) >= count, `${count} rows`);
    const { rows: items } = await database.pool.query("SELECT property_id AS item FROM incoming ORDER BY 1");
    expect(items.map(({ item }) => Number(item))).toEqual(Array.from({ length: count }, (_, n) => n + 1));
  }

  const WAYS: Record<string, () => Promise<unknown>> = {
    navigation: () => page.send("Page.navigate", { url: "about:blank" }),
    reload: () => page.send("Page.reload"),
    closing: () => page.send("Page.close"),
  };

  describe.each(Object.keys(WAYS))("by %s", (way) => {
    const leave = () => WAYS[way]?.();

    test("leaves no event behind that waits for its batch", async () => {
      await run("pushAndLeave", service.url, EVENTS, { arrive: false, batchAgeMs: 60_000 });
      await leave();
      await expectAll(EVENTS);
    });

    test("leaves no event behind whose call is in flight, be there as many as may", async () => {
      await run("pushAndLeave", service.url, EVENTS, { arrive: false, batchEvents: 300, maxCalls: 2 });
      await leave();
      await expectAll(EVENTS);
    });

    test("leaves no event behind that was pushed a moment before", async () => {
      let pushed = 0;
      for (const ms of [20, 150]) {
        page = await chromium.open(pages.origin);
        await run("pushAndLeave", service.url, 10, { arrive: true });
        pushed += 10;
        await delay(ms);
        await leave();
        await until(async () => (await rows()) >= pushed, `${pushed} rows`);
      }
      expect(await rows()).toBe(pushed);
    });
  });

  test("goes on where it was when its visitor comes back to it", async () => {
    await run("pushAndLeave", service.url, 10, { arrive: false });
    await page.send("Page.navigate", { url: `${pages.origin}/elsewhere` });
    await expectAll(10);
    await page.back();
    expect(await page.evaluate("globalThis.cameBack")).toBe(true);
    await run("pushMore", 5);
    await page.evaluate("dispatchEvent(new Event('pagehide'))");
    expect(await run<BufferingCounters>("delivered")).toMatchObject({
      pushed: 15,
      acknowledged: 15,
      rejected: 0,
      buffered: 0,
    });
    await expectAll(15);
  });
});
