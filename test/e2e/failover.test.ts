import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { PostgresPair } from "../support/postgres-pair.js";
import { pushMany } from "../support/pushes.js";
import { ServiceProcess } from "../support/service-process.js";

/** An address that follows the primary, as HAProxy or a service of Kubernetes does. */
async function primaryAddress(first: number) {
  let target = first;
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => undefined).on("close", () => to.destroy());
      from.pipe(to);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `postgres://postgres@127.0.0.1:${(server.address() as AddressInfo).port}/postgres`,
    follow: (port: number) => {
      target = port;
      for (const socket of sockets) {
        socket.destroy();
      }
    },
    [Symbol.dispose]: () => void server.close(),
  };
}

test("when the primary dies under load and its standby is promoted, every event answered as durable is there", async () => {
  await using pair = await PostgresPair.start();
  using address = await primaryAddress(pair.primary.port);
  await using service = await ServiceProcess.start({ DATABASE_URL: address.url, FLUSH_INTERVAL_MS: "50" });
  const failOver = async () => {
    await pair.primary.kill();
    await pair.standby.query("SELECT pg_promote()");
    address.follow(pair.standby.port);
  };
  let failingOver: Promise<void> | undefined;
  const record = await pushMany(
    service.url,
    { count: 2_000, connections: 8, ack: "ACK_MODE_DURABLE" },
    (answers) => {
      failingOver ??= answers >= 500 ? failOver() : undefined;
    },
  );
  await failingOver;
  expect(record.acknowledged.size).toBeGreaterThan(1_000);
  expect(await service.stop()).toMatchObject({ status: 0 });
  const rows = await pair.standby.query<{ id: string }>("SELECT id FROM incoming");
  const stored = new Set(rows.map(({ id }) => id));
  expect([...record.acknowledged].filter((id) => !stored.has(id))).toEqual([]);
  expect(rows.length).toBe(stored.size);
}, 120_000);
