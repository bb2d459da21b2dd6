/**
 * Puts the browser build of Chart.js, and its licence, beside the compiled bench: the last step of `npm run build`.
 * So Chart.js is a development dependency, and users of the package do not install it.
 */
import { copyFileSync } from 'node:fs';

const from = new URL('../node_modules/chart.js/', import.meta.url);
const to = new URL('../dist/src/bench/', import.meta.url);
copyFileSync(new URL('dist/chart.umd.min.js', from), new URL('chart.umd.min.js', to));
copyFileSync(new URL('LICENSE.md', from), new URL('chart.LICENSE.md', to));
