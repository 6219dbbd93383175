import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { countRows, insertEvents } from "../support/counts.js";
import type { TestDatabase } from "../support/database.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { newToken, TestTokenFile } from "../support/tokens.js";

const HOUR = 3_600_000;
/** The middle of an hour some days ago, so that no bucket is the one that goes on. */
const THEN = Math.floor((Date.now() - 72 * HOUR) / HOUR) * HOUR + HOUR / 2;
const DAY_OF_THEN = new Date(THEN).toISOString().slice(0, 10);
const event = (item: number, hoursBefore: number) => ({
  property: "news",
  section: 3,
  item,
  at: THEN - hoursBefore * HOUR,
});

let database: TestDatabase;
let tokens: TestTokenFile;
let service: ServiceProcess;
let directory: string;
const reader = newToken({ may: ["read"] });
const pusher = newToken();

beforeAll(async () => {
  database = await createServiceDatabase();
  await insertEvents(database.pool, [event(42, 0), event(42, 0), event(42, 1), event(7, 1), event(42, 24)]);
  await countRows(database.pool, Date.now());
  tokens = await TestTokenFile.create(reader, pusher);
  directory = await mkdtemp(join(tmpdir(), "stats-counts-"));
  service = await ServiceProcess.start({
    DATABASE_URL: database.url,
    AUTH_TOKENS_FILE: tokens.path,
    COUNTS: "off",
  });
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await rm(directory, { recursive: true });
  await tokens[Symbol.asyncDispose]();
  await database.close();
});

async function run(args: string[], environment: Record<string, string> = {}) {
  const all = {
    STATS_URL: service.url,
    STATS_TOKEN: reader.text,
    DATABASE_URL: database.url,
    ...environment,
  };
  await using command = ServiceProcess.spawn(args, all);
  const { status } = await command.ended();
  return { status, stdout: command.stdout, stderr: command.stderr };
}

const since = new Date(THEN - HOUR).toISOString().slice(0, 16);
const until = new Date(THEN + HOUR / 2).toISOString().slice(0, 16);
const range = ["--from", since, "--to", until];

describe("counts series", () => {
  const args = ["counts", "series", "--property", "news", "--by", "hour", ...range];

  it("shows a table with the counts, their sum, and how fresh they are", async () => {
    const { status, stdout } = await run([...args, "--item", "42", "--section", "3", "--compare"]);
    expect(status).toBe(0);
    const at = new Date(THEN).toISOString().slice(0, 14).replace("T", " ");
    expect(stdout).toMatch(new RegExp(`^${at}00 +2 `, "m"));
    expect(stdout).toMatch(/^total 3; before 0 \(new\)$/m);
    expect(stdout).toMatch(/^counted from .* \(UTC\); everything committed before .* is in$/m);
    expect(stdout).not.toContain("█");
  });

  it("writes CSV in the zone that is asked for", async () => {
    const { stdout } = await run([
      "counts",
      "series",
      "--property",
      "news",
      "--by",
      "day",
      "--zone",
      "Asia/Kolkata",
      "--from",
      DAY_OF_THEN,
      "--to",
      new Date(THEN + 24 * HOUR).toISOString().slice(0, 10),
      "--csv",
    ]);
    const [header, first] = stdout.split("\n");
    expect(header).toBe("start_time,end_time,count,partial,incomplete");
    expect(first).toMatch(new RegExp(`^${DAY_OF_THEN}T00:00:00\\+05:30,.*\\+05:30,\\d+,false,false$`));
  });

  it("writes the answer as one line of JSON", async () => {
    const { stdout } = await run([...args, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ totalCount: "4", granularity: "GRANULARITY_HOUR" });
  });

  it.each([
    [["--zone", "Mars/Olympus"], "--zone takes the name of a time zone"],
    [["--last", "7y"], "--last"],
    [["--by", "year"], "Allowed choices are quarter, hour, day, week, month"],
    [["--to", "yesterday"], "--to takes a time such as"],
    [["--from", "2026-02-31"], "--from takes a time such as"],
    [["--from", "2020-01-01", "--by", "quarter"], "gives more than 5000 buckets"],
  ])("refuses %j and says why", async (more, reason) => {
    const { status, stderr } = await run([...args, ...more]);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining(reason) });
  });

  it("ends with 77 when the token may not read, and with 69 when there is no service", async () => {
    expect(await run(args, { STATS_TOKEN: pusher.text })).toMatchObject({
      status: 77,
      stderr: expect.stringContaining("--may read"),
    });
    expect(await run(args, { STATS_URL: "http://127.0.0.1:1" })).toMatchObject({ status: 69 });
  });
});

describe("counts top", () => {
  it("lists the items with the highest counts, with their names", async () => {
    const file = join(directory, "labels.csv");
    await writeFile(
      file,
      '﻿label,property,section,item,url\r\n"A ""big"", story",news,3,42,https://example.com/42\r\n',
    );
    expect(await run(["labels", "import", file])).toMatchObject({ status: 0, stdout: "1 labels are in\n" });
    const { status, stdout } = await run(["counts", "top", ...range]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^news\/3\/42 +3 +75\.0 % {2}A "big", story$/m);
    expect(stdout).toMatch(/^2 of 2, total 4$/m);
    const csv = await run(["counts", "top", ...range, "--csv", "--compare", "--limit", "1"]);
    expect(csv.stdout).toBe(
      'property,section,item,label,url,count,previous_count\nnews,3,42,"A ""big"", story",https://example.com/42,3,0\n',
    );
  });

  it("lists sections and properties", async () => {
    const { stdout } = await run(["counts", "top", "--by", "section", ...range, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ entries: [{ property: "news", section: 3, count: "4" }] });
    const properties = await run(["counts", "top", "--by", "property", ...range, "--csv"]);
    expect(properties.stdout).toContain("\nnews,,,,,4\n");
  });
});

describe("labels import", () => {
  it.each([
    ["property,label\nnews", "Invalid Record Length"],
    ["property,label,name\nnews,News,x", 'has a column "name"'],
    ["property,item\nnews,1", "has no column label"],
    ["property,label,item\nnews,x,1", "line 2: section is required with item"],
    ["property,label,section\nnews,x,4294967296", "line 2: section must be at most 4294967295"],
    ["property,label\nnews,a\nnews,b", "line 3: names the same as line 2"],
    ["property,label,url\nnews,a,javascript:alert(1)", "line 2: url must begin with http:// or https://"],
  ])("imports nothing of %j, and says what is wrong", async (content, reason) => {
    const file = join(directory, "bad.csv");
    await writeFile(file, content);
    const { status, stderr } = await run(["labels", "import", file]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(reason) });
    const { rows } = await database.pool.query("SELECT FROM labels WHERE item = 0");
    expect(rows).toEqual([]);
  });
});
