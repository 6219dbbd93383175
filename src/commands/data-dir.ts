/** Chooses where data are kept when no DATA_DIR says it; it makes nothing. */
import { canServerUserEnter } from "../postgres/embedded/server-user.js";

/** Where services that run as root keep their state (Filesystem Hierarchy Standard, section 5.8). */
const SYSTEM_DATA_DIR = "/var/lib/stats-service";

/**
 * `.data` in the working directory. PostgreSQL refuses to run as root, and the user it runs as instead may have no
 * access to the working directory (think of /root): then the system's folder for state.
 */
export function defaultDataDir(): string {
  return canServerUserEnter(process.cwd()) ? ".data" : SYSTEM_DATA_DIR;
}
