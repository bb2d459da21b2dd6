/** What is loaded when a volume is opened. */
export { Volume } from '../../volume/volume.ts';
