/** The stock connect-node adapter with an empty Push handler, over HTTP/1.1 or, with HTTP=2, HTTP/2. */
import { createServer } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { StatsService } from "../../gen/stats/v1/stats_pb.js";
import { serve } from "../support/contender-program.js";

const adapter = connectNodeAdapter({
  routes: (router) => router.service(StatsService, { push: () => ({}) }),
});

await serve(process.env.HTTP === "2" ? createHttp2Server(adapter) : createServer(adapter));
