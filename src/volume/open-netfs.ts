/**
 * The part of netfs that opening files needs. It is a third of a volume's code, so it is loaded only when the
 * first file is opened.
 */
export { Netfs } from '../netfs/netfs.ts';
export { SharedPages } from '../netfs/pages/shared-pages.ts';
