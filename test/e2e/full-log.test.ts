import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { freePort } from "../support/free-port.js";
import { newEventId, push } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createStatsDatabase } from "../support/stats-database.js";

const FILL_LOG_DISK = pathToFileURL(join(import.meta.dirname, "../support/fill-log-disk.js")).href;

test("a full disk under the log costs log lines, and no event and no answer", async () => {
  await using database = await createStatsDatabase();
  const spoolDir = await mkdtemp(join(tmpdir(), "stats-full-log-"));
  try {
    await using first = await ServiceProcess.start({
      DATABASE_URL: `postgres://nobody@127.0.0.1:${await freePort()}/none`,
      SPOOL_DIR: spoolDir,
      // Each call is a line.
      LOG_LEVEL: "debug",
      NODE_OPTIONS: `--import=${FILL_LOG_DISK}`,
    });
    const ids: string[] = [];
    const pushOne = async () => {
      const eventId = newEventId();
      const { status } = await push(first.url, { property: "news", section: 1, item: 1, eventId });
      expect(status).toBe(200);
      ids.push(eventId);
    };
    first.signal("SIGUSR2");
    while (!first.stderr.includes("the log cannot be written")) {
      await pushOne();
    }
    await pushOne();
    expect(await first.stop()).toEqual({ status: 0, signal: null });
    expect(first.stderr.trim().split("\n")).toEqual([
      expect.stringContaining("ENOSPC"),
      expect.stringMatching(/^stats-service: \d+ lines of the log are lost$/),
    ]);

    await using second = await ServiceProcess.start({ DATABASE_URL: database.url, SPOOL_DIR: spoolDir });
    await second.logged("buffer: all of it is replayed");
    expect(await second.stop()).toMatchObject({ status: 0 });
    const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
    expect(rows.map(({ id }) => id).sort()).toEqual(ids.sort());
  } finally {
    await rm(spoolDir, { recursive: true, force: true });
  }
});
