/** Shows on a terminal how far a push is; it says nothing where there is no terminal. */
import { MultiBar } from "cli-progress";

/** A terminal, or not. */
export interface ProgressStream extends NodeJS.WritableStream {
  readonly isTTY?: boolean | undefined;
}

/** What is shown. */
export interface ProgressCounts {
  readonly bytes: number;
  readonly acknowledged: number;
  readonly faulty: number;
}

const COUNTS = "{acknowledged} acknowledged, {faulty} not accepted";

/** Open from the start until `close()`. */
export class PushProgress {
  readonly #stream: ProgressStream;
  readonly #bars: MultiBar | undefined;
  readonly #bar: ReturnType<MultiBar["create"]> | undefined;

  /** `totalBytes`: length of the input, if it has one. */
  constructor(stream: ProgressStream, totalBytes: number | undefined) {
    this.#stream = stream;
    if (stream.isTTY === true) {
      const format = totalBytes === undefined ? COUNTS : `[{bar}] {percentage}% | ${COUNTS}`;
      this.#bars = new MultiBar({ stream, format, clearOnComplete: true, hideCursor: true, fps: 5 });
      this.#bar = this.#bars.create(totalBytes ?? 1, 0, { acknowledged: 0, faulty: 0 });
    }
  }

  update({ bytes, ...counts }: ProgressCounts): void {
    this.#bar?.update(Math.min(bytes, this.#bar.getTotal()), counts);
  }

  /** Writes a line of text, above the bar if there is one. */
  print(line: string): void {
    if (this.#bars === undefined) {
      this.#stream.write(`${line}\n`);
    } else {
      this.#bars.log(`${line}\n`);
    }
  }

  close(): void {
    // Lines that were printed since the bar was drawn last wait for the next time.
    this.#bars?.update();
    this.#bars?.stop();
  }
}
