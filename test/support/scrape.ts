/** Reads a service's metrics as Prometheus does; it never interprets what they mean, the books aside. */

/** One scrape. */
export class Scrape {
  /** By name and labels, as written: `stats_ready` or `stats_events_dead_total{sqlstate="23514"}`. */
  readonly samples: ReadonlyMap<string, number>;

  constructor(text: string) {
    const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    this.samples = new Map(
      lines.map((line) => {
        const blank = line.lastIndexOf(" ");
        return [line.slice(0, blank), Number(line.slice(blank + 1))];
      }),
    );
  }

  /** Scrapes an admin port. */
  static async of(adminUrl: string): Promise<Scrape> {
    const response = await fetch(`${adminUrl}/metrics`);
    return new Scrape(await response.text());
  }

  /** The sum of all series of a metric, those with the given text in their labels. */
  sum(name: string, label = ""): number {
    let sum = 0;
    for (const [series, value] of this.samples) {
      if (series.split("{", 1)[0] === name && series.includes(label)) {
        sum += value;
      }
    }
    return sum;
  }

  /** Events that came in and are nowhere: 0 when the books of this one scrape balance. */
  get missing(): number {
    const came = this.sum("stats_events_accepted_total") + this.sum("stats_events_recovered_total");
    const ended = [
      "stats_events_inserted_total",
      "stats_events_duplicate_total",
      "stats_events_dead_total",
      "stats_events_set_aside_total",
      "stats_events_forwarded_total",
      "stats_queue_rows",
    ].map((name) => this.sum(name));
    // A shared buffer is in nobody's books.
    const spooled = this.sum("stats_buffer_rows", 'kind="spool"');
    return came - ended.reduce((total, each) => total + each, spooled);
  }
}
