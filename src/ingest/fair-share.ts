/** How much of the queue each caller holds, and whether it may hold more; it never queues. */

/**
 * The rule: a caller that holds something may take more only while it holds less than what is free.
 *
 * So a lone caller gets half of the queue, two that both push as much as they can a third each, and there is always a
 * rest for one who comes later. While the queue is less than half full, nobody is ever refused. It costs one comparison
 * and needs no list of callers. (It is the dynamic threshold of Choudhury and Hahne, 1998, known from switches whose
 * ports share a memory, with their factor at 1.)
 */
export class FairShare {
  /** Bytes of each caller that holds any. */
  readonly #held = new Map<string, number>();

  /** Bytes that the caller's events take, from when they are queued to their final outcome. */
  held(caller: string): number {
    return this.#held.get(caller) ?? 0;
  }

  /** Whether the caller may take an event, with `freeBytes` left, when it has taken `comingBytes` more before it. */
  allows(caller: string, freeBytes: number, comingBytes = 0): boolean {
    const held = this.held(caller) + comingBytes;
    return held === 0 || held < freeBytes;
  }

  /** Notes what an event of the caller takes. */
  add(caller: string, bytes: number): void {
    this.#held.set(caller, this.held(caller) + bytes);
  }

  /** Gives back what callers held of a batch. */
  release(shares: Iterable<readonly [caller: string, bytes: number]>): void {
    for (const [caller, bytes] of shares) {
      const left = this.held(caller) - bytes;
      if (left > 0) {
        this.#held.set(caller, left);
      } else {
        this.#held.delete(caller);
      }
    }
  }
}
