import { ServiceProcess } from "../support/service-process.js";
import { createServiceDatabase } from "../support/stats-database.js";

test.each([
  ["on", "1", 200],
  ["on", "2", 200],
  ["off", "1", 404],
])(
  "with COUNTS_PAGE=%s and WORKERS=%s a browser gets %d at the RPC port",
  async (COUNTS_PAGE, WORKERS, status) => {
    await using database = await createServiceDatabase();
    await using service = await ServiceProcess.start({ DATABASE_URL: database.url, COUNTS_PAGE, WORKERS });
    for (const path of ["/", "/?property=news", "/counts.js", "/uplot.js"]) {
      expect([path, (await fetch(service.url + path)).status]).toEqual([path, status]);
    }
  },
);
