/** Measures open files that live for one write: many of them in one folder, against a put of as many. */
import { rm } from 'node:fs/promises';
import { contest } from '../contest.ts';
import { executableCode } from '../data.ts';
import { writeSmallFiles } from '../files.ts';
import { inEachPlace } from '../places.ts';
import type { Measurement, Target } from '../target.ts';
import { type OpenVolume, VolumeSide } from '../volume-side.ts';

const FILE_BYTES = 4096;
const AT_ONCE = 256;
/** How many of those that are written one by one stand for all: each waits for a commit of its own. */
const ONE_BY_ONE_SHARE = 20;

function nameOf(at: number): string {
  return `/files/file-${at}`;
}

function contentOf(data: Uint8Array, at: number): Uint8Array {
  return data.subarray(at * FILE_BYTES, (at + 1) * FILE_BYTES);
}

/** Opens, writes and closes files, `atOnce` at a time. */
async function writeFiles(
  { volume }: OpenVolume,
  data: Uint8Array,
  count: number,
  atOnce: number,
): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) {
      const at = next;
      next += 1;
      const file = await volume.open(nameOf(at), 'w');
      await file.write(contentOf(data, at), { position: 0 });
      await file.close();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
}

/** Throws unless another client reads every file as it was written. */
async function checkFiles(side: VolumeSide, data: Uint8Array, count: number): Promise<void> {
  const open = await side.open('reader');
  const into = Buffer.alloc(FILE_BYTES + 1);
  for (let at = 0; at < count; at += 1) {
    const file = await open.volume.open(nameOf(at));
    const { bytesRead } = await file.read(into, { position: 0 });
    await file.close();
    if (Buffer.compare(into.subarray(0, bytesRead), contentOf(data, at)) !== 0)
      throw new Error(`${nameOf(at)} has other bytes`);
  }
  await open.close();
}

export const openWriteClose: Target = {
  id: 'open-write-close',
  about:
    'files of 4 KiB that are opened, written and closed in one folder, 256 at once, against a put of as many',
  measure: size => {
    const [count, rounds] = size === 'real' ? [10_000, 5] : [100, 1];
    const data = executableCode(count * FILE_BYTES);
    return inEachPlace(count * 32 * 1024, async (folder, place): Promise<Measurement[]> => {
      if (place !== 'tmpfs') return [];
      const source = `${folder}/files`;
      await writeSmallFiles(source, data, { count, lengthBytes: FILE_BYTES });
      const side = await VolumeSide.create(`${folder}/volume`);
      let open: OpenVolume | undefined;
      const renew = async (): Promise<void> => {
        await open?.close();
        await rm(side.store, { recursive: true });
        await rm(`${side.state}-client`, { recursive: true, force: true });
        await side.renew();
        open = await side.open();
      };
      const withFolder = async (): Promise<void> => {
        await renew();
        await open?.volume.fs.mkdir('/files');
      };
      const run = (atOnce: number, files: number) => async (): Promise<void> => {
        if (open !== undefined) await writeFiles(open, data, files, atOnce);
      };
      try {
        await withFolder();
        await run(AT_ONCE, count)();
        await checkFiles(side, data, count);
        const alone = Math.ceil(count / ONE_BY_ONE_SHARE);
        await withFolder();
        const startedMs = performance.now();
        await run(1, alone)();
        const aloneMs = (performance.now() - startedMs) / alone;
        const result = await contest(
          [
            { name: 'put', prepare: renew, run: async () => open?.put(source, '/files') },
            { name: 'open files', prepare: withFolder, run: run(AT_ONCE, count) },
          ],
          rounds,
        );
        const seconds = (name: string): string => result.seconds.get(name)!.toFixed(2);
        return [
          {
            what: `of put, ${AT_ONCE} at once, on ${place}`,
            measured: result.ratio('open files', 'put'),
            bound: 0.5,
            sense: '>=',
            unit: 'x',
            detail: `${count} files: ${seconds('open files')} s, put ${seconds('put')} s; one by one ${aloneMs.toFixed(2)} ms a file`,
          },
        ];
      } finally {
        await open?.close();
        await side.stop();
      }
    });
  },
};
