import { AdminServer, jsonAnswer } from "../../src/server/admin-server.js";
import { Health } from "../../src/server/health.js";
import { statusPageRoutes } from "../../src/telemetry/status-page.js";
import { freePort } from "../support/free-port.js";
import { CHROMIUM, describeWith } from "../support/needs.js";
import { push } from "../support/pushes.js";
import { silent } from "../support/rpc-port.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { aStatus } from "../support/status.js";
import { findBarriers } from "./support/axe.js";
import { Chromium } from "./support/chromium.js";

const EVENT = { property: "news", section: 3, item: 42, ack: "ACK_MODE_DURABLE" };

/** Counts what the page asks, and lets no pause end by itself. */
const COUNT_AND_HOLD = `
  const ask = window.fetch;
  window.asked = 0;
  window.fetch = (...request) => {
    window.asked += 1;
    return ask(...request);
  };
  window.setTimeout = (end) => {
    window.endPause = end;
  };
`;
const UNTIL_HIDDEN = `document.hidden ||
  new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))`;

const SINCE = "2026-03-03T11:50:00.000Z";

describeWith(CHROMIUM, "the status page in a browser", (path) => {
  let chromium: Chromium;
  beforeAll(async () => {
    chromium = await Chromium.launch(path);
  });
  afterAll(() => chromium?.[Symbol.asyncDispose]());

  describe.each([["1"], ["2"]])("the page of a service with WORKERS=%s", (WORKERS) => {
    test("shows that the service is ready, and counts events as they come", async () => {
      await using database = await createServiceDatabase();
      await using service = await ServiceProcess.start({ DATABASE_URL: database.url, WORKERS });
      const page = await chromium.open(service.adminUrl);
      await page.shows("#verdict", "Alive and ready");
      await page.shows("[data-text=books]", "They balance.");
      for (const inserted of ["1", "2"]) {
        await push(service.url, EVENT);
        await page.shows("[data-text=inserted]", inserted);
      }
      expect(await page.text("[data-text=accepted]")).toBe("2");
      expect(page.complaints).toEqual([]);
    });
  });

  test("the page says when the service stops, and goes on when it is back", async () => {
    await using database = await createServiceDatabase();
    const settings = { DATABASE_URL: database.url, ADMIN_PORT: String(await freePort()) };
    await using service = await ServiceProcess.start(settings);
    const page = await chromium.open(service.adminUrl);
    await page.shows("#verdict", "Alive and ready");
    await service.stop();
    await page.shows("#verdict", "No answer");
    expect(await page.text("#reason")).toMatch(/^Since \d/);
    await using _successor = await ServiceProcess.start(settings);
    await page.shows("#verdict", "Alive and ready");
    await page.shows("#reason", "");
  });

  describe("the page", () => {
    let status: unknown;
    let admin: AdminServer;
    let url: string;
    beforeEach(async () => {
      const routes = { ...statusPageRoutes, "/status": () => jsonAnswer(status) };
      admin = new AdminServer({ host: "127.0.0.1", port: 0, health: new Health(), logger: silent, routes });
      url = `http://127.0.0.1:${(await admin.listen()).port}`;
    });
    afterEach(() => admin.close());

    test("is amber while PostgreSQL takes no events, and says since when and where they are", async () => {
      const fault = { faultClass: "transient", message: "connection refused", since: SINCE };
      status = aStatus({ flush: { lastSuccessAt: null, fault } });
      const page = await chromium.open(url);
      await page.shows("#verdict", "Ready, but PostgreSQL takes no events");
      expect(await page.evaluate("document.documentElement.dataset.level")).toBe("poor");
      expect(await page.text("#reason")).toMatch(
        /^Since \d\d:\d\d:\d\d: connection refused\nEvents that wait: 1 in memory, 0 in the buffer/,
      );
    });

    test("links to the page with the counts, where there is one", async () => {
      status = aStatus({ countsPage: { port: 3000, isTls: true } });
      const page = await chromium.open(url);
      await page.shows("#verdict", "Alive and ready");
      expect(await page.evaluate("document.querySelector('#counts-page').href")).toBe(
        "https://127.0.0.1:3000/",
      );
      status = aStatus();
      await page.load(url);
      await page.shows("#verdict", "Alive and ready");
      expect(await page.evaluate("document.querySelector('#counts-page').hidden")).toBe(true);
    });

    test("has the time under its charts", async () => {
      status = aStatus();
      const page = await chromium.open(url);
      await page.shows("figure .axis", /^\d\d:\d\d\d\d:\d\d\d\d:\d\d$/);
    });

    test.each([
      [375, "light"],
      [1_280, "dark"],
      [1_920, "light"],
    ] as const)("keeps nobody out, %d pixels wide (%s)", async (width, scheme) => {
      for (const look of [
        {},
        { readiness: { ok: false, reason: "stopping" } },
        { events: { ...aStatus().events, dead: 2 } },
      ] as const) {
        status = aStatus(look);
        const page = await chromium.open("about:blank");
        await page.look(width, scheme);
        await page.load(url);
        await page.shows("#verdict", /ready/i);
        expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(
          0,
        );
        expect(await findBarriers(page)).toEqual([]);
      }
    });

    test("says why the service is not ready", async () => {
      status = aStatus({ readiness: { ok: false, reason: "stopping" } });
      const page = await chromium.open(url);
      await page.shows("#verdict", "Not ready");
      await page.shows("#reason", "stopping");
    });

    test("fits a phone, with long words of PostgreSQL, too", async () => {
      const message = "x".repeat(300);
      status = aStatus({
        flush: { lastSuccessAt: null, fault: { faultClass: "schema", message, since: SINCE } },
      });
      const page = await chromium.open(url);
      const phone = { width: 360, height: 640, deviceScaleFactor: 1, mobile: true };
      await page.send("Emulation.setDeviceMetricsOverride", phone);
      await page.shows("[data-text=lastFlush]", /x{300}/);
      expect(await page.evaluate("document.documentElement.scrollWidth")).toBe(360);
    });

    test("takes nothing in a status for markup", async () => {
      const message = "<img src=x onerror=alert(1)>";
      status = aStatus({
        flush: { lastSuccessAt: null, fault: { faultClass: "schema", message, since: SINCE } },
      });
      const page = await chromium.open(url);
      await page.shows("[data-text=lastFlush]", /<img src=x onerror=alert\(1\)>/);
      expect(await page.evaluate("document.images.length")).toBe(0);
    });

    test("says that there is no answer when it cannot make sense of one", async () => {
      status = {};
      const page = await chromium.open(url);
      await page.shows("#verdict", "No answer");
    });

    test("asks nothing while nobody looks at it", async () => {
      status = aStatus();
      const page = await chromium.open("about:blank");
      await page.send("Page.addScriptToEvaluateOnNewDocument", { source: COUNT_AND_HOLD });
      await page.load(url);
      await page.shows("#verdict", "Alive and ready");

      const other = await chromium.open("about:blank");
      await other.send("Page.bringToFront");
      await page.evaluate(UNTIL_HIDDEN);
      await page.evaluate("endPause()");
      expect(await page.evaluate("asked")).toBe(1);

      status = aStatus({ readiness: { ok: false, reason: "stopping" } });
      await page.send("Page.bringToFront");
      await page.shows("#verdict", "Not ready");
      expect(await page.evaluate("asked")).toBe(2);
    });
  });
});
