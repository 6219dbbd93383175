/** What commands end with, for shells and scripts, besides 0 for all well and 1 for not; above 63 as in sysexits.h. */

/** The command line or a setting is wrong. */
export const EXIT_USAGE = 2;
/** EX_UNAVAILABLE: the service does not answer. */
export const EXIT_UNREACHABLE = 69;
/** EX_NOPERM: the service refuses the caller. */
export const EXIT_REFUSED = 77;
