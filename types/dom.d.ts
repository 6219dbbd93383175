/**
 * The one name of the DOM library that connect's declarations use. Declared here so that the whole DOM library
 * need not be loaded, nor the check of libraries switched off.
 */
type HeadersInit = import("undici-types").HeadersInit;
