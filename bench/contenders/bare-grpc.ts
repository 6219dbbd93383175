/** The least that Node can do for gRPC: answers each stream with an empty message and trailers, whatever it says. */
import { createServer } from "node:http2";
import { serve } from "../support/contender-program.js";

/** A gRPC frame: not compressed, no bytes. */
const EMPTY_MESSAGE = Buffer.alloc(5);

const server = createServer();
server.on("stream", (stream) => {
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(EMPTY_MESSAGE);
  });
  stream.resume();
});

await serve(server);
