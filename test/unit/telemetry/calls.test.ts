import { create, type DescMethodUnary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { Registry } from "prom-client";
import { PushRequestSchema, StatsService } from "../../../gen/stats/v1/stats_pb.js";
import type { UnaryHandler } from "../../../src/rpc/unary-method.js";
import { CallDurations } from "../../../src/telemetry/calls.js";
import { FakeClock } from "../../support/fake-clock.js";
import { Scrape } from "../../support/scrape.js";

const DEFINITION = {
  name: "call_seconds",
  type: "histogram",
  help: "Time of a call.",
  labels: { method: "", code: "" },
  aggregator: "sum",
  buckets: [0.001, 0.01],
} as const;

class Rig {
  readonly clock = new FakeClock();
  readonly #durations = new CallDurations(DEFINITION);
  readonly #registry = new Registry();
  readonly #interceptor = this.#durations.interceptor(this.clock);

  constructor() {
    this.#registry.registerMetric(this.#durations.metric);
  }

  call(handler: UnaryHandler<DescMethodUnary>) {
    const handle = this.#interceptor(handler, StatsService.method.push);
    const call = {
      address: new Uint8Array(),
      arrivedAt: this.clock.elapsed(),
      header: () => undefined,
      caller: undefined,
      onAbandoned: () => undefined,
    };
    return () => handle(create(PushRequestSchema), call);
  }

  async samples(): Promise<Record<string, number>> {
    return Object.fromEntries(new Scrape(await this.#registry.metrics()).samples);
  }
}

describe("CallDurations", () => {
  it("counts a call in its bucket and all above it, from the arrival of its header", async () => {
    const rig = new Rig();
    const call = rig.call(() => ({}));
    await rig.clock.advance(10);
    expect(call()).toEqual({});
    expect(await rig.samples()).toEqual({
      'call_seconds_bucket{method="Push",code="ok",le="0.001"}': 0,
      'call_seconds_bucket{method="Push",code="ok",le="0.01"}': 1,
      'call_seconds_bucket{method="Push",code="ok",le="+Inf"}': 1,
      'call_seconds_sum{method="Push",code="ok"}': 0.01,
      'call_seconds_count{method="Push",code="ok"}': 1,
    });
  });

  it("lets a plain value through as a plain value", () => {
    expect(new Rig().call(() => ({}))()).not.toBeInstanceOf(Promise);
  });

  it("times a call that waits until it is answered", async () => {
    const rig = new Rig();
    let answer: (message: Record<string, unknown>) => void = () => {};
    const waiting = new Promise<Record<string, unknown>>((resolve) => {
      answer = resolve;
    });
    const answered = rig.call(() => waiting)();
    await rig.clock.advance(5_000);
    expect((await rig.samples())['call_seconds_count{method="Push",code="ok"}']).toBe(0);
    answer({});
    await answered;
    expect((await rig.samples())['call_seconds_sum{method="Push",code="ok"}']).toBe(5);
  });

  it.each([
    ["resource_exhausted", new ConnectError("full", Code.ResourceExhausted)],
    ["internal", new TypeError("a bug")],
  ])("counts a call that fails, now or later, as %s, and hands the error on", async (code, error) => {
    const rig = new Rig();
    const failing = rig.call(() => {
      throw error;
    });
    expect(failing).toThrow(error);
    await expect(rig.call(() => Promise.reject(error))()).rejects.toBe(error);
    expect((await rig.samples())[`call_seconds_count{method="Push",code="${code}"}`]).toBe(2);
  });
});
