/** Two RPC ports alike but for the fast lane, over a queue that does as the events say; no test's load reaches a database. */

import { Code, ConnectError } from "@connectrpc/connect";
import { HealthCheckResponse_ServingStatus, Health as HealthService } from "../../gen/health/v1/health_pb.js";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { EventIds } from "../../src/event/event-id.js";
import { Admission } from "../../src/ingest/admission.js";
import { type AdmittedEvent, Batch, BatchAbandonedError, type BatchWaiter } from "../../src/ingest/batch.js";
import { IntakeClosedError, QueueFullError } from "../../src/ingest/refusal.js";
import type { RefusesByHeader } from "../../src/rpc/authentication.js";
import { createFastLane } from "../../src/rpc/fast-lane/fast-lane.js";
import { decodePushJson } from "../../src/rpc/fast-lane/push-json-decoder.js";
import { decodePush } from "../../src/rpc/fast-lane/push-proto-decoder.js";
import { BodyLimits } from "../../src/rpc/limits.js";
import { createPushHandler, type EventIntake } from "../../src/rpc/push.js";
import { createRpcDispatcher } from "../../src/rpc/stock-lane.js";
import { routeUnaryMethod, type UnaryMethod, unaryMethod } from "../../src/rpc/unary-method.js";
import { type CallerAddress, connectionAddress } from "../../src/server/caller-address.js";
import type { TlsCredentialsSource } from "../../src/server/entrance.js";
import type { RpcServerLimits } from "../../src/server/limits.js";
import type { RpcFastLane } from "../../src/server/rpc-handler.js";
import { RpcServer } from "../../src/server/rpc-server.js";
import { FakeClock } from "./fake-clock.js";
import { type RpcPort, silent } from "./rpc-port.js";

/** What becomes of an event, by its item id: the queue of these ports knows nothing else. */
export const FATE = {
  /** Accepted; durable at once. */
  ok: 1,
  queueFull: 2,
  intakeClosed: 3,
  /** An error that is none of the domain's. */
  bug: 4,
  /** An error of connect's own, with metadata. */
  connectError: 5,
  /** Accepted; durable a few turns of the event loop later. */
  durableLater: 6,
  /** Accepted; the service stops before it is durable. */
  abandonedLater: 7,
  /** Accepted; never durable. */
  neverDurable: 8,
} as const;

/** Deals out fates. */
export class FatefulIntake implements EventIntake {
  readonly #fates = new Map<Batch, number>();

  push({ itemId }: AdmittedEvent): Batch {
    switch (itemId) {
      case FATE.queueFull:
        throw new QueueFullError(1234);
      case FATE.intakeClosed:
        throw new IntakeClosedError();
      case FATE.bug:
        throw new TypeError("thrown by the test");
      case FATE.connectError:
        throw new ConnectError("no ünicode → 100%", Code.PermissionDenied, {
          "x-reason": "a",
          "x-other": "b",
        });
    }
    const batch = new Batch();
    this.#fates.set(batch, itemId);
    return batch;
  }

  awaitDurable(batch: Batch, waiter: BatchWaiter): void {
    const fate = this.#fates.get(batch);
    this.#fates.delete(batch);
    switch (fate) {
      case FATE.neverDurable:
        break;
      case FATE.durableLater:
        setImmediate(() => waiter());
        break;
      case FATE.abandonedLater:
        setImmediate(() => waiter(new BatchAbandonedError()));
        break;
      default:
        waiter();
    }
  }
}

/** Push over an intake. */
export function pushMethod(flusher: EventIntake): UnaryMethod {
  const clock = new FakeClock();
  const admission = new Admission({ clock, ids: new EventIds({ now: clock.now }), properties: undefined });
  return unaryMethod(StatsService.method.push, createPushHandler({ admission, flusher }), {
    proto: decodePush,
    json: decodePushJson,
  });
}

const { SERVING } = HealthCheckResponse_ServingStatus;
/** Enough that the answer is worth compressing. */
const STATUSES = Object.fromEntries(
  Array.from({ length: 100 }, (_, n) => [`service.number.${n}`, { status: SERVING }]),
);

/** Push, a method whose answer is small, and one whose answer is large. */
function methods(): UnaryMethod[] {
  return [
    pushMethod(new FatefulIntake()),
    unaryMethod(HealthService.method.check, ({ service }) => {
      if (service.startsWith("unknown")) {
        throw new ConnectError(`unknown service ${service}`, Code.NotFound);
      }
      return { status: SERVING };
    }),
    unaryMethod(HealthService.method.list, () => ({ statuses: STATUSES })),
  ];
}

/** What a fast lane did. */
export interface LaneCounts {
  /** Requests that it took. */
  taken: number;
  /** Those of them that it gave back. */
  handedBack: number;
}

/** A port with a fast lane and what the lane did. */
export interface LanePort extends RpcPort {
  readonly counts: LaneCounts;
}

/** Starts a port for unary methods, with the fast lane in front or without it. */
export async function openLanePort(
  unary: readonly UnaryMethod[],
  options: {
    readonly hasFastLane: boolean;
    readonly limits?: Partial<RpcServerLimits>;
    readonly callerAddress?: CallerAddress;
    readonly bodyLimits?: BodyLimits;
    readonly refusesByHeader?: RefusesByHeader;
    readonly tls?: TlsCredentialsSource | undefined;
  },
): Promise<LanePort> {
  const {
    hasFastLane,
    limits,
    callerAddress = connectionAddress,
    bodyLimits = new BodyLimits(),
    refusesByHeader,
    tls,
  } = options;
  const stock = createRpcDispatcher({
    routes: (router) => {
      for (const method of unary) {
        routeUnaryMethod(router, method);
      }
    },
    logger: silent,
    callerAddress,
    limits: bodyLimits,
    refusesByHeader,
  });
  const counts: LaneCounts = { taken: 0, handedBack: 0 };
  const lane = createFastLane({
    methods: unary,
    stock: (request, response) => {
      counts.handedBack += 1;
      stock(request, response);
    },
    logger: silent,
    callerAddress,
    limits: bodyLimits,
    refusesByHeader,
  });
  const server = new RpcServer({
    host: "127.0.0.1",
    port: 0,
    handler: stock,
    logger: silent,
    ...(hasFastLane && { fastLane: counting(lane, counts) }),
    ...(limits !== undefined && { limits }),
    tls,
  });
  const { port } = await server.listen();
  return { server, port, url: `${tls === undefined ? "http" : "https"}://127.0.0.1:${port}`, counts };
}

function counting(lane: RpcFastLane, counts: LaneCounts): RpcFastLane {
  const count = (isTaken: boolean) => {
    counts.taken += isTaken ? 1 : 0;
    return isTaken;
  };
  return {
    takeRequest: (request, response) => count(lane.takeRequest(request, response)),
    takeStream: (stream, headers, rawHeaders) => count(lane.takeStream(stream, headers, rawHeaders)),
  };
}

/** Two ports. */
export interface LanePair extends AsyncDisposable {
  readonly fast: LanePort;
  readonly stock: LanePort;
}

/** Starts two ports for the same methods: one with the fast lane, one without. */
export async function openLanePair(tls?: TlsCredentialsSource): Promise<LanePair> {
  const fast = await openLanePort(methods(), { hasFastLane: true, tls });
  const stock = await openLanePort(methods(), { hasFastLane: false, tls });
  return {
    fast,
    stock,
    async [Symbol.asyncDispose]() {
      await Promise.all([fast.server.close(), stock.server.close()]);
    },
  };
}
