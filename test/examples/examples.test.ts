/** Every example runs as its first lines say. */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { IS_LONG } from '../support/soak.ts';

const folder = fileURLToPath(new URL('../../examples/', import.meta.url));
const examples = readdirSync(folder).filter(name => name.endsWith('.mjs'));

it('there are examples', () => {
  expect(examples.length).toBeGreaterThan(0);
});

it.runIf(IS_LONG).each(examples)('%s', name => {
  const output = execFileSync(process.execPath, ['--conditions=netseal-source', `${folder}${name}`], {
    encoding: 'utf8',
  });
  expect(output).toContain('the same');
  expect(output).not.toContain('DIFFERENT');
});
