/** grpc-js with an empty Push handler. */
import { dirname, join } from "node:path";
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServiceClientConstructor,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { migrationsDirectory } from "../../src/util/package-info.js";
import { runUntilSignal } from "../support/contender-program.js";

const includeDirs = [join(dirname(migrationsDirectory), "proto")];
const definition = loadPackageDefinition(loadSync("stats/v1/stats.proto", { includeDirs }));
const { StatsService } = (definition.stats as unknown as { v1: Record<string, ServiceClientConstructor> }).v1;
if (StatsService === undefined) {
  throw new Error("the contract has no StatsService");
}

const server = new Server();
server.addService(StatsService.service, {
  push: (_call: unknown, callback: sendUnaryData<object>) => callback(null, {}),
  pushBatch: (_call: unknown, callback: sendUnaryData<object>) => callback(null, {}),
});
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) {
    throw error;
  }
  runUntilSignal(port, () => Promise.resolve({}));
});
