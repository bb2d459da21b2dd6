/** What is loaded when a cache is opened. */
export { openHeader } from '../../cache/base/header.ts';
export { openCache } from '../../cache/open.ts';
