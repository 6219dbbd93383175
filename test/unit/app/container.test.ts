import { pino } from "pino";
import { createPrimaryContainer, createServiceContainer } from "../../../src/app/container.js";
import { ifMade, resolveJobs } from "../../../src/app/lifecycle.js";
import { NO_BOOKS } from "../../../src/app/runnable.js";
import { Service } from "../../../src/app/service.js";
import { loadConfig } from "../../../src/config.js";

const logger = pino({ level: "silent" });
const config = loadConfig({ DATABASE_URL: "postgres://nobody@127.0.0.1:1/none", RETENTION_DAYS: "8" });

describe("The container", () => {
  it("makes no part that nobody has asked for", () => {
    const container = createServiceContainer(config, logger);
    expect(ifMade(container, "flusher")).toBeUndefined();
    const { queue } = container.cradle;
    expect(ifMade(container, "queue")).toBe(queue);
    expect([...container.cache.keys()]).toEqual(["queue"]);
  });

  it("finds each background job by its registration, the Flusher before the replay that it must outlive", () => {
    const jobs = resolveJobs(createServiceContainer(config, logger));
    expect(jobs.map((job) => job.constructor.name)).toEqual([
      "Flusher",
      "BufferReplay",
      "PartitionKeeper",
      "RetentionKeeper",
      "CountsKeeper",
      "Aggregator",
    ]);
  });

  it("gives a primary neither a pool nor the jobs of its workers", () => {
    const { registrations } = createPrimaryContainer(config, logger);
    for (const name of ["pool", "partitionKeeper", "retentionKeeper", "flusher", "rpcServer"]) {
      expect(registrations).not.toHaveProperty(name);
    }
  });

  it("gives a worker no admin port", () => {
    expect(createServiceContainer(config, logger, { isWorker: true }).cradle.adminServer).toBeUndefined();
  });
});

test("a service that was never started stops with empty books", async () => {
  expect(
    await new Service({ config, logger, container: createServiceContainer(config, logger) }).stop(),
  ).toEqual(NO_BOOKS);
});
