import { jest } from "@jest/globals";
import { createBufferingClient } from "../../client/src/create-buffering-client.js";
import { FaultProxy } from "../support/fault-proxy.js";
import { until } from "../support/wait.js";
import { ChaosRig } from "./support/chaos-rig.js";

const EVENTS = 10_000;
const KILLS = 5;
/** Between two kills, so that the last comes while events are still pushed. */
const EVENTS_PER_LIFE = 1_700;

jest.setTimeout(120_000);

test("events of a durable client survive five kills of the service and a network that cuts, each once", async () => {
  await using rig = await ChaosRig.start();
  await using network = await FaultProxy.inFrontOf(rig.url);
  await using stats = createBufferingClient(network.url, {
    ack: "durable",
    batchEvents: 100,
    maxEvents: 1_000,
  });
  const produce = async () => {
    for (let item = 1; item <= EVENTS; item++) {
      await stats.whenRoom();
      expect(stats.push({ property: "news", section: 7, item })).toBe(true);
    }
  };
  const produced = produce();
  for (let life = 0; life < KILLS; life++) {
    const target = life * EVENTS_PER_LIFE;
    await until(() => stats.counters.acknowledged >= target, `${target} acknowledgements`);
    for (const fault of ["cut-request", "cut-answer"] as const) {
      network.set(fault, 2);
      await network.struck();
    }
    await rig.endService("SIGKILL");
    await rig.startService();
  }
  await produced;
  await stats.flush({ timeoutMs: 60_000 });

  const { retried, ...books } = stats.counters;
  expect(books).toEqual({ pushed: EVENTS, acknowledged: EVENTS, rejected: 0, buffered: 0, refused: 0 });
  expect(retried).toBeGreaterThan(0);
  expect(await stats.close()).toEqual({ undelivered: 0 });
  await rig.settle("a durable client");
  const { rows } = await rig.query<{ rows: string; items: string; most: string }>(
    "SELECT count(*) AS rows, count(DISTINCT property_id) AS items, max(property_id) AS most FROM incoming",
  );
  expect(rows).toEqual([{ rows: `${EVENTS}`, items: `${EVENTS}`, most: `${EVENTS}` }]);
});
