/** What is loaded when threads are started, before anything else. */
export { openPipeline } from '../../pipeline/pipeline.ts';
