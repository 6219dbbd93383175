import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { jetstreamManager } from "@nats-io/jetstream";
import type { TestDatabase } from "../support/database.js";
import { type NatsServer, NatsServers } from "../support/nats-server.js";
import { describeWith, NATS_SERVER } from "../support/needs.js";
import { pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";
import { until } from "../support/wait.js";

/** Names a cluster of three, and what is done to it while events are pushed. */
interface Fault {
  readonly name: string;
  readonly strike: (nats: NatsServers, leader: NatsServer, follower: NatsServer) => Promise<void>;
}

const FAULTS: readonly Fault[] = [
  {
    name: "a follower is killed and comes back",
    strike: async (_, __, follower) => {
      await follower.kill();
      await follower.start();
    },
  },
  {
    name: "the leader is killed and comes back",
    strike: async (_, leader) => {
      await leader.kill();
      await leader.start();
    },
  },
  {
    name: "two of three are killed and come back",
    strike: async (_, leader, follower) => {
      await Promise.all([leader.kill(), follower.kill()]);
      await Promise.all([leader.start(), follower.start()]);
    },
  },
  {
    name: "a server is killed and comes back without its files",
    strike: async (_, __, follower) => {
      await follower.kill();
      await follower.wipe();
      await follower.start();
    },
  },
];

describeWith(NATS_SERVER, "with three NATS servers every durable event becomes one row when", (program) => {
  let nats: NatsServers;
  let folder: string;
  let database: TestDatabase;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "stats-cluster-"));
  });
  afterAll(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    [nats, database] = await Promise.all([NatsServers.start(program, 3), createServiceDatabase()]);
  }, 60_000);
  afterEach(async () => {
    await Promise.all([nats.close(), database.close()]);
  });

  /** The server that leads the stream, and another one. */
  async function leaderAndFollower(): Promise<[NatsServer, NatsServer]> {
    const client = await nats.one.connect();
    const { cluster } = await (await jetstreamManager(client)).streams.info("stats");
    await client.close();
    const leader = nats.servers.find(({ name }) => name === cluster?.leader);
    const follower = nats.servers.find((server) => server !== leader);
    if (leader === undefined || follower === undefined) {
      throw new Error("the stream has no leader");
    }
    return [leader, follower];
  }

  it.each(FAULTS)(
    "$name",
    async ({ strike }) => {
      const shared = { BUFFER_URL: nats.url, FLUSH_INTERVAL_MS: "50" };
      await using edge = await ServiceProcess.start({
        ...shared,
        ROLE: "edge",
        DATA_DIR: join(folder, "edge"),
      });
      await using writer = await ServiceProcess.start({
        ...shared,
        ROLE: "writer",
        DATABASE_URL: database.url,
      });
      await until(
        () => edge.log.some(({ msg }) => msg === "buffer: connected to NATS"),
        "the edge to be connected",
      );
      await until(() => writer.log.some(({ msg }) => msg === "buffer: connected to NATS"), "the writer, too");
      const [leader, follower] = await leaderAndFollower();
      let striking: Promise<void> | undefined;
      const record = await pushMany(
        edge.url,
        { count: 2_000, connections: 8, ack: "ACK_MODE_DURABLE" },
        (answers) => {
          striking ??= answers >= 200 ? strike(nats, leader, follower) : undefined;
        },
      );
      await striking;
      expect(record.failed.size).toBe(0);
      const count = async () =>
        Number((await database.pool.query("SELECT count(*) FROM incoming")).rows[0].count);
      await until(async () => (await count()) >= record.acknowledged.size, "a row for each event");
      const { rows } = await database.pool.query<{ id: string }>("SELECT id FROM incoming");
      expect(new Set(rows.map(({ id }) => id))).toEqual(record.acknowledged);
      expect(rows.length).toBe(record.acknowledged.size);
      expect(await edge.stop()).toMatchObject({ status: 0 });
      expect(await writer.stop()).toMatchObject({ status: 0 });
    },
    120_000,
  );
});
