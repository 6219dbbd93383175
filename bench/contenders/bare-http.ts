/** The least that Node can do over HTTP/1.1: answers each request alike, whatever it says. */
import { createServer } from "node:http";
import { serve } from "../support/contender-program.js";

const ANSWER = Buffer.from("{}");

const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "application/json", "content-length": ANSWER.length });
  response.end(ANSWER);
});

await serve(server);
