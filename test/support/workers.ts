/** What tests ask of a service with several workers, by way of its log; it starts none. */
import type { LogLine, ServiceProcess } from "./service-process.js";

const STARTED = "flusher started";

/** What a worker, or the primary if that is undefined, logged under a message, oldest first. */
export function linesOf(service: ServiceProcess, worker: number | undefined, msg: string): LogLine[] {
  return service.log.filter((line) => line.worker === worker && line.msg === msg);
}

/** Signals a worker's process that was started last. */
export function signalWorker(service: ServiceProcess, worker: number, signal: NodeJS.Signals): void {
  process.kill(Number(linesOf(service, worker, STARTED).at(-1)?.pid), signal);
}

/** Kills a worker and resolves when another has taken its place. */
export async function replaceWorker(service: ServiceProcess, worker: number): Promise<void> {
  const starts = linesOf(service, worker, STARTED);
  signalWorker(service, worker, "SIGKILL");
  await service.loggedWhere((line) => linesOf(service, worker, STARTED).indexOf(line) === starts.length);
}
