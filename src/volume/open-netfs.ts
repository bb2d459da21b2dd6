/**
 * What opening files needs of netfs, in one module that is loaded with the first of them: it is a third of a
 * volume's code.
 */
export { Netfs } from '../netfs/netfs.ts';
export { SharedPages } from '../netfs/pages/shared-pages.ts';
