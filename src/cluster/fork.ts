/** Worker processes of node:cluster, as a {@link WorkerKeeper} wants them; it keeps none alive. */
import cluster from "node:cluster";
import type { Logger } from "pino";
import { messageOf } from "../error-message.js";
import type { ForkWorker } from "./worker-keeper.js";

/** Forks this program with its own arguments and environment. */
export function clusterFork(logger: Logger): ForkWorker {
  return ({ onMessage, onEnd }) => {
    const worker = cluster.fork();
    // Its last messages are still in the channel when the process has ended.
    let open = 2;
    const close = () => {
      open -= 1;
      if (open === 0) {
        const { exitCode, signalCode } = worker.process;
        onEnd({
          status: exitCode,
          how: signalCode === null ? `exit status ${exitCode}` : `ended by ${signalCode}`,
        });
      }
    };
    worker.on("message", onMessage).once("disconnect", close).once("exit", close);
    // Also of the connections that cluster itself hands to a worker which has just died.
    worker.on("error", (error: Error) => {
      logger.debug({ err: error }, "a message did not reach a worker");
      if (worker.process.pid === undefined) {
        onEnd({ status: null, how: `the system could not start it: ${messageOf(error)}` });
      }
    });
    return {
      send: (message) =>
        void worker.send(message, (error) => error && logger.debug({ err: error }, "not sent")),
      signal: (signal) => void worker.process.kill(signal),
    };
  };
}
