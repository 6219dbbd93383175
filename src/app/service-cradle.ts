/** What a service takes from its container, whatever its role. */
import type { CountQueries } from "../counts/count-queries.js";
import type { EmbeddedPostgres } from "../postgres/embedded.js";
import type { Schema } from "../postgres/schema.js";
import type { Sink } from "../sink/sink.js";
import type { DatabaseReading } from "../telemetry/service-status.js";
import type { AdminParts } from "./parts/admin.js";
import type { BufferParts } from "./parts/buffer.js";
import type { IngestParts } from "./parts/ingest.js";
import type { ProcessParts } from "./parts/process.js";
import type { RpcParts } from "./parts/rpc.js";

/** What an edge does without, since it has no database. */
interface DatabaseOfService {
  readonly embeddedPostgres: EmbeddedPostgres | undefined;
  readonly schema: Schema | undefined;
  readonly readTables: ((signal: AbortSignal) => Promise<DatabaseReading>) | undefined;
  readonly countQueries: CountQueries | undefined;
  /** Absent also where COUNTS is off. */
  readonly aggregator: { lagMs(): number } | undefined;
}

/** All that a service takes from its container. What a factory takes from it is made first, and so ended last. */
export type ServiceCradle = ProcessParts &
  IngestParts &
  BufferParts &
  RpcParts &
  AdminParts &
  DatabaseOfService & { readonly sink: Sink };
