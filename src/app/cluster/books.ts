/** Adds up what the workers counted; it keeps no books of its own. */
import type { FinalBooks } from "../runnable.js";

/** The sum of all; balanced if each is. */
export function sumBooks(all: readonly FinalBooks[]): FinalBooks {
  const sum = (key: Exclude<keyof FinalBooks, "isBalanced">) =>
    all.reduce((total, books) => total + books[key], 0);
  return {
    accepted: sum("accepted"),
    recovered: sum("recovered"),
    inserted: sum("inserted"),
    duplicates: sum("duplicates"),
    dead: sum("dead"),
    spooled: sum("spooled"),
    setAside: sum("setAside"),
    queued: sum("queued"),
    missing: sum("missing"),
    isBalanced: all.every(({ isBalanced }) => isBalanced),
  };
}
