/** What is loaded when a cache is opened. */
export { openHeader } from '../cache/header.ts';
export { openCache } from '../cache/open.ts';
