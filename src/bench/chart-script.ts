/** The browser build of Chart.js, which the HTML report carries in itself. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemCodeOf } from '../base/errors.ts';

/**
 * Returns the script, safe to stand inside a script element. The built package has the file beside this
 * module; a checkout that runs from its sources has it in `node_modules`.
 *
 * Rejects with the system's error when it is in neither place.
 */
export async function readChartScript(): Promise<string> {
  const script = await readBuilt().catch(readInstalledWhenAbsent);
  return script.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n').replaceAll('</script', '<\\/script');
}

const FILE_NAME = 'chart.umd.min.js';

/** Reads the copy that `npm run build` made. */
function readBuilt(): Promise<string> {
  return readFile(join(dirname(fileURLToPath(import.meta.url)), FILE_NAME), 'utf8');
}

function readInstalledWhenAbsent(error: unknown): Promise<string> {
  if (systemCodeOf(error) !== 'ENOENT') throw error;
  const main = createRequire(import.meta.url).resolve('chart.js');
  return readFile(join(dirname(main), FILE_NAME), 'utf8');
}
