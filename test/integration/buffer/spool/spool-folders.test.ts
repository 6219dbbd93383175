import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { pino } from "pino";
import { SpoolOpenError } from "../../../../src/buffer/spool/spool.js";
import { claimSpoolDir } from "../../../../src/buffer/spool/spool-folders.js";
import { DirectoryLock } from "../../../../src/util/directory-lock.js";
import { FakeClock } from "../../../support/fake-clock.js";
import { FaultySpoolFs } from "../../../support/faulty-spool-fs.js";

const logger = pino({ level: "silent" });
const clock = new FakeClock();

let spoolDir: string;

beforeEach(async () => {
  spoolDir = await mkdtemp(join(tmpdir(), "stats-spool-"));
});

afterEach(async () => {
  await rm(spoolDir, { recursive: true, force: true });
});

/** Puts a file into a folder of SPOOL_DIR; its content tells it from others. */
async function put(path: string): Promise<void> {
  await mkdir(join(spoolDir, path, ".."), { recursive: true });
  await writeFile(join(spoolDir, path), path);
}

function batch(number: number): string {
  return `${String(number).padStart(16, "0")}.batch`;
}

/** What the next run with so many workers finds: path by content, locks aside. */
async function gather(workers: number): Promise<Record<string, string>> {
  const claim = await claimSpoolDir({ spoolDir, spoolMaxBytes: 1, workers }, { clock, logger });
  await claim?.close();
  return await filesByContent();
}

async function filesByContent(): Promise<Record<string, string>> {
  const entries = await readdir(spoolDir, { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const found = paths.map(
    async (path) => [await readFile(path, "utf8"), path.slice(spoolDir.length + 1)] as const,
  );
  return Object.fromEntries(await Promise.all(found));
}

describe("claimSpoolDir", () => {
  it("deals what a lone process left to the workers by turns, oldest first", async () => {
    for (const number of [1, 2, 3]) {
      await put(batch(number));
    }
    expect(await gather(2)).toEqual({
      [batch(1)]: join("worker-1", batch(1)),
      [batch(2)]: join("worker-2", batch(2)),
      [batch(3)]: join("worker-1", batch(3)),
    });
  });

  it("gives a lone process what workers left", async () => {
    await put(`worker-1/${batch(1)}`);
    await put(`worker-12/${batch(2)}`);
    expect(await gather(1)).toEqual({
      [`worker-1/${batch(1)}`]: batch(1),
      [`worker-12/${batch(2)}`]: batch(2),
    });
  });

  it("gives workers what those left that there are no more, and leaves their own where it is", async () => {
    await put(`worker-1/${batch(5)}`);
    await put(`worker-3/${batch(6)}`);
    await put(`worker-4/${batch(7)}`);
    expect(await gather(2)).toEqual({
      [`worker-1/${batch(5)}`]: join("worker-1", batch(5)),
      [`worker-3/${batch(6)}`]: join("worker-1", batch(6)),
      [`worker-4/${batch(7)}`]: join("worker-2", batch(7)),
    });
  });

  it("puts no file in the place of another", async () => {
    await put(batch(1));
    await put(batch(2));
    await put(`worker-1/${batch(1)}`);
    await put(`worker-2/${batch(1)}`);
    await put(`worker-1/set-aside/torn`);
    await put(`worker-2/set-aside/torn`);
    await put(`worker-2/set-aside/torn.1`);
    const files = await gather(1);
    expect(Object.keys(files)).toHaveLength(7);
    expect(new Set(Object.values(files)).size).toBe(7);
    expect(await readdir(spoolDir)).toEqual(expect.arrayContaining([1, 2, 3, 4].map(batch)));
  });

  it("takes what was set aside along, so that it goes on to be told of", async () => {
    await put("set-aside/torn");
    expect(await gather(2)).toEqual({ "set-aside/torn": join("worker-1", "set-aside", "torn") });
  });

  it("leaves alone what is no batch and what is no worker's folder", async () => {
    await put("notes.txt");
    await put(`backup/${batch(1)}`);
    await put(`worker-x/${batch(2)}`);
    expect(await gather(2)).toEqual({
      "notes.txt": "notes.txt",
      [`backup/${batch(1)}`]: join("backup", batch(1)),
      [`worker-x/${batch(2)}`]: join("worker-x", batch(2)),
    });
  });

  it("takes nothing out of a folder that is still in use", async () => {
    await put(`worker-3/${batch(1)}`);
    await using _lock = await DirectoryLock.acquire(join(spoolDir, "worker-3"));
    await expect(gather(2)).rejects.toThrow(/^SPOOL_DIR: .*worker-3 is in use by another service/);
    expect(await readdir(join(spoolDir, "worker-3"))).toContain(batch(1));
  });

  it("is refused while a folder is still in use that nothing is in yet: what comes into it nobody would find", async () => {
    await using lock = await DirectoryLock.acquire(join(spoolDir, "worker-3"));
    await expect(gather(1)).rejects.toThrow(/^SPOOL_DIR: .*worker-3 is in use by another service/);
    await put(`worker-3/${batch(1)}`);
    await lock.close();
    expect(await gather(1)).toEqual({ [`worker-3/${batch(1)}`]: batch(1) });
  });

  it("is refused while another service has the directory, however many workers that has", async () => {
    const claim = await claimSpoolDir({ spoolDir, spoolMaxBytes: 1, workers: 2 }, { clock, logger });
    for (const workers of [1, 2, 3]) {
      await expect(gather(workers)).rejects.toBeInstanceOf(SpoolOpenError);
    }
    await claim?.close();
    await gather(1);
  });

  it("claims and moves nothing when there is to be no spool", async () => {
    await put(`worker-3/${batch(1)}`);
    expect(
      await claimSpoolDir({ spoolDir, spoolMaxBytes: 0, workers: 1 }, { clock, logger }),
    ).toBeUndefined();
    expect(await filesByContent()).toEqual({ [`worker-3/${batch(1)}`]: join("worker-3", batch(1)) });
  });

  it("gives up on a disk that hangs while what an earlier run left is listed", async () => {
    await put(`worker-3/${batch(1)}`);
    const fs = new FaultySpoolFs();
    const answer = fs.hang("names");
    const settings = { spoolDir, spoolMaxBytes: 1, workers: 1 };
    const claimed = claimSpoolDir(settings, { clock, logger, fs }).catch((error: unknown) => error);
    while (!fs.calls.includes("names worker-3")) {
      await setImmediate();
    }
    await clock.advance(10_000);
    expect(await claimed).toEqual(new SpoolOpenError(new Error("the spool's disk does not answer")));
    answer();
  });

  it("is given up within two seconds when the disk hangs", async () => {
    const lock = async () => ({ close: () => new Promise<never>(() => undefined) });
    const settings = { spoolDir, spoolMaxBytes: 1, workers: 1 };
    const claim = await claimSpoolDir(settings, { clock, logger, lock });
    const closed = claim?.close();
    await clock.advance(2_000);
    await closed;
  });
});
