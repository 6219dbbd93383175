import { getEventListeners } from "node:events";
import { Health, type ServingStatus } from "../../../src/server/health.js";

async function collect(statuses: AsyncIterable<ServingStatus>): Promise<ServingStatus[]> {
  const all: ServingStatus[] = [];
  for await (const status of statuses) {
    all.push(status);
  }
  return all;
}

describe("Health", () => {
  it("starts as not serving, starting", () => {
    expect(new Health().readiness()).toEqual({ ok: false, reason: "starting" });
  });

  it("tells what was pushed last", () => {
    const health = new Health();
    health.setServing();
    expect(health.readiness()).toEqual({ ok: true });
    health.setNotServing("PostgreSQL: permission denied");
    expect(health.readiness()).toEqual({ ok: false, reason: "PostgreSQL: permission denied" });
  });

  it("is alive while each check is", () => {
    const health = new Health();
    let reason: string | undefined;
    health.addLivenessCheck("flusher", () => reason);
    expect(health.liveness()).toEqual({ ok: true });
    reason = "stopped";
    expect(health.liveness()).toEqual({ ok: false, reason: "flusher: stopped" });
  });

  it("is not ready for good once closed", async () => {
    const health = new Health();
    health.setServing();
    await health.close();
    await health.close();
    health.setServing();
    expect(health.readiness()).toEqual({ ok: false, reason: "stopping" });
  });
});

describe("Health.watch", () => {
  const never = new AbortController().signal;

  it("gives the status now and then each change, each once", async () => {
    const health = new Health();
    const watch = health.watch(never);
    expect((await watch.next()).value).toBe("not serving");
    const change = watch.next();
    health.setNotServing("migrating");
    health.setServing();
    expect((await change).value).toBe("serving");
    const next = watch.next();
    health.setServing();
    health.setNotServing("draining");
    expect((await next).value).toBe("not serving");
    await health.close();
    expect(await watch.next()).toEqual({ done: true, value: undefined });
  });

  it("gives a slow reader the newest status only", async () => {
    const health = new Health();
    const watch = health.watch(never);
    await watch.next();
    health.setServing();
    health.setNotServing("again");
    health.setServing();
    expect((await watch.next()).value).toBe("serving");
    health.setNotServing("gone");
    health.setServing();
    const next = watch.next();
    await health.close();
    expect((await next).value).toBe("not serving");
  });

  it("says not serving before it ends", async () => {
    const health = new Health();
    health.setServing();
    const statuses = collect(health.watch(never));
    await health.close();
    expect(await statuses).toEqual(["serving", "not serving"]);
    expect(await collect(health.watch(never))).toEqual(["not serving"]);
  });

  it("ends when its signal aborts, and leaves no listener behind", async () => {
    const health = new Health();
    const client = new AbortController();
    const watch = health.watch(client.signal);
    await watch.next();
    const next = watch.next();
    expect(getEventListeners(client.signal, "abort")).toHaveLength(1);
    client.abort();
    expect((await next).done).toBe(true);
    expect(getEventListeners(client.signal, "abort")).toHaveLength(0);
    health.setServing();
  });
});
