import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../support/free-port.js";
import { newEventId, push } from "../support/pushes.js";
import { createStatsDatabase } from "../support/stats-database.js";

const MAIN = join(import.meta.dirname, "../../dist/src/main.js");
const UNREAD = ">(exec sleep 300)";
/** More than a pipe of 64 KiB takes, at a line of the log for each. */
const CALLS = 600;

/** How the service's two outputs come to nobody, in bash. */
const OUTPUTS = {
  "standard output is a pipe that nobody reads": `exec node "$MAIN" > ${UNREAD}`,
  "both outputs are one pipe that nobody reads": `exec node "$MAIN" > ${UNREAD} 2>&1`,
  "standard output is a full disk, and standard error a full pipe": `exec 3> ${UNREAD}; head -c 65536 /dev/zero >&3; exec node "$MAIN" >/dev/full 2>&3`,
};

/** The service, under `bash`, in a process group that ends with the test. */
class UnreadService implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;

  constructor(script: string, environment: Record<string, string>) {
    this.child = spawn("bash", ["-c", script], {
      env: { PATH: process.env.PATH, MAIN, SPOOL_MAX_BYTES: "0", LOG_LEVEL: "debug", ...environment },
      stdio: "ignore",
      detached: true,
    });
    this.ended = once(this.child, "exit");
  }

  async ready(adminUrl: string): Promise<void> {
    for (;;) {
      const response = await fetch(`${adminUrl}/readyz`).catch(() => undefined);
      if (response?.status === 200) {
        return;
      }
      await delay(100);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    process.kill(-Number(this.child.pid), "SIGKILL");
    await this.ended;
  }
}

describe.each(Object.entries(OUTPUTS))("when %s", (_, script) => {
  test.each(["1", "2"])("%s worker(s) take every event, and stop in order", async (workers) => {
    await using database = await createStatsDatabase();
    const [port, adminPort] = [await freePort(), await freePort()];
    await using service = new UnreadService(script, {
      DATABASE_URL: database.url,
      PORT: String(port),
      ADMIN_PORT: String(adminPort),
      WORKERS: workers,
    });
    await service.ready(`http://127.0.0.1:${adminPort}`);
    const ids: string[] = [];
    for (let call = 0; call < CALLS; call++) {
      const eventId = newEventId();
      const { status } = await push(`http://127.0.0.1:${port}`, {
        property: "news",
        section: 1,
        item: 1,
        eventId,
      });
      expect(status).toBe(200);
      ids.push(eventId);
    }
    service.child.kill("SIGTERM");
    expect(await service.ended).toEqual([0, null]);
    const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
    expect(rows.map(({ id }) => id).sort()).toEqual(ids.sort());
  });
});
