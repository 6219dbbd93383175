/** Files of `web/` for browsers: where each is served, as what, and the headers that keep a page to its own origin. */
import { readFile } from "node:fs/promises";
import { extname, join } from "node:path";
import { webDirectory } from "../util/package-info.js";

/** A file, and the path under which the pages name it. */
export interface WebFile {
  readonly path: string;
  /** Where it is on this machine, absolute. */
  readonly file: string;
  readonly contentType: string;
}

/**
 * In every answer to a browser: it loads and runs nothing but files of this port, guesses no types, frames nothing,
 * turns no text into markup, and tells no other site which page was looked at.
 */
export const BROWSER_HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-opener-policy": "same-origin",
} as const;

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".svg": "image/svg+xml",
};

/** A file at `path`. @throws Error for a kind of file that browsers would have to guess */
export function webFile(path: string, file: string): WebFile {
  const contentType = CONTENT_TYPES[extname(file)];
  if (contentType === undefined) {
    throw new Error(`no content type is known for ${file}`);
  }
  return { path, file, contentType };
}

/** The files of a folder of `web/` by their names, the first at `/`; and those that all pages share. */
export function pageFiles(folder: string, names: readonly [string, ...string[]]): WebFile[] {
  const [page, ...others] = names;
  return [
    webFile("/", join(webDirectory, folder, page)),
    ...others.map((name) => webFile(`/${name}`, join(webDirectory, folder, name))),
    ...["shared.css", "icon.svg"].map((name) => webFile(`/${name}`, join(webDirectory, name))),
  ];
}

/** Reads a file. The service starts without it, since few ask. */
export function readWebFile({ file }: WebFile): Promise<string> {
  return readFile(file, "utf8");
}
