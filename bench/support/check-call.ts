/** Makes one call as a real client does, and sees to it that the answer is right. */
import { Agent } from "node:http";
import { createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";

/** How Push is called: Connect JSON over HTTP/1.1, Connect with the binary format over HTTP/2, gRPC. */
export type Protocol = "connect-json" | "connect-proto" | "grpc";

/** Pushes one event; rejects unless the answer is a sound PushResponse. */
export async function checkCall(port: number, protocol: Protocol): Promise<void> {
  const { transport, close } = openTransport(`http://127.0.0.1:${port}`, protocol);
  try {
    const response = await createClient(StatsService, transport).push({
      property: "news",
      section: 3,
      item: 42,
    });
    if ((response.$unknown?.length ?? 0) > 0) {
      throw new Error("the answer has fields that PushResponse has not");
    }
  } finally {
    close();
  }
}

function openTransport(baseUrl: string, protocol: Protocol): { transport: Transport; close: () => void } {
  if (protocol === "connect-json") {
    const agent = new Agent({ keepAlive: true });
    const options = { baseUrl, httpVersion: "1.1", useBinaryFormat: false, nodeOptions: { agent } } as const;
    return { transport: createConnectTransport(options), close: () => agent.destroy() };
  }
  const sessionManager = new Http2SessionManager(baseUrl);
  const transport =
    protocol === "grpc"
      ? createGrpcTransport({ baseUrl, sessionManager })
      : createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true, sessionManager });
  return { transport, close: () => sessionManager.abort() };
}
