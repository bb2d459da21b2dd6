/** What is loaded for `put` and `get`. */
export { get } from '../../transfer/get.ts';
export { nativeReport } from '../../transfer/local-native.ts';
export { measureLocal, measureVolume } from '../../transfer/measure.ts';
export { put } from '../../transfer/put.ts';
