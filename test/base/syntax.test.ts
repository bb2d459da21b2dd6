/** The package runs on Node 22.18, whose syntax is older than that of the Node that tests run on. */
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

it('nothing that is shipped declares with `using`, which Node 22 cannot read', () => {
  const files = globSync(['src/**/*.ts', 'workers/*.ts', 'bin/*', 'examples/*.mjs'], { cwd: root });
  expect(files.length).toBeGreaterThan(300);
  const found = files.filter(file =>
    /^\s*(await )?using \w+ =/m.test(readFileSync(`${root}${file}`, 'utf8')),
  );
  expect(found).toEqual([]);
});
