/** `netseal probe`: tries what a store really does. */
import { Command } from 'commander';
import type { ProbeReport } from '../../server/probe.ts';
import type { ObjectStore } from '../../server/store.ts';
import { EXIT_FAILED } from '../lib/exit-codes.ts';
import { inFrame } from '../lib/frame.ts';
import { jsonDocument } from '../lib/json.ts';
import { loadProbe } from '../lib/lazy.ts';
import { printable } from '../lib/printable.ts';
import { openStoreAt, parseStore } from './location.ts';

const NOTES = `
Two connections write small objects and large ones below probe/, and remove them
again: do all writers of a race but one learn that they lost? It needs no secret.

Exit code 1: the store is not safe for more than one writer, or damages objects.`;

interface ProbeCommandOptions {
  readonly json?: boolean;
}

/** `netseal probe STORE` */
export function command(): Command {
  return new Command('probe')
    .description('Try whether a store does what several clients at once need.')
    .argument('<store>', 'a folder, or a URL')
    .option('--json', 'print the result as JSON')
    .addHelpText('after', NOTES)
    .action(probe);
}

function probe(text: string, { json = false }: ProbeCommandOptions): Promise<void> {
  const { storeText } = parseStore(text, 'probe');
  return inFrame(async ({ signal, print }) => {
    const { probeStore, isSafeForWriters } = await loadProbe();
    const report = await withTwo(storeText, (store, other) => probeStore(store, { other, signal }));
    const isSafe = isSafeForWriters(report);
    await print(json ? jsonDocument({ store: storeText, isSafe, ...report }) : tell(report, isSafe));
    if (!isSafe) process.exitCode = EXIT_FAILED;
  });
}

/** Opens two connections to a store, and closes them. */
async function withTwo<Result>(
  storeText: string,
  work: (store: ObjectStore, other: ObjectStore) => Promise<Result>,
): Promise<Result> {
  const store = await openStoreAt(storeText);
  try {
    const other = await openStoreAt(storeText);
    try {
      return await work(store, other);
    } finally {
      await other.close();
    }
  } finally {
    await store.close();
  }
}

function tell(report: ProbeReport, isSafe: boolean): string {
  const { createIfAbsent, replaceIfMatch, isSound, clockAheadMs, checks } = report;
  const lines = checks.map(({ what, holds, problem = '' }) =>
    holds ? `yes  ${what}` : `NO   ${what}: ${printable(problem)}`,
  );
  const clock = clockAheadMs === undefined ? 'none' : describeClock(clockAheadMs);
  const rows = [
    ['keeps objects', isSound ? 'yes' : 'NO'],
    ['creates atomically', createIfAbsent === 'atomic' ? 'yes' : 'NO'],
    ['replaces atomically', replaceIfMatch === 'atomic' ? 'yes' : 'NO'],
    ['clock', clock],
    ['writers at once', isSafe ? 'any number' : 'none is safe'],
  ].map(([name = '', value]) => `${name.padEnd(20)} ${value}`);
  return `${[...lines, '', ...rows].join('\n')}\n`;
}

/** Servers tell whole seconds. */
function describeClock(aheadMs: number): string {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  if (seconds <= 1) return 'as that of this machine';
  return `${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'} that of this machine`;
}
