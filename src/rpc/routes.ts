/** All services of the RPC port, with what each needs. */
import type { ConnectRouter } from "@connectrpc/connect";
import { file_google_rpc_error_details } from "../../gen/google/rpc/error_details_pb.js";
import { Health } from "../../gen/health/v1/health_pb.js";
import { CountsService } from "../../gen/stats/v1/counts_pb.js";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { decodePushJson } from "./fast-lane/push-json-decoder.js";
import { decodePush, decodePushBatch } from "./fast-lane/push-proto-decoder.js";
import { type HealthSource, healthRoutes } from "./health-service.js";
import { createPushHandler, type PushHandlerDeps } from "./push.js";
import { createPushBatchHandler, type PushBatchHandlerDeps } from "./push-batch.js";
import { reflectionRoutes } from "./reflection-service.js";
import {
  intercept,
  routeUnaryMethod,
  type UnaryInterceptor,
  type UnaryMethod,
  unaryMethod,
} from "./unary-method.js";

export type StatsMethodsDeps = PushHandlerDeps &
  PushBatchHandlerDeps & {
    /** Around each call; the first is the outermost. */
    readonly interceptors: readonly UnaryInterceptor[];
  };

/** The methods of the API itself; they are on both lanes. */
export function createStatsMethods(deps: StatsMethodsDeps): UnaryMethod[] {
  return [
    unaryMethod(StatsService.method.push, createPushHandler(deps), {
      proto: decodePush,
      json: decodePushJson,
    }),
    unaryMethod(StatsService.method.pushBatch, createPushBatchHandler(deps), { proto: decodePushBatch }),
  ].map((method) => intercept(method, deps.interceptors));
}

export interface RoutesDeps {
  readonly methods: readonly UnaryMethod[];
  readonly health: HealthSource;
  /** Whether the port describes its API. */
  readonly hasReflection: boolean;
  /** Aborts when the service stops, to end the streams that tools keep open. */
  readonly stopping: AbortSignal;
}

/** The routes of the RPC port. */
export function createRoutes(deps: RoutesDeps): (router: ConnectRouter) => void {
  return (router) => {
    for (const method of deps.methods) {
      routeUnaryMethod(router, method);
    }
    healthRoutes(router, { health: deps.health, services: [StatsService.typeName, CountsService.typeName] });
    if (deps.hasReflection) {
      reflectionRoutes(router, {
        services: [StatsService, CountsService, Health],
        files: [file_google_rpc_error_details],
        stopping: deps.stopping,
      });
    }
  };
}
