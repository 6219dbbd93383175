import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type CountedEvent, countRows, insertEvents } from "../support/counts.js";
import type { TestDatabase } from "../support/database.js";
import { freePort } from "../support/free-port.js";
import { CHROMIUM, describeWith } from "../support/needs.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";
import { findBarriers } from "./support/axe.js";
import { Chromium } from "./support/chromium.js";
import type { Page } from "./support/page.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const NOW = Date.now();
/** A flush and a fold, a second or two each, and the page's next question; three times that on a machine that is busy. */
const COUNTED_WITHIN_MS = 15_000;
const TITLE = "Storm closes the harbour <b>again</b>";

/** `count` events of an item, a second apart. */
function events(property: string, section: number, item: number, at: number, count: number): CountedEvent[] {
  return Array.from({ length: count }, (_, i) => ({ property, section, item, at: at + i * 1_000 }));
}

/** An event at each hour of 27 October 2024, which in Berlin has 25 of them. */
const CLOCK_CHANGE = Array.from({ length: 25 }, (_, hour) =>
  events("clock", 1, 1, Date.UTC(2024, 9, 26, 22) + hour * HOUR_MS, 1),
).flat();

const EVENTS: CountedEvent[] = [
  ...events("news", 3, 42, NOW - DAY_MS, 12),
  ...events("news", 3, 43, NOW - DAY_MS, 5),
  ...events("news", 4, 7, NOW - DAY_MS, 3),
  ...events("news", 3, 42, NOW - 8 * DAY_MS, 6),
  ...events("shop", 1, 1, NOW - DAY_MS, 2),
  ...CLOCK_CHANGE,
  ...events("old", 1, 1, Date.UTC(2023, 4, 5, 12), 4),
  ...events("lost", 1, 1, Date.UTC(2024, 4, 5, 12), 4),
];

/** Hours before 2024 are gone, and rows of a day in 2024 went before they were counted. */
const FAULTS = `
  UPDATE counts_state SET kept_from = '2024-01-01Z' WHERE tier <> 'day';
  INSERT INTO counts_incomplete VALUES ('2024-05-05T00:00Z', '2024-05-06T00:00Z');
  INSERT INTO labels VALUES ('news', 3, 0, 'Sports', NULL), ('news', 3, 42, '${TITLE}', 'https://example.com/storm')`;

async function makeDatabase(): Promise<TestDatabase> {
  const database = await createServiceDatabase();
  await insertEvents(database.pool, EVENTS);
  await countRows(database.pool, NOW);
  await database.pool.query(FAULTS);
  return database;
}

/** The cells of the table behind the plot, a line for each bucket that is not zero. */
async function seriesRows(page: Page): Promise<string[]> {
  await page.evaluate("document.querySelector('#series-details').open = true");
  await page.shows("#series-rows", /\d/);
  const rows = await page.evaluate<string[][]>(
    "[...document.querySelectorAll('#series-rows tr')].map((row) => [...row.children].map((cell) => cell.textContent))",
  );
  return rows.filter(([, count]) => count !== "0").map(([time, count]) => `${time}: ${count}`);
}

/** Presses Tab until the element has the focus; fails when it never gets it. */
async function tabTo(page: Page, selector: string): Promise<void> {
  const hasFocus = `document.activeElement.matches(${JSON.stringify(selector)})`;
  for (let presses = 0; !(await page.evaluate<boolean>(hasFocus)); presses += 1) {
    if (presses > 100) {
      throw new Error(`Tab does not reach ${selector}`);
    }
    await page.press("Tab");
  }
}

describeWith(CHROMIUM, "the counts page in a browser", (path) => {
  let chromium: Chromium;
  let database: TestDatabase;
  let service: ServiceProcess;
  let page: Page;
  beforeAll(async () => {
    chromium = await Chromium.launch(path);
    database = await makeDatabase();
    service = await ServiceProcess.start({ DATABASE_URL: database.url, COUNTS: "off" });
    page = await chromium.open("about:blank");
  });
  afterAll(async () => {
    await chromium?.[Symbol.asyncDispose]();
    await service?.stop();
    await database?.close();
  });

  /** Opens the page anew with this view. */
  async function open(query = ""): Promise<void> {
    page.complaints.length = 0;
    await page.send("Page.bringToFront");
    await page.load(`${service.url}/${query}`);
  }

  test("shows the line that pushes a first event, and counts that event without a reload", async () => {
    await using empty = await createServiceDatabase();
    await using first = await ServiceProcess.start({ DATABASE_URL: empty.url });
    const newcomer = await chromium.open(first.url);
    await newcomer.shows("#empty-panel:not([hidden]) h1", "Nothing has been counted yet");
    expect(await findBarriers(newcomer)).toEqual([]);
    await newcomer.evaluate("window.isTheSameDocument = true");
    await promisify(execFile)("sh", ["-c", await newcomer.text("#curl")]);
    const pushedAt = performance.now();
    await newcomer.shows("#total", "1");
    expect(performance.now() - pushedAt).toBeLessThan(COUNTED_WITHIN_MS);
    expect(await newcomer.texts("#list-rows tr > th a")).toEqual(["news"]);
    expect(await newcomer.evaluate("isTheSameDocument")).toBe(true);
    expect(newcomer.complaints).toEqual([]);
  });

  test("finds the item that was seen most in a week", async () => {
    await open("?zone=UTC");
    await page.shows("#title", "All properties");
    await page.shows("#total", "22");
    expect(await page.texts("#list-rows tr > th a")).toEqual(["news", "shop"]);
    expect(await page.texts("#list-rows tr:first-child td")).toEqual(["", "20", "91 %", "▲ 233 %"]);
    await page.shows("#list-rows tr:nth-child(2)", /shop.*new/);

    await page.click("#list-rows tr:first-child a");
    await page.shows("#title", "news");
    await page.shows("#list-rows", /Sports section 3.*17.*Section 4.*3/);
    await page.click("#tabs a:last-child");
    await page.shows("#list-name", "Item");
    expect(await page.texts("#list-rows tr > th")).toEqual([
      `${TITLE} section 3, item 42`,
      "Item 43 section 3",
      "Item 7 section 4",
    ]);
    await page.click("#list-rows tr:first-child a");
    await page.shows("#title", TITLE);
    await page.shows("#total", "12");
    expect(await page.text("#change")).toBe("▲ 100 %  ·  6 before");
    expect(await page.texts("#trail li")).toEqual(["All properties", "news", "Sports", TITLE]);
    expect(await page.text("#page-link")).toBe("example.com/storm");
    expect(page.complaints).toEqual([]);
  });

  test("draws the course of each property next to its count", async () => {
    await open("?zone=UTC&range=30d");
    await page.shows("#total", "28");
    await page.evaluate(`new Promise((resolve) => {
      const look = () => [...document.querySelectorAll(".spark path:last-child")]
        .every((line) => line.getAttribute("d")) ? resolve() : requestAnimationFrame(look);
      look();
    })`);
    expect(await page.evaluate("document.querySelectorAll('.spark').length")).toBe(2);
  });

  test("shows a range that is dragged in the plot, and goes back and forth", async () => {
    await open("?property=clock&from=2024-10-26T00:00Z&to=2024-10-28T00:00Z&by=hour&zone=UTC");
    await page.shows("#total", "25");
    await page.drag("#plot .u-over", 0.25, 0.75);
    await page.reaches("from=2024-10-26T12:00Z");
    expect(await page.evaluate("location.search")).toContain("&to=2024-10-27T12:00Z");
    await page.shows("#total", "14");
    expect(await page.text("#counted")).toBe("Sat 26 Oct 2024, 12:00 – Sun 27 Oct 2024, 12:00  ·  UTC");
    await page.evaluate("history.back()");
    await page.shows("#total", "25");
    await page.evaluate("history.forward()");
    await page.shows("#total", "14");
    await page.click("#presets li:nth-child(3) a");
    await page.shows("#total", "0");
    expect(page.complaints).toEqual([]);
  });

  test("shows another zone's days, also the one that the clock makes longer", async () => {
    await open("?property=clock&from=2024-10-26T00:00Z&to=2024-10-29T00:00Z&by=day&zone=UTC");
    expect(await seriesRows(page)).toEqual(["Sat 26 Oct 2024: 2", "Sun 27 Oct 2024: 23"]);
    await page.select("#zone", "Europe/Berlin");
    await page.shows("#counted", /Europe\/Berlin$/);
    expect(await seriesRows(page)).toEqual(["Sun 27 Oct 2024: 25"]);
    await page.select("#by", "hour");
    await page.shows("#series-rows tr:last-child th", /\d\d:\d\d–\d\d:\d\d/);
    expect((await seriesRows(page)).slice(1, 5)).toEqual([
      "Sun 27 Oct 2024, 01:00–02:00: 1",
      "Sun 27 Oct 2024, 02:00–02:00 (the clock changes): 1",
      "Sun 27 Oct 2024, 02:00–03:00: 1",
      "Sun 27 Oct 2024, 03:00–04:00: 1",
    ]);
  });

  test("a URL that is sent to a colleague in another zone shows the same", async () => {
    await open();
    await page.shows("#title", "All properties");
    await page.click("#list-rows tr:first-child a");
    await page.shows("#title", "news");
    await page.click("#compare");
    await page.reaches("compare=off");
    const url = await page.evaluate<string>("location.href");
    const rows = await seriesRows(page);
    const colleague = await chromium.open("about:blank");
    await colleague.send("Emulation.setTimezoneOverride", { timezoneId: "Pacific/Kiritimati" });
    await colleague.load(url);
    await colleague.shows("#title", "news");
    expect(await seriesRows(colleague)).toEqual(rows);
    expect(await colleague.evaluate("document.querySelector('#compare').checked")).toBe(false);
    expect(await colleague.text("#counted")).toBe(await page.text("#counted"));
  });

  test("is in the zone of the browser when the URL names none", async () => {
    const traveller = await chromium.open("about:blank");
    await traveller.send("Emulation.setTimezoneOverride", { timezoneId: "Asia/Tokyo" });
    await traveller.load(service.url);
    await traveller.shows("#counted", /Asia\/Tokyo$/);
    expect(await traveller.evaluate("location.search")).toBe("?range=7d&zone=Asia/Tokyo");
  });

  test("can be read and used with the keyboard alone", async () => {
    await open("?property=clock&from=2024-10-27T00:00Z&to=2024-10-27T06:00Z&by=hour&zone=UTC");
    await page.shows("#total", "6");
    await tabTo(page, "#series-details summary");
    await page.press("Enter");
    await page.shows("#series-rows tr:first-child", "Sun 27 Oct 2024, 00:00–01:0010new");

    await open("?property=clock&from=2024-10-27T00:00Z&to=2024-10-27T06:00Z&by=hour&zone=UTC");
    await page.shows("#total", "6");
    await tabTo(page, "#plot");
    await page.press("ArrowLeft");
    await page.shows("#readout", /^Sun 27 Oct 2024, 05:00–06:00: 1/);
    expect(await page.evaluate("document.querySelector('#plot').ariaValueText")).toMatch(/05:00–06:00: 1/);
    await page.press("ArrowLeft", "Shift+ArrowLeft", "Enter");
    await page.reaches("from=2024-10-27T03:00Z&to=2024-10-27T05:00Z");
    await page.shows("#total", "2");
  });

  test("takes a range that is typed, and says what is wrong with one", async () => {
    await open("?property=clock&zone=Europe/Berlin");
    await page.shows("#title", "clock");
    await page.click("#other");
    const fill = (from: string, to: string) =>
      page.evaluate(
        `document.querySelector("#from").value = "${from}"; document.querySelector("#to").value = "${to}"`,
      );
    await fill("2024-10-27T03:00", "2024-10-27T00:00");
    await page.click("#custom-form button");
    await page.shows("#custom-fault", /must come after/);
    await fill("2024-10-27T00:00", "2024-10-27T03:00");
    await page.click("#custom-form button");
    await page.reaches("from=2024-10-26T22:00Z&to=2024-10-27T02:00Z");
    await page.shows("#total", "4");
    expect(await page.text("#custom-fault")).toBe("");
  });

  test("falls back to UTC where only its days are left, and says so", async () => {
    await open("?property=old&from=2023-05-04T18:30Z&to=2023-05-05T18:30Z&zone=Asia/Kolkata");
    await page.shows("#notices", /Shown in UTC instead\./);
    await page.shows("#total", "4");
    expect(await seriesRows(page)).toEqual(["Fri 5 May 2023: 4"]);
  });

  test("says what is wrong with a view that cannot be shown, and leads to others", async () => {
    await open("?property=news&range=12m&by=quarter_hour&zone=UTC");
    await page.shows("#notices", /^This cannot be shown\. .*5000/);
    expect(await page.evaluate("document.querySelector('#plot-figure').hidden")).toBe(true);
    await page.select("#by", "month");
    await page.shows("#total", "26");
    expect(await page.text("#notices")).not.toContain("cannot be shown");
  });

  test("marks counts from which rows went", async () => {
    await open("?property=lost&from=2024-05-04T00:00Z&to=2024-05-07T00:00Z&by=day&zone=UTC");
    await page.shows("#notices", /went before they were counted/);
    await page.shows("#total", "≥ 4");
    expect(await seriesRows(page)).toEqual(["Sun 5 May 2024: ≥ 4"]);
  });

  test("marks the part of today that is still to come", async () => {
    await open("?property=shop&range=today&by=day&zone=UTC");
    await page.shows("#total", /^[02]$/);
    await page.evaluate("document.querySelector('#series-details').open = true");
    await page.shows("#series-rows tr:last-child", /so far$/);
  });

  test("gives what is shown as CSV", async () => {
    await open("?property=news&list=items&range=30d&zone=UTC");
    await page.shows("#total", "26");
    await page.evaluate(`URL.createObjectURL = (blob) => {
      window.saved = blob.text();
      return "#";
    }`);
    await page.click("#list-csv");
    expect((await page.evaluate<string>("saved")).split("\r\n")[1]).toBe(
      `news,3,42,${TITLE},https://example.com/storm,18,0.692308,0`,
    );
    await page.click("#series-csv");
    const lines = (await page.evaluate<string>("saved")).split("\r\n");
    expect(lines[0]).toBe("start_time,end_time,count,partial,incomplete,previous_start_time,previous_count");
    expect(lines).toHaveLength(32);
  });

  test("takes nothing in a label for markup", async () => {
    await open("?property=news&list=items&zone=UTC");
    await page.shows("#list-rows", /<b>again<\/b>/);
    expect(await page.evaluate("document.querySelectorAll('#view b').length")).toBe(0);
  });

  test("asks nothing while nobody looks at it, and asks again when somebody does", async () => {
    const hidden = await chromium.open("about:blank");
    await hidden.send("Page.addScriptToEvaluateOnNewDocument", {
      source: `
        const ask = window.fetch;
        window.asked = 0;
        window.fetch = (...request) => {
          window.asked += 1;
          return ask(...request);
        };
        window.setTimeout = (end) => {
          window.endPause = end;
        };`,
    });
    await hidden.load(`${service.url}/?property=news&section=3&item=42`);
    await hidden.shows("#total", "12");
    const other = await chromium.open("about:blank");
    await other.send("Page.bringToFront");
    await hidden.evaluate(`document.hidden ||
      new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }))`);
    await hidden.evaluate("endPause()");
    expect(await hidden.evaluate("asked")).toBe(1);
    await hidden.evaluate("document.querySelector('#total').textContent = ''");
    await hidden.send("Page.bringToFront");
    await hidden.shows("#total", "12");
    expect(await hidden.evaluate("asked")).toBe(2);
  });

  describe.each([375, 1_280, 1_920])("%d pixels wide", (width) => {
    test.each(["light", "dark"] as const)("is all there, and keeps nobody out (%s)", async (scheme) => {
      await page.look(width, scheme);
      for (const view of [
        "?range=30d",
        "?property=news&list=items&range=30d",
        "?property=lost&from=2024-05-04T00:00Z&to=2024-05-07T00:00Z&by=day",
      ]) {
        await open(`${view}&zone=UTC`);
        await page.shows("#list-rows", /\d/);
        await page.evaluate(`{
          document.querySelector("#series-details").open = true;
          document.querySelector("#other").click();
        }`);
        expect(await page.evaluate("document.documentElement.scrollWidth - innerWidth")).toBeLessThanOrEqual(
          0,
        );
        expect(await findBarriers(page)).toEqual([]);
      }
    });
  });

  test("says when the service is gone, keeps what it has, and goes on when it is back", async () => {
    const settings = { DATABASE_URL: database.url, COUNTS: "off", PORT: String(await freePort()) };
    await using first = await ServiceProcess.start(settings);
    const watcher = await chromium.open(`${first.url}/?property=news&zone=UTC`);
    await watcher.shows("#total", "20");
    await first.stop();
    await watcher.shows("#notices", /^No answer since \d\d:\d\d:\d\d/);
    expect(await watcher.text("#total")).toBe("20");
    await using _second = await ServiceProcess.start(settings);
    await watcher.shows("#notices", /^(?!No answer)/);
    expect(await watcher.text("#total")).toBe("20");
  });

  test("asks for a token, says what is wrong with one, and keeps the right one until the tab is closed", async () => {
    const reader = newToken({ may: ["read"], properties: ["shop"] });
    const pusher = newToken({ may: ["push"] });
    await using file = await TestTokenFile.create(reader, pusher);
    await using asking = await ServiceProcess.start({
      DATABASE_URL: database.url,
      COUNTS: "off",
      AUTH_TOKENS_FILE: file.path,
    });
    const guest = await chromium.open(`${asking.url}/?zone=UTC`);
    const give = async (token: string) => {
      await guest.click("#token");
      await guest.type(token);
      await guest.press("Enter");
    };
    await guest.shows("#token-panel:not([hidden]) h1", "A token is needed");
    expect(await findBarriers(guest)).toEqual([]);
    await give("wrong");
    await guest.shows("#token-fault", /does not take this token/);

    await give(pusher.text);
    await guest.shows("#refused-panel:not([hidden]) h1", "Reading is not allowed");
    expect(await findBarriers(guest)).toEqual([]);
    await guest.click("#other-token");
    await guest.shows("#token-panel:not([hidden]) h1", "A token is needed");
    expect(await guest.text("#token-fault")).toBe("");

    await give(reader.text);
    await guest.shows("#total", "2");
    expect(await guest.texts("#list-rows tr > th a")).toEqual(["shop"]);
    await guest.load(`${asking.url}/?zone=UTC`);
    await guest.shows("#total", "2");
    const otherTab = await chromium.open(asking.url);
    await otherTab.shows("#token-panel:not([hidden]) h1", "A token is needed");

    await guest.send("Page.bringToFront");
    await guest.click("#forget");
    await guest.shows("#token-panel:not([hidden]) h1", "A token is needed");
    expect(await guest.evaluate("sessionStorage.length")).toBe(0);
    expect(await guest.evaluate("document.querySelector('#forget').hidden")).toBe(true);
  });

  test("says how to open reading where others can reach the service and it asks for no token", async () => {
    await using exposed = await ServiceProcess.start({
      DATABASE_URL: database.url,
      COUNTS: "off",
      HOST: "0.0.0.0",
    });
    const guest = await chromium.open(exposed.url);
    await guest.shows("#refused-title", "Reading is not allowed");
    await guest.shows("#refused-reason", /COUNTS_ACCESS=open/);
    expect(await guest.evaluate("document.querySelector('#other-token').hidden")).toBe(true);
  });
});
