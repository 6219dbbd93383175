import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { pino } from "pino";
import { Spool, SpoolFullError, SpoolOpenError } from "../../../../src/buffer/spool/spool.js";
import { DiskHangsError, type SpoolFs } from "../../../../src/buffer/spool/spool-disk.js";
import { countSpoolFiles, type SpoolEntry } from "../../../../src/buffer/spool/spool-recovery.js";
import type { EncodedBatch } from "../../../../src/event/tuple-codec.js";
import { encodeBatch, rowsAt } from "../../../support/encoded.js";
import { FakeClock } from "../../../support/fake-clock.js";
import { FaultySpoolFs } from "../../../support/faulty-spool-fs.js";

const BLOCK = 4096;

let root: string;
let directory: string;
let clock: FakeClock;
let fs: FaultySpoolFs;
let log: { level: number; msg: string; [field: string]: unknown }[];
const opened = new Set<Spool>();

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "stats-spool-"));
  directory = join(root, "data", "spool");
  clock = new FakeClock();
  fs = new FaultySpoolFs();
  log = [];
});

afterEach(async () => {
  for (const spool of opened) {
    await spool.close();
  }
  opened.clear();
  await rm(root, { recursive: true, force: true });
});

function makeSpool(options: { maxBytes?: number } = {}): Spool {
  const logger = pino(
    {},
    new Writable({
      write(line: Buffer, _encoding, done) {
        log.push(JSON.parse(line.toString()));
        done();
      },
    }),
  );
  const spool = new Spool({ directory, maxBytes: 100 * BLOCK, clock, logger, fs, ...options });
  opened.add(spool);
  return spool;
}

async function openSpool(options: { maxBytes?: number } = {}): Promise<Spool> {
  const spool = makeSpool(options);
  await spool.open();
  return spool;
}

/** A batch that can be told from others by its number of rows. */
function batchOf(rows: number): EncodedBatch {
  return encodeBatch(rowsAt(clock.now(), rows), 1_000);
}

function bytesOf(batch: EncodedBatch | undefined): Buffer {
  return Buffer.concat(batch?.chunks ?? []);
}

/** The rows of each batch, oldest first, as replaying finds them. */
async function drain(spool: Spool): Promise<number[]> {
  const rows: number[] = [];
  for (let entry = spool.oldest(); entry !== undefined; entry = spool.oldest()) {
    const batch = await spool.read(entry);
    if (batch !== undefined) {
      rows.push(batch.rows);
      await spool.remove(entry);
    }
  }
  return rows;
}

/** All but the lock. */
async function filesIn(path: string): Promise<string[]> {
  return (await readdir(path)).filter((name) => !name.startsWith(".")).sort();
}

async function batchFiles(): Promise<string[]> {
  return (await filesIn(directory)).filter((name) => name.endsWith(".batch"));
}

const errors = () => log.filter(({ level }) => level === 50);

describe("storing", () => {
  it("gives back the very bytes, and forgets them when they are removed", async () => {
    const spool = await openSpool();
    const batch = batchOf(30);
    await spool.store(batch);
    expect(spool).toMatchObject({ batches: 1, rows: 30, bytes: BLOCK });
    const entry = spool.oldest();
    if (entry === undefined) {
      throw new Error("nothing was stored");
    }
    const read = await spool.read(entry);
    expect(read?.rows).toBe(30);
    expect(bytesOf(read)).toEqual(bytesOf(batch));
    await spool.remove(entry);
    expect(spool).toMatchObject({ batches: 0, rows: 0, bytes: 0 });
    expect(await filesIn(directory)).toEqual([]);
  });

  it("has a batch stored only when the file and then its name are on stable storage", async () => {
    const spool = await openSpool();
    fs.calls.length = 0;
    await spool.store(batchOf(1));
    const [name] = await batchFiles();
    expect(fs.calls).toEqual([`write ${name}.tmp`, `move ${name}`, "syncDirectory spool"]);
  });

  it("keeps the order in which stores were asked for", async () => {
    const spool = await openSpool();
    await Promise.all([1, 2, 3, 4, 5].map((rows) => spool.store(batchOf(rows))));
    expect(await drain(spool)).toEqual([1, 2, 3, 4, 5]);
  });

  it("tells its listener of each batch", async () => {
    const spool = await openSpool();
    let told = 0;
    spool.onAvailable(() => {
      told += 1;
    });
    await spool.store(batchOf(1));
    expect(told).toBe(1);
    fs.failing.write = "ENOSPC";
    await expect(spool.store(batchOf(1))).rejects.toThrow("ENOSPC");
    expect(told).toBe(1);
  });

  it("refuses what would exceed its bound, and takes it when there is room again", async () => {
    const spool = await openSpool({ maxBytes: 3 * BLOCK });
    await spool.store(batchOf(1));
    await spool.store(batchOf(60));
    expect(spool.bytes).toBe(3 * BLOCK);
    expect((await stat(join(directory, (await batchFiles())[1] ?? ""))).size).toBeGreaterThan(BLOCK);
    await expect(spool.store(batchOf(1))).rejects.toBeInstanceOf(SpoolFullError);
    expect(spool).toMatchObject({ batches: 2, rows: 61, bytes: 3 * BLOCK, isWritable: true });
    const entry = spool.oldest();
    await (entry && spool.remove(entry));
    await spool.store(batchOf(2));
    expect(await drain(spool)).toEqual([60, 2]);
  });

  it("is refused before the spool is open and after it is closed", async () => {
    const spool = makeSpool();
    await expect(spool.store(batchOf(1))).rejects.toThrow("not open");
    await spool.open();
    await spool.close();
    await expect(spool.store(batchOf(1))).rejects.toThrow("closed");
    expect(await filesIn(directory)).toEqual([]);
  });
});

describe("what a run leaves", () => {
  it("is found by the next, oldest first, with its rows", async () => {
    const first = await openSpool();
    for (const rows of [1, 2, 3]) {
      await first.store(batchOf(rows));
      await clock.advance(10);
    }
    await first.close();
    const second = makeSpool();
    expect(await second.open()).toEqual({ rows: 6, setAsideRows: 0 });
    expect(second).toMatchObject({ batches: 3, rows: 6, bytes: 3 * BLOCK });
    await second.store(batchOf(4));
    expect(await drain(second)).toEqual([1, 2, 3, 4]);
  });

  it("comes before what is stored after the wall clock was set back", async () => {
    const first = await openSpool();
    await first.store(batchOf(1));
    await first.close();
    clock.setNow(Date.UTC(2001, 0, 1));
    const second = await openSpool();
    await second.store(batchOf(2));
    await second.store(batchOf(3));
    await second.close();
    clock.setNow(Date.UTC(2031, 0, 1));
    const third = await openSpool();
    await third.store(batchOf(4));
    await third.close();
    expect(await drain(await openSpool())).toEqual([1, 2, 3, 4]);
  });

  it("may exceed a bound that is lower now; nothing more is taken then", async () => {
    const first = await openSpool();
    await first.store(batchOf(1));
    await first.store(batchOf(2));
    await first.close();
    const second = await openSpool({ maxBytes: BLOCK });
    expect(second.bytes).toBe(2 * BLOCK);
    await expect(second.store(batchOf(3))).rejects.toBeInstanceOf(SpoolFullError);
    expect(await drain(second)).toEqual([1, 2]);
  });

  it("is counted without opening the spool, for a service that runs without one", async () => {
    expect(await countSpoolFiles(directory)).toBe(0);
    const spool = await openSpool();
    await spool.store(batchOf(1));
    await spool.close();
    expect(await countSpoolFiles(directory)).toBe(1);
  });
});

describe("the directory", () => {
  it("is of one service at a time, and the error is one line that names the setting", async () => {
    const first = await openSpool();
    const second = makeSpool();
    const refusal = second.open();
    await expect(refusal).rejects.toBeInstanceOf(SpoolOpenError);
    await expect(refusal).rejects.toThrow(/^SPOOL_DIR: .+ is in use by another service[^\n]*$/);
    await second.close();
    await first.store(batchOf(1));
    await first.close();
    expect(await drain(await openSpool())).toEqual([1]);
  });

  it("can be opened after an owner that never closed it has gone", async () => {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, ".lock-0123456789ab"), "");
    await openSpool();
  });

  it("is made again, and is ours alone again, when somebody removed it while we run", async () => {
    const spool = await openSpool();
    await rm(directory, { recursive: true });
    await spool.store(batchOf(1));
    await expect(makeSpool().open()).rejects.toThrow("in use by another service");
    await spool.close();
    expect(await drain(await openSpool())).toEqual([1]);
  });

  it("has its name, too, on stable storage when it was made again", async () => {
    const spool = await openSpool();
    await rm(join(root, "data"), { recursive: true });
    fs.calls.length = 0;
    await spool.store(batchOf(1));
    expect(fs.calls).toEqual(expect.arrayContaining(["syncDirectory spool", "syncDirectory data"]));
  });

  it("that cannot be a directory is a clear error, and close() is safe", async () => {
    await writeFile(join(root, "data"), "a file");
    const spool = makeSpool();
    await expect(spool.open()).rejects.toThrow(/^SPOOL_DIR: /);
    await spool.close();
    await spool.close();
  });

  it("that cannot be listed is given free again", async () => {
    fs.failing.names = "EIO";
    await expect(openSpool()).rejects.toBeInstanceOf(SpoolOpenError);
    delete fs.failing.names;
    await openSpool();
  });

  it.each(["EMFILE", "ENOMEM"])(
    "keeps its files when they cannot be read for %s: the start fails",
    async (code) => {
      await using first = await openSpool();
      await first.store(batchOf(1));
      await first.close();
      fs.failing.read = code;
      await expect(makeSpool().open()).rejects.toThrow(`SPOOL_DIR: ${code}`);
      expect(await batchFiles()).toHaveLength(1);
      delete fs.failing.read;
      expect(await makeSpool().open()).toEqual({ rows: 1, setAsideRows: 0 });
    },
  );

  it("has a file set aside that the disk has lost, and the others are replayed", async () => {
    await using first = await openSpool();
    await first.store(batchOf(1));
    await first.close();
    fs.failing.read = "EIO";
    await makeSpool().open();
    expect(await filesIn(join(directory, "set-aside"))).toHaveLength(1);
  });

  it("close() is safe before open()", async () => {
    await makeSpool().close();
  });
});

describe("a disk that fails", () => {
  it.each([
    ["full in the middle of a file", "write", "ENOSPC"],
    ["cannot write", "write", "EIO"],
    ["read-only", "write", "EROFS"],
    ["full in the directory", "move", "ENOSPC"],
    ["not able to put names on stable storage", "syncDirectory", "EIO"],
  ] as const)(
    "that is %s has the batch refused, keeps nothing of it and goes on after",
    async (_, method, code) => {
      const spool = await openSpool();
      await spool.store(batchOf(1));
      fs.failing[method] = code;
      await expect(spool.store(batchOf(2))).rejects.toMatchObject({ code });
      expect(spool).toMatchObject({ batches: 1, rows: 1, bytes: BLOCK, isWritable: false });
      expect(await filesIn(directory)).toHaveLength(1);
      delete fs.failing[method];
      await spool.store(batchOf(3));
      expect(spool.isWritable).toBe(true);
      expect(await drain(spool)).toEqual([1, 3]);
    },
  );

  it("that leaves a refused batch behind never has it replayed by this run", async () => {
    const spool = await openSpool();
    fs.failing.syncDirectory = "EIO";
    fs.failing.remove = "EIO";
    await expect(spool.store(batchOf(2))).rejects.toThrow("EIO");
    expect(await batchFiles()).toHaveLength(1);
    expect(spool).toMatchObject({ batches: 0, rows: 0 });
    delete fs.failing.syncDirectory;
    delete fs.failing.remove;
    await clock.advance(10);
    await spool.store(batchOf(3));
    expect(await batchFiles()).toHaveLength(1);
    expect(await drain(spool)).toEqual([3]);
    expect(await batchFiles()).toEqual([]);
  });

  it("that leaves a refused batch behind has it counted as recovered by the next run", async () => {
    const spool = await openSpool();
    fs.failing.syncDirectory = "EIO";
    fs.failing.remove = "EIO";
    await expect(spool.store(batchOf(2))).rejects.toThrow("EIO");
    await spool.close();
    delete fs.failing.syncDirectory;
    delete fs.failing.remove;
    expect(await makeSpool().open()).toEqual({ rows: 2, setAsideRows: 0 });
  });

  it("that cannot remove a replayed file has this run not replay it again", async () => {
    const spool = await openSpool();
    await spool.store(batchOf(1));
    await spool.store(batchOf(2));
    fs.failing.remove = "EROFS";
    expect(await drain(spool)).toEqual([1, 2]);
    expect(spool).toMatchObject({ batches: 0, rows: 0, bytes: 2 * BLOCK });
    await spool.close();
    delete fs.failing.remove;
    expect(await makeSpool().open()).toEqual({ rows: 3, setAsideRows: 0 });
  });

  it("that cannot read a file is asked again, and keeps the others waiting only for so long", async () => {
    const spool = await openSpool();
    await spool.store(batchOf(1));
    await spool.store(batchOf(2));
    const entry = spool.oldest();
    if (entry === undefined) {
      throw new Error("nothing was stored");
    }
    fs.failing.read = "EIO";
    for (let attempt = 1; attempt < 10; attempt++) {
      await expect(spool.read(entry)).rejects.toThrow("EIO");
      expect(spool.oldest()).toBe(entry);
    }
    expect(await spool.read(entry)).toBeUndefined();
    delete fs.failing.read;
    expect(await drain(spool)).toEqual([2]);
    expect(await filesIn(join(directory, "set-aside"))).toEqual([entry.name]);
  });

  it("that cannot read a file for a reason that is not the file's is asked any number of times", async () => {
    const spool = await openSpool();
    await spool.store(batchOf(1));
    const entry = spool.oldest() as SpoolEntry;
    fs.failing.read = "EMFILE";
    for (let attempt = 1; attempt <= 20; attempt++) {
      await expect(spool.read(entry)).rejects.toThrow("EMFILE");
    }
    delete fs.failing.read;
    expect(await drain(spool)).toEqual([1]);
  });
});

describe("a process killed while it wrote", () => {
  it("leaves a temporary file, which the next run removes", async () => {
    const first = await openSpool();
    await first.store(batchOf(1));
    await first.close();
    const [name = ""] = await batchFiles();
    const whole = await readFile(join(directory, name));
    const later = `${"9".padStart(name.length - ".batch".length, "0")}.batch.tmp`;
    await writeFile(join(directory, later), whole.subarray(0, 40));
    const second = makeSpool();
    expect(await second.open()).toEqual({ rows: 1, setAsideRows: 0 });
    expect(await batchFiles()).toEqual([name]);
    expect(await filesIn(directory)).toEqual([name]);
    expect(errors()).toEqual([]);
  });
});

describe("files that cannot be replayed", () => {
  /** Stores batches of 1, 2 and 3 rows, closes, and returns the paths of their files. */
  async function leaveThree(): Promise<string[]> {
    const spool = await openSpool();
    for (const rows of [1, 2, 3]) {
      await spool.store(batchOf(rows));
    }
    await spool.close();
    return (await batchFiles()).map((name) => join(directory, name));
  }

  it("are set aside at start, never deleted, and do not keep the others from being replayed", async () => {
    const [, second = "", third = ""] = await leaveThree();
    const torn = (await readFile(second)).subarray(0, 50);
    await writeFile(second, torn);
    await writeFile(third, "");
    await writeFile(join(directory, "notes.txt"), "not a batch");
    const spool = makeSpool();
    expect(await spool.open()).toEqual({ rows: 1, setAsideRows: 2 });
    expect(await drain(spool)).toEqual([1]);
    expect(spool).toMatchObject({ setAsideBatches: 3, batches: 0, bytes: 0 });
    const aside = join(directory, "set-aside");
    expect(await filesIn(aside)).toHaveLength(3);
    expect(await readFile(join(aside, second.slice(directory.length + 1)))).toEqual(torn);
    expect(await readFile(join(aside, "notes.txt"), "utf8")).toBe("not a batch");
    expect(errors()).toHaveLength(3);
    expect(errors()[0]).toMatchObject({ rows: 2, msg: expect.stringContaining("SPOOL_DIR") });
  });

  it("are left where they are when they are hidden or directories", async () => {
    await mkdir(join(directory, "lost+found"), { recursive: true });
    await writeFile(join(directory, ".keep"), "");
    await openSpool();
    expect(await filesIn(directory)).toEqual(["lost+found"]);
    expect(await readFile(join(directory, ".keep"), "utf8")).toBe("");
    expect(errors()).toEqual([]);
  });

  it("are set aside when their damage shows only as they are read", async () => {
    const [first = "", second = ""] = await leaveThree();
    const damaged = await readFile(second);
    damaged.writeUInt8(damaged.readUInt8(60) ^ 1, 60);
    await writeFile(second, damaged);
    const spool = makeSpool();
    expect(await spool.open()).toEqual({ rows: 6, setAsideRows: 0 });
    await rm(first);
    expect(await drain(spool)).toEqual([3]);
    expect(spool).toMatchObject({ batches: 0, rows: 0, bytes: 0, setAsideBatches: 1 });
    expect(await filesIn(join(directory, "set-aside"))).toEqual([second.slice(directory.length + 1)]);
    expect(errors()).toHaveLength(2);
  });

  it("never take the place of one that was set aside before", async () => {
    for (const text of ["one", "two", "three"]) {
      await mkdir(directory, { recursive: true });
      await writeFile(join(directory, "stray"), text);
      const spool = await openSpool();
      await spool.close();
    }
    const aside = join(directory, "set-aside");
    const texts = await Promise.all(
      (await filesIn(aside)).map((name) => readFile(join(aside, name), "utf8")),
    );
    expect(texts).toEqual(["one", "two", "three"]);
  });

  it("stay where they are when they cannot be moved, and start-up goes on", async () => {
    await leaveThree();
    await writeFile(join(directory, "stray"), "x");
    fs.failing.move = "EROFS";
    const spool = makeSpool();
    expect(await spool.open()).toEqual({ rows: 6, setAsideRows: 0 });
    expect(await drain(spool)).toEqual([1, 2, 3]);
    expect(await filesIn(directory)).toEqual(["stray"]);
    expect(errors()).toHaveLength(1);
  });

  it("are never named like what is stored next, whatever their number", async () => {
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, "8999999999999999.batch"), "foreign, from the far future");
    await writeFile(join(directory, "9999999999999999.batch"), "a number that a double cannot count on from");
    const spool = await openSpool();
    await spool.store(batchOf(1));
    await spool.store(batchOf(2));
    await spool.close();
    const next = makeSpool();
    expect(spool.setAsideBatches).toBe(2);
    await next.open();
    expect(next.setAsideBatches + next.batches).toBe(4);
  });
});

describe("a disk that hangs", () => {
  /** Resolves when `work` has been given up in a call of this method. */
  async function givenUp(method: keyof SpoolFs, work: () => Promise<unknown>): Promise<void> {
    fs.calls.length = 0;
    const ended = expect(work()).rejects.toThrow("the spool's disk does not answer");
    while (!fs.calls.some((call) => call.startsWith(method))) {
      await setImmediate();
    }
    await clock.advance(10_000);
    await ended;
  }

  it.each(["write", "move", "syncDirectory"] as const)(
    "in %s has the batch refused after ten seconds and others at once, and whatever it does later is replaced",
    async (method) => {
      const spool = await openSpool();
      await spool.store(batchOf(1));
      const answer = fs.hang(method);
      await givenUp(method, () => spool.store(batchOf(2)));
      await expect(spool.store(batchOf(3))).rejects.toBeInstanceOf(DiskHangsError);
      expect(spool).toMatchObject({ batches: 1, rows: 1, bytes: BLOCK, isWritable: false });

      answer();
      await answersAgain();
      await spool.store(batchOf(4));
      expect(spool).toMatchObject({ batches: 2, rows: 5, isWritable: true });
      expect(await drain(spool)).toEqual([1, 4]);
      expect(await filesIn(directory)).toEqual([]);
    },
  );

  it("while a file is read keeps the file, however often it is asked", async () => {
    const spool = await openSpool();
    await spool.store(batchOf(1));
    const entry = spool.oldest() as SpoolEntry;
    const answer = fs.hang("read");
    await givenUp("read", () => spool.read(entry));
    for (let attempt = 1; attempt <= 20; attempt++) {
      await expect(spool.read(entry)).rejects.toBeInstanceOf(DiskHangsError);
    }
    answer();
    await answersAgain();
    expect(await drain(spool)).toEqual([1]);
  });

  it("while a replayed file is removed does not keep the replay waiting", async () => {
    const spool = await openSpool();
    await spool.store(batchOf(1));
    fs.hang("remove");
    const removed = spool.remove(spool.oldest() as SpoolEntry);
    await clock.advance(10_000);
    await removed;
    expect(spool).toMatchObject({ batches: 0, rows: 0, bytes: BLOCK });
  });

  it("while the spool is listed ends the start with one line, and sets nothing aside", async () => {
    await using first = await openSpool();
    await first.store(batchOf(1));
    await first.close();
    fs.hang("read");
    const spool = makeSpool();
    await givenUp("read", () => spool.open());
    expect(await batchFiles()).toHaveLength(1);
  });

  it("does not keep the spool from being closed", async () => {
    let isAsked = false;
    const lock = async () => ({
      close: () => {
        isAsked = true;
        return new Promise<never>(() => undefined);
      },
    });
    const spool = new Spool({ directory, maxBytes: BLOCK, clock, logger: pino({ level: "silent" }), lock });
    await spool.open();
    const closed = spool.close();
    while (!isAsked) {
      await setImmediate();
    }
    await clock.advance(10_000);
    await closed;
  });

  async function answersAgain(): Promise<void> {
    while (!log.some(({ msg }) => msg === "spool: the disk answers again")) {
      await setImmediate();
    }
  }
});
