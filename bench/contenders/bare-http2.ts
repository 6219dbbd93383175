/** The least that Node can do over HTTP/2: answers each stream alike, by the "stream" event, whatever it says. */
import { createServer } from "node:http2";
import { serve } from "../support/contender-program.js";

const server = createServer();
server.on("stream", (stream) => {
  // At the end of the request, as whoever needs the body does.
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-type": "application/proto", "content-length": 0 });
    stream.end();
  });
  stream.resume();
});

await serve(server);
