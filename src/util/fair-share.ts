/** How much of something that is bounded each caller holds, and whether it may hold more; it holds nothing itself. */

/**
 * The rule: who holds something may take more only while it holds less than what is free.
 *
 * So a lone caller gets half of it all, two that both take as much as they can a third each, and there is always a rest
 * for one who comes later. While less than half is taken, nobody is ever refused. It costs one comparison and needs no
 * list of callers. (It is the dynamic threshold of Choudhury and Hahne, 1998, known from switches whose
 * ports share a memory, with their factor at 1.)
 */
export function mayTakeMore(held: number, free: number): boolean {
  return held === 0 || held < free;
}

/** Applies {@link mayTakeMore} to callers that are known by name. */
export class FairShare {
  /** What each caller holds that holds any, in the unit of what is shared. */
  readonly #held = new Map<string, number>();

  /** What the caller holds. */
  held(caller: string): number {
    return this.#held.get(caller) ?? 0;
  }

  /** Whether the caller may take more, with `free` left, when it has taken `coming` more before that. */
  allows(caller: string, free: number, coming = 0): boolean {
    return mayTakeMore(this.held(caller) + coming, free);
  }

  /** Notes that the caller takes so much more. */
  add(caller: string, amount: number): void {
    this.#held.set(caller, this.held(caller) + amount);
  }

  /** Takes back what callers held, each so much. */
  release(shares: Iterable<readonly [caller: string, amount: number]>): void {
    for (const [caller, amount] of shares) {
      const left = this.held(caller) - amount;
      if (left > 0) {
        this.#held.set(caller, left);
      } else {
        this.#held.delete(caller);
      }
    }
  }
}
