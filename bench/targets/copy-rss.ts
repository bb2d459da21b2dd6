/** Measures the memory of a process that copies long files through an open file with little memory. */
import { execFileSync } from 'node:child_process';
import { scriptFor } from '../package.ts';
import { inEachPlace } from '../places.ts';
import type { Measurement, Target } from '../target.ts';

const MIB = 1024 * 1024;

/** The report that the measured process prints. */
export interface CopyRssReport {
  readonly fileBytes: number;
  /** The largest resident size. */
  readonly peakBytes: number;
  /** What the heap held when all was written, or read, whichever was more. */
  readonly heapBytes: number;
  /** True when what was read is what was written. */
  readonly isSame: boolean;
}

function copy(folder: string, fileBytes: number): CopyRssReport {
  const text = execFileSync(process.execPath, [scriptFor('copy-rss-child'), folder, String(fileBytes)], {
    encoding: 'utf8',
  });
  const report = JSON.parse(text) as CopyRssReport;
  if (!report.isSame) throw new Error('other bytes were read than were written');
  return report;
}

export const copyRss: Target = {
  id: 'copy-rss',
  about:
    'peak resident memory of a process that writes and reads files of 1 to 4 GiB through 64 MiB of memory, and its heap with the longest against the shortest',
  measure: async size => {
    const lengths = (size === 'real' ? [1024, 2048, 4096] : [16, 32]).map(count => count * MIB);
    const longest = Math.max(...lengths);
    return await inEachPlace(2 * longest, async (folder, place): Promise<Measurement[]> => {
      // Memory in use by a file system in memory is not the process's, so one place is enough.
      if (place !== 'disk') return [];
      const reports = lengths.map(fileBytes => copy(`${folder}/volume-${fileBytes}`, fileBytes));
      const [shortest, last] = [reports[0]!, reports.at(-1)!];
      const mib = (bytes: number): string => (bytes / MIB).toFixed(0);
      const each = reports.map(
        ({ fileBytes, peakBytes, heapBytes }) =>
          `${mib(fileBytes)} MiB: ${mib(peakBytes)} resident, ${mib(heapBytes)} heap`,
      );
      const detail = each.join('; ');
      // Short files end before the heap has been swept once.
      const heap: Measurement = {
        what: 'heap, longest against shortest',
        measured: last.heapBytes / shortest.heapBytes,
        bound: 1.25,
        sense: '<=',
        unit: 'x',
        detail,
      };
      return [
        {
          what: `on ${place}`,
          measured: Math.max(...reports.map(({ peakBytes }) => peakBytes)) / MIB,
          bound: 240,
          sense: '<=',
          unit: 'MiB',
          detail,
        },
        ...(size === 'real' ? [heap] : []),
      ];
    });
  },
};
