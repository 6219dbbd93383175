/** What all contender programs have in common: a port that the system chooses, a log, and an orderly end. */
import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

/** Says something to the benchmark that started this program. */
export function report(line: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Listens, says so, and at SIGTERM runs `finish`, logs what it gives and exits. */
export async function serve(
  server: Server,
  finish: () => Promise<object> = () => Promise.resolve({}),
): Promise<void> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  runUntilSignal((server.address() as AddressInfo).port, finish);
}

/** The same for a server that listens already. */
export function runUntilSignal(port: number, finish: () => Promise<object>): void {
  process.once("SIGTERM", () => {
    finish().then(
      (books) => {
        report({ msg: "stopped", ...books });
        process.exit(0);
      },
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  report({ msg: "ready", port });
}
