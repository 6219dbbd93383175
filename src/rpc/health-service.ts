/** grpc.health.v1.Health: tells clients what the health holder says; it decides nothing. */
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { HealthCheckResponse_ServingStatus, Health as HealthService } from "../../gen/health/v1/health_pb.js";

/** The health that the service tells. */
export interface HealthSource {
  readiness(): { readonly ok: boolean };
  /** The status now and each change of it, until `signal` aborts or the source closes. */
  watch(signal: AbortSignal): AsyncIterable<"serving" | "not serving">;
}

/** What {@link healthRoutes} needs. */
export interface HealthRoutesDeps {
  readonly health: HealthSource;
  /** Full names of the services that share this health. The whole server, "", is always among them. */
  readonly services: readonly string[];
}

const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;

/**
 * Adds Check, Watch and List. Semantics: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 *
 * A Watch of an unknown service is told so and stays open, as the protocol asks; it ends with the health source.
 */
export function healthRoutes(router: ConnectRouter, deps: HealthRoutesDeps): void {
  const { health } = deps;
  const known = new Set(["", ...deps.services]);
  const current = () => ({ status: health.readiness().ok ? SERVING : NOT_SERVING });
  router.service(HealthService, {
    check(request) {
      if (!known.has(request.service)) {
        throw new ConnectError("unknown service", Code.NotFound);
      }
      return current();
    },
    async *watch(request, context) {
      const isKnown = known.has(request.service);
      if (!isKnown) {
        yield { status: SERVICE_UNKNOWN };
      }
      for await (const status of health.watch(context.signal)) {
        if (isKnown) {
          yield { status: status === "serving" ? SERVING : NOT_SERVING };
        }
      }
    },
    list() {
      return { statuses: Object.fromEntries([...known].map((name) => [name, current()])) };
    },
  });
}
