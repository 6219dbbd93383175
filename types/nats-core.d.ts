/**
 * The types of @nats-io/nats-core without two classes that the package keeps to itself (MsgImpl and NatsConnectionImpl):
 * their declarations do not stand up to exactOptionalPropertyTypes, and would have us check no library at all. See
 * `paths` in tsconfig.json.
 */
import type { NatsConnection } from "../node_modules/@nats-io/nats-core/lib/core.js";

export * from "../node_modules/@nats-io/nats-core/lib/authenticator.js";
export * from "../node_modules/@nats-io/nats-core/lib/codec.js";
export * from "../node_modules/@nats-io/nats-core/lib/core.js";
export * from "../node_modules/@nats-io/nats-core/lib/errors.js";
export * from "../node_modules/@nats-io/nats-core/lib/headers.js";
export * from "../node_modules/@nats-io/nats-core/lib/idleheartbeat_monitor.js";
export * from "../node_modules/@nats-io/nats-core/lib/parser.js";
export * from "../node_modules/@nats-io/nats-core/lib/queued_iterator.js";
export * from "../node_modules/@nats-io/nats-core/lib/transport.js";
export * from "../node_modules/@nats-io/nats-core/lib/util.js";
export type NatsConnectionImpl = NatsConnection;
