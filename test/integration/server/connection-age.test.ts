import { once } from "node:events";
import { Agent, request } from "node:http";
import { type ClientHttp2Session, connect as connectHttp2 } from "node:http2";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { AckMode, type PushRequestSchema } from "../../../gen/stats/v1/stats_pb.js";
import { createFastLane } from "../../../src/rpc/fast-lane/fast-lane.js";
import { createRpcDispatcher } from "../../../src/rpc/stock-lane.js";
import { routeUnaryMethod } from "../../../src/rpc/unary-method.js";
import { connectionEnd } from "../../../src/server/limits.js";
import { RpcServer } from "../../../src/server/rpc-server.js";
import { FakeClock } from "../../support/fake-clock.js";
import { FATE, FatefulIntake, pushMethod } from "../../support/lane-pair.js";
import { RawConnection, silent } from "../../support/rpc-port.js";
import { PUSH, pushesOf } from "../../support/rpc-requests.js";
import { exchangeHttp2 } from "../../support/wire-clients.js";

const AGE_MS = 600_000;
const EVENT = { property: "news", section: 1, item: FATE.ok };
const SWEEP_MS = 1_000;
const NEVER_MS = 1_000_000_000;

/** An instance of the service, as far as connections go, which counts its pushes. */
class Instance {
  readonly clock = new FakeClock();
  pushes = 0;
  readonly server: RpcServer;
  port = 0;

  constructor() {
    const count = () => {
      this.pushes += 1;
    };
    class Intake extends FatefulIntake {
      override push(event: Parameters<FatefulIntake["push"]>[0]): ReturnType<FatefulIntake["push"]> {
        count();
        return super.push(event);
      }
    }
    const method = pushMethod(new Intake());
    const stock = createRpcDispatcher({
      routes: (router) => routeUnaryMethod(router, method),
      logger: silent,
    });
    this.server = new RpcServer({
      host: "127.0.0.1",
      port: 0,
      handler: stock,
      fastLane: createFastLane({ methods: [method], stock, logger: silent, clock: this.clock }),
      logger: silent,
      // Only its age is to end a connection.
      limits: { maxConnectionAgeMs: AGE_MS, sessionIdleTimeoutMs: NEVER_MS, pingAfterMs: NEVER_MS },
      clock: this.clock,
      random: () => 0.5,
    });
  }

  async start(): Promise<void> {
    ({ port: this.port } = await this.server.listen());
  }

  /** Lets the connections get as old as `ms`, and has the server look at them. */
  async age(ms: number): Promise<void> {
    await this.clock.advance(ms);
    await this.clock.advance(SWEEP_MS);
  }
}

/** A balancer of layer 4: each new connection goes to the next of the instances that take any. */
class Balancer {
  turn = 0;
  readonly server: Server;
  readonly #clients = new Set<Socket>();

  constructor(instances: () => readonly Instance[]) {
    this.server = createServer((client) => {
      this.#clients.add(client);
      const all = instances();
      const backend = connect(all[this.turn++ % all.length]?.port ?? 0, "127.0.0.1");
      for (const [from, to] of [
        [client, backend],
        [backend, client],
      ] as const) {
        from.pipe(to);
        from.on("error", () => to.destroy()).on("close", () => to.destroy());
      }
    });
  }

  close(): void {
    this.server.close();
    for (const client of this.#clients) {
      client.destroy();
    }
  }

  async start(): Promise<string> {
    await once(this.server.listen(0, "127.0.0.1"), "listening");
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }
}

/** Resolves when it is so. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** A client that keeps its session until it is told that it ends. */
class Http2Caller {
  readonly #url: string;
  #session: ClientHttp2Session | undefined;

  constructor(url: string) {
    this.#url = url;
  }

  /** Resolves with the status of the answer. */
  async push(
    event: MessageInitShape<typeof PushRequestSchema> = EVENT,
    timeoutMs?: string,
  ): Promise<number | undefined> {
    if (this.#session === undefined) {
      const session = connectHttp2(this.#url);
      const forget = () => {
        if (this.#session === session) {
          this.#session = undefined;
        }
      };
      session.on("error", forget).on("goaway", forget).on("close", forget);
      this.#session = session;
    }
    const { json } = pushesOf(event);
    const headers =
      timeoutMs === undefined ? json.headers : [...json.headers, ["connect-timeout-ms", timeoutMs] as const];
    const answer = await exchangeHttp2(this.#session, { ...json, headers }).catch(() => undefined);
    const status = answer?.headers?.[":status"];
    // A stream that crossed the GOAWAY was not processed: each client of gRPC makes it again, on a new connection.
    return status === undefined ? this.push(event, timeoutMs) : Number(status);
  }

  async goaway(): Promise<void> {
    if (this.#session !== undefined) {
      await once(this.#session, "goaway");
    }
  }

  close(): void {
    this.#session?.destroy();
  }
}

/** A client that keeps its connection as long as it may. */
class Http1Caller {
  readonly #url: string;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 });

  constructor(url: string) {
    this.#url = url;
  }

  async push(): Promise<number | undefined> {
    const { json } = pushesOf(EVENT);
    const call = request(new URL(json.path, this.#url), {
      method: "POST",
      agent: this.#agent,
      headers: Object.fromEntries(json.headers),
    });
    const [response] = await once(call.end(json.body), "response");
    await text(response);
    return response.statusCode;
  }

  close(): void {
    this.#agent.destroy();
  }
}

describe("load behind a balancer of layer 4", () => {
  let a: Instance;
  let b: Instance;
  let up: Instance[];
  let balancer: Balancer;
  let baseUrl: string;
  beforeEach(async () => {
    a = new Instance();
    b = new Instance();
    await Promise.all([a.start(), b.start()]);
    up = [a];
    balancer = new Balancer(() => up);
    baseUrl = await balancer.start();
  });
  afterEach(async () => {
    balancer.close();
    await Promise.all([a.server.close(), b.server.close()]);
  });

  test.each([
    ["HTTP/2", () => new Http2Caller(baseUrl)],
    ["HTTP/1.1", () => new Http1Caller(baseUrl)],
  ])("comes back to an instance that was away, without a failed call: %s", async (_name, makeCaller) => {
    const caller = makeCaller();
    for (let n = 0; n < 5; n++) {
      expect(await caller.push()).toBe(200);
    }
    // The other one is back; as long as the connection lives nothing goes there.
    up = [a, b];
    balancer.turn = 1;
    expect(await caller.push()).toBe(200);
    expect([a.pushes, b.pushes]).toEqual([6, 0]);
    await a.age(AGE_MS);
    for (let n = 0; n < 5; n++) {
      expect(await caller.push()).toBe(200);
    }
    expect(a.pushes + b.pushes).toBe(11);
    expect(b.pushes).toBeGreaterThanOrEqual(4);
    caller.close();
  });

  test("a call in flight over an old session is answered, and the session then ends", async () => {
    const caller = new Http2Caller(baseUrl);
    expect(await caller.push()).toBe(200);
    const waiting = caller.push({ ...EVENT, item: FATE.neverDurable, ack: AckMode.DURABLE }, "50");
    await until(() => a.pushes === 2);
    await a.age(AGE_MS);
    // Connect's time-out, by the service: the session still answers.
    await a.clock.advance(50);
    expect(await waiting).toBe(504);
    const goaway = caller.goaway();
    await a.age(SWEEP_MS);
    await goaway;
    caller.close();
  });
});

describe("the age of a connection", () => {
  let instance: Instance;
  afterEach(() => instance.server.close());

  const pushText = `POST ${PUSH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 42\r\n\r\n${JSON.stringify(EVENT).padEnd(42)}`;

  test("is told with the next answer over HTTP/1.1, and not before", async () => {
    instance = new Instance();
    await instance.start();
    const client = await RawConnection.open(instance.port);
    await client.send(pushText);
    await client.receives("{}");
    expect(client.received).toMatch(/connection: keep-alive/i);
    await instance.age(AGE_MS);
    client.received = "";
    await client.send(pushText);
    await client.closed;
    expect(client.received).toMatch(/200 OK[\s\S]*connection: close[\s\S]*\{\}$/i);
  });

  test("differs by a tenth at most, at random", () => {
    const ends = [0, 0.5, 1].map((random) => connectionEnd(1_000, { maxConnectionAgeMs: 100 }, () => random));
    expect(ends.map(Math.round)).toEqual([1_090, 1_100, 1_110]);
    expect(connectionEnd(1_000, { maxConnectionAgeMs: 0 }, () => 0)).toBe(Number.POSITIVE_INFINITY);
  });

  test("is no matter with 0", async () => {
    instance = new Instance();
    const forever = new RpcServer({
      host: "127.0.0.1",
      port: 0,
      handler: (_req, res) => res.end("done"),
      logger: silent,
      limits: { maxConnectionAgeMs: 0, sessionIdleTimeoutMs: Number.MAX_SAFE_INTEGER },
      clock: instance.clock,
    });
    const { port } = await forever.listen();
    const agent = new Agent({ keepAlive: true });
    await instance.clock.advance(1_000);
    for (let n = 0; n < 2; n++) {
      const [response] = await once(request({ port, host: "127.0.0.1", agent }).end(), "response");
      expect(response.headers.connection).toBe("keep-alive");
      await text(response);
      await instance.clock.advance(SWEEP_MS);
    }
    agent.destroy();
    await forever.close();
  });
});
