/** A site that counts its page views. What it takes to count is marked 1, 2, 3. */
import { once } from "node:events";
import { createServer } from "node:http";
import { createBufferingClient } from "@stats-service/client";

// 1. One client for the process.
const stats = createBufferingClient(process.env.STATS_URL ?? "http://127.0.0.1:3000", {
  onRejected: ({ event, message }) => console.error("a view is not counted:", event, message),
  onError: ({ error, events, retryInMs }) => {
    console.error(`${events} views wait, next try in ${retryInMs} ms:`, error.message);
  },
});

const server = createServer((request, response) => {
  const [, section, page] = /^\/(\d+)\/(\d+)$/.exec(request.url ?? "") ?? [];
  if (section === undefined) {
    response.writeHead(404).end("the pages are at /section/page, for example /3/42\n");
    return;
  }
  // 2. A line where something is to be counted. It does not wait, and cannot fail the request.
  stats.push({ property: "page-views", section: Number(section), item: Number(page) });
  response.end(`this is page ${page} of section ${section}\n`);
});

server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});

async function stop() {
  server.close();
  await once(server, "close");
  // 3. Before the process ends: what is buffered is sent.
  const { undelivered } = await stats.close();
  console.log("closed", JSON.stringify(stats.counters));
  process.exitCode = undelivered === 0 ? 0 : 1;
}

process.once("SIGTERM", () => void stop()).once("SIGINT", () => void stop());
