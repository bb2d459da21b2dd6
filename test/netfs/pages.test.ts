import { PlainPages } from '../../src/netfs/pages/plain-pages.ts';
import { describePages } from './pages-contract.ts';
import { BLOCK_BYTES } from './pages-model.ts';
import { sharedPages } from './shared-pages-support.ts';

describePages('pages in plain arrays', blocks => new PlainPages(blocks * BLOCK_BYTES));
describePages('pages in shared memory', blocks => sharedPages(blocks));
