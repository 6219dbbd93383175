/** Binds a server to its address and words what goes wrong; knows nothing of what the server does. */
import type { AddressInfo, Server } from "node:net";

/** Where a server listens, and by which settings it was told so. */
export interface ListenTarget {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** The setting that holds the host, as the operator writes it. */
  readonly hostSetting: string;
  /** The setting that holds the port. */
  readonly portSetting: string;
}

/** Where a server does listen. */
export interface BoundAddress {
  readonly host: string;
  readonly port: number;
}

/** The server could not listen; the message is one line for the operator. */
export class ListenError extends Error {
  override readonly name = "ListenError";
}

/**
 * Resolves once `server` listens.
 *
 * @throws {ListenError} naming the setting to change; its `cause` is the system's error.
 */
export async function listen(server: Server, target: ListenTarget): Promise<BoundAddress> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      server.off("listening", onListening);
      reject(new ListenError(explain(error, target), { cause: error }));
    };
    const onListening = () => {
      server.off("error", onError);
      resolve();
    };
    server.once("error", onError).once("listening", onListening);
    server.listen({ host: target.host, port: target.port });
  });
  const { address, port } = server.address() as AddressInfo;
  return { host: address, port };
}

function explain(error: NodeJS.ErrnoException, target: ListenTarget): string {
  const { host, port, hostSetting, portSetting } = target;
  switch (error.code) {
    case "EADDRINUSE":
      return `${portSetting}: port ${port} on ${host} is in use by another process`;
    case "EACCES":
      return `${portSetting}: no permission to listen on port ${port}`;
    case "EADDRNOTAVAIL":
      return `${hostSetting}: ${host} is not an address of this machine`;
    case "ENOTFOUND":
    case "EAI_AGAIN":
      return `${hostSetting}: ${host} cannot be resolved`;
    default:
      return `${hostSetting}, ${portSetting}: cannot listen on ${host}:${port}: ${error.message}`;
  }
}
