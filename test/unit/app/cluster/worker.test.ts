import { join } from "node:path";
import { workerConfig } from "../../../../src/app/cluster/worker.js";
import { loadConfig } from "../../../../src/config.js";

const config = loadConfig({ WORKERS: "3", QUEUE_MAX_BYTES: "10000000", SPOOL_DIR: "/var/spool/stats" });

function ofWorker(worker: number) {
  return workerConfig(config, { worker, workers: 3, databaseUrl: "postgres://db/stats" });
}

describe("workerConfig", () => {
  it("divides what is for the whole service, so that the shares never exceed it", () => {
    const { queueMaxBytes, spoolMaxBytes } = ofWorker(1);
    expect({ queueMaxBytes, spoolMaxBytes }).toEqual({
      queueMaxBytes: 3_333_333,
      spoolMaxBytes: 357_913_941,
    });
  });

  it("gives each worker a spool of its own and the primary's database", () => {
    expect(ofWorker(1)).toMatchObject({
      spoolDir: join("/var/spool/stats", "worker-1"),
      databaseUrl: "postgres://db/stats",
    });
    expect(ofWorker(3).spoolDir).toBe(join("/var/spool/stats", "worker-3"));
  });

  it("leaves a spool that is turned off so, and all else as it is", () => {
    const { spoolMaxBytes } = workerConfig(loadConfig({ SPOOL_MAX_BYTES: "0" }), {
      worker: 1,
      workers: 2,
      databaseUrl: "postgres://db/stats",
    });
    expect(spoolMaxBytes).toBe(0);
    expect(ofWorker(2)).toMatchObject({ port: config.port, flushMaxRows: config.flushMaxRows });
  });
});
