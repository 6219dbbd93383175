/** The admin port: probes, status, metrics, and the live page. */
import { type AdminRoute, AdminServer, jsonAnswer } from "../../server/admin-server.js";
import { metricsRoute } from "../../telemetry/metrics-route.js";
import { statusPageRoutes } from "../../telemetry/status-page.js";
import { part, type Registrations } from "./part.js";
import type { ProcessParts } from "./process.js";

export interface AdminParts {
  /** Answered at the admin port besides the probes, by path. */
  readonly adminRoutes: Readonly<Record<string, AdminRoute>>;
  /** undefined: in a worker, whose primary has the admin port. */
  readonly adminServer: AdminServer | undefined;
}

type Needs = AdminParts & ProcessParts;

export function adminParts(): Registrations<AdminParts> {
  return {
    adminRoutes: part(({ statusBoard, metrics }: Needs) => ({
      ...statusPageRoutes,
      "/status": async () => jsonAnswer(await statusBoard.read()),
      ...(metrics && { "/metrics": metricsRoute(metrics.registry) }),
    })),
    adminServer: part(createAdminServer, (server) => server?.close()),
  };
}

function createAdminServer({ config, health, adminRoutes, logger }: Needs): AdminServer | undefined {
  const { host, adminHost, adminPort: port } = config;
  // By the name that the operator has given.
  const hostSetting = adminHost === host ? "HOST" : "ADMIN_HOST";
  return new AdminServer({ host: adminHost, hostSetting, port, health, routes: adminRoutes, logger });
}
